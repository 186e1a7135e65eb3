"""The guardrail that LiteLLM's proxy asks before it calls a model."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from litellm.integrations.custom_guardrail import CustomGuardrail
from litellm.litellm_core_utils.core_helpers import get_or_create_metadata_bucket
from litellm.types.guardrails import GuardrailEventHooks, LitellmParams

from litellm_guardalign.errors import Refused, SetupError, as_setup_errors
from litellm_guardalign.routes import reading_of, sent_fields
from litellm_guardalign.server import Cleaned, GuardServer

_FOUND = "guardalign"
_OWN = ("api_base", "api_key", "timeout", "allow_http", "allow_routes")
_SECONDS = 60.0


class GuardAlignGuardrail(CustomGuardrail):  # type: ignore[misc]
    """Has every picture of a request checked and cleaned by `guardalign serve`.

    In the proxy's config:

        guardrails:
          - guardrail_name: guardalign
            litellm_params:
              guardrail: litellm_guardalign.GuardAlignGuardrail
              mode: pre_call
              default_on: true
              api_base: http://127.0.0.1:8000
              api_key: os.environ/GUARD_KEY

    A request with a blocked picture, one that cannot be looked into, and any request while the
    guard cannot be asked, is an error; none of them goes to a model.

    Args:
        guardrail_name: for the proxy's logs and headers.
        event_hook: the config's `mode`; "pre_call".
        default_on: true for every request; false for those of keys and clients that ask for it.
        api_base: base URL of `guardalign serve`, without /v1.
        api_key: its key.
        timeout: seconds for one request.
        allow_http: whether pictures and key may leave this machine without encryption.
        allow_routes: LiteLLM's types of calls that pass although the guard cannot look into them,
            such as "agenerate_content".
        others: what LiteLLM hands to every guardrail; only its defaults are accepted.

    Raises:
        SetupError: an option is wrong, or has no effect here.
    """

    @as_setup_errors()
    def __init__(
        self,
        guardrail_name: str | None = None,
        event_hook: Any = None,
        default_on: bool | None = None,
        *,
        api_base: str | None = None,
        api_key: str | None = None,
        timeout: float | None = None,
        allow_http: bool = False,
        allow_routes: Collection[str] = (),
        **others: Any,
    ) -> None:
        if event_hook not in ("pre_call", ["pre_call"]):
            raise SetupError(
                f"mode should be pre_call. Received {event_hook!r}: pictures have to be cleaned "
                "before a model is called."
            )
        if default_on is None:
            raise SetupError(
                "default_on is missing. Set it to true, or to false if only requests that name the "
                "guardrail are to be checked."
            )
        if api_base is None:
            raise SetupError("api_base is missing. Give the base URL of `guardalign serve`.")
        _check_switch("default_on", default_on)
        _check_switch("allow_http", allow_http)
        _check_routes(allow_routes)
        _check_others(others)
        super().__init__(
            guardrail_name=guardrail_name or "guardalign",
            supported_event_hooks=[GuardrailEventHooks.pre_call],
            event_hook=GuardrailEventHooks.pre_call,
            default_on=default_on,
        )
        self._server = GuardServer(
            api_base, api_key, _SECONDS if timeout is None else timeout, allow_http=allow_http
        )
        self._allowed = frozenset(allow_routes)

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str
    ) -> dict[str, Any]:
        """Clean a request in place, before the proxy chooses who answers it.

        Raises:
            Refused: it may not go on.
        """
        reading = reading_of(call_type, self._allowed)
        if reading is None:
            raise Refused(
                400,
                f"The guard cannot look into requests of the type {call_type!r}. Use the routes of "
                "chat completions, responses or messages; or allow the type with allow_routes in "
                "the guardrail's section of the proxy's config.",
                "route_not_guarded",
            )
        if reading == "unseen":
            return data
        sent = sent_fields(data)
        cleaned = await self._server.clean(sent, "chat" if reading == "texts" else reading)
        if cleaned.reply is not None:
            self._note(data, cleaned, "guardrail_intervened")
            raise Refused(400, cleaned.reply, "picture_blocked", cleaned.found)
        for key, value in sent.items():
            if key not in cleaned.request:
                del data[key]
            elif cleaned.request[key] != value:
                data[key] = cleaned.request[key]
        self._note(data, cleaned, "success")
        return data

    async def async_post_call_response_headers_hook(
        self, data: dict[str, Any], *args: Any, **kwargs: Any
    ) -> dict[str, str] | None:
        """What the guard found, in the headers of the answer."""
        found = get_or_create_metadata_bucket(data)[1].get(_FOUND)
        if not isinstance(found, dict):
            return None
        return {
            "x-guardalign-decision": found["decision"] or "none",
            "x-guardalign-images": str(len(found["verdicts"])),
        }

    def _note(self, data: dict[str, Any], cleaned: Cleaned, status: Any) -> None:
        """Let the proxy's logs and the hook above know."""
        get_or_create_metadata_bucket(data)[1][_FOUND] = {
            "decision": cleaned.found.get("decision"),
            "verdicts": list(cleaned.found.get("verdicts") or ()),
        }
        self.add_standard_logging_guardrail_information_to_request_data(
            guardrail_json_response=dict(cleaned.found),
            request_data=data,
            guardrail_status=status,
            guardrail_provider="guardalign",
        )


def _check_switch(name: str, value: object) -> None:
    """Only a bool: a text such as "false" counts as true."""
    if not isinstance(value, bool):
        raise SetupError(f"{name} should be true or false, without quotes. Received {value!r}.")


def _check_routes(routes: object) -> None:
    if not isinstance(routes, list | tuple | set | frozenset) or not all(
        isinstance(each, str) for each in routes
    ):
        raise SetupError(
            "allow_routes should be a list of LiteLLM's types of calls, such as [aocr]. Received "
            f"{routes!r}."
        )


def _check_others(others: dict[str, Any]) -> None:
    """Accept what LiteLLM hands to every guardrail at its default, and nothing else."""
    fields = LitellmParams.model_fields
    for name, value in others.items():
        if name not in fields:
            raise SetupError(
                f"{name} is not an option of this guardrail. Its options are {', '.join(_OWN)}."
            )
        if value is not None and value != fields[name].get_default(call_default_factory=True):
            raise SetupError(f"{name} has no effect on this guardrail. Leave it out.")
