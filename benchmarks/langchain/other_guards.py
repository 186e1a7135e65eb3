"""Other guards for agents, each at its strongest setting and with a perfect classifier.

The classifier knows the raw picture and flags exactly the content that contains it. A picture that
still gets through was never shown to the classifier, or was passed on although it was flagged.
"""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx2
from langchain.agents.middleware import AgentMiddleware, PIIMiddleware
from langchain_openai.middleware import OpenAIModerationMiddleware
from openai import OpenAI

from langchain_guardalign.testing import holds_raw

Arm = Callable[[bytes], list[AgentMiddleware[Any, Any, Any]]]

NEMO = "NeMo GuardrailsMiddleware"
_RAIL = {
    "config.yml": "models: []\nrails:\n  input:\n    flows:\n      - look for the picture\n",
    "rails.co": (
        'define bot refuse\n  "No."\n\n'
        "define subflow look for the picture\n"
        "  $seen = execute sees_the_picture\n"
        "  if $seen\n    bot refuse\n    stop\n"
    ),
}


def nothing(png: bytes) -> list[AgentMiddleware[Any, Any, Any]]:
    """No guard."""
    return []


def pii(png: bytes) -> list[AgentMiddleware[Any, Any, Any]]:
    """LangChain's redaction in every place it covers, with a detector for this picture's base64."""
    base = base64.b64encode(png).decode("ascii")
    return [
        PIIMiddleware(
            "picture",
            detector=base.replace("+", r"\+"),
            strategy="redact",
            apply_to_input=True,
            apply_to_output=True,
            apply_to_tool_results=True,
        )
    ]


def moderation(png: bytes) -> list[AgentMiddleware[Any, Any, Any]]:
    """OpenAI's client and middleware, with an endpoint that flags requests with the picture."""
    base = base64.b64encode(png)

    def answer(request: httpx2.Request) -> httpx2.Response:
        flagged = base in request.content
        result = {
            "flagged": flagged,
            "categories": {"violence": flagged},
            "category_scores": {"violence": float(flagged)},
            "category_applied_input_types": {"violence": ["image"]},
        }
        body = {"id": "modr-1", "model": "omni-moderation-latest", "results": [result]}
        return httpx2.Response(200, json=body)

    client = OpenAI(
        api_key="none",
        base_url="http://moderation.invalid/v1",
        http_client=httpx2.Client(transport=httpx2.MockTransport(answer)),
    )
    return [OpenAIModerationMiddleware(client=client, check_tool_results=True)]


def nemo(png: bytes) -> list[AgentMiddleware[Any, Any, Any]]:
    """NeMo's middleware, with a rail that flags any input that contains the picture."""
    from nemoguardrails.integrations.langchain.middleware import GuardrailsMiddleware

    async def sees_the_picture(context: dict[str, Any] | None = None) -> bool:
        return holds_raw(context, png)

    with tempfile.TemporaryDirectory() as folder:
        for name, text in _RAIL.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        middleware = GuardrailsMiddleware(config_path=folder, enable_output_rails=False)
    middleware.rails.register_action(sees_the_picture, "sees_the_picture")
    return [middleware]


def other_guards() -> dict[str, Arm]:
    """The arms that can run here; NeMo needs an older huggingface-hub than this project."""
    arms: dict[str, Arm] = {
        "no guard": nothing,
        "PIIMiddleware": pii,
        "OpenAIModerationMiddleware": moderation,
    }
    if find_spec("nemoguardrails") is not None:
        arms[NEMO] = nemo
    return arms
