"""The OpenAPI says what the server does: requests made from it get only what it declares."""

from typing import Any

import schemathesis
from hypothesis import settings
from schemathesis import checks
from schemathesis.core.parameters import ParameterLocation

from guardalign_middleware.serving import ServeOptions, create_app
from guardalign_middleware.testing import red_chain
from tests.support.serving import AUTHORIZED, KEY

APP = create_app(red_chain(), ServeOptions(api_key=KEY))
schema = schemathesis.openapi.from_dict(APP.openapi())
schema.app = APP


@schema.hook
def map_body(context: schemathesis.HookContext, body: Any) -> Any:
    """Ask the model that there is; another name would end every request at once."""
    return {**body, "model": "red"} if isinstance(body, dict) and "model" in body else body


@schema.parametrize()
@settings(max_examples=15)
def test_every_answer_is_declared(case: schemathesis.Case) -> None:
    # What a conversation may hold is more than a schema says.
    excluded = [checks.positive_data_acceptance]
    if not _wrong_body(case):
        # The key is always sent, and unknown headers and queries mean nothing, as anywhere in HTTP.
        excluded.append(checks.negative_data_rejection)
    case.call_and_validate(headers=AUTHORIZED, excluded_checks=excluded)


def _wrong_body(case: schemathesis.Case) -> bool:
    body = case.meta.components.get(ParameterLocation.BODY) if case.meta is not None else None
    return body is not None and body.mode.is_negative


def test_the_schema_names_the_key_and_every_error() -> None:
    described = APP.openapi()
    assert described["components"]["securitySchemes"] == {
        "key": {"type": "http", "scheme": "bearer"}
    }
    chat = described["paths"]["/v1/chat/completions"]["post"]
    assert chat["security"] == [{"key": []}]
    assert set(chat["responses"]) >= {"200", "400", "401", "413", "429", "503"}
    assert "422" not in chat["responses"]
    assert "security" not in described["paths"]["/health"]["get"]
    assert "/v1/completions" not in described["paths"]
