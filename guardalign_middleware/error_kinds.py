"""The kinds of errors for a status of HTTP, in OpenAI's words and in Anthropic's.

It imports nothing, so that Ray's proxy, which loads no model, uses the same ones as the server.
"""

from __future__ import annotations

_OPENAI = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_ANTHROPIC = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def openai_kind(status: int) -> str:
    """OpenAI's `type` of an error."""
    return _OPENAI.get(status, "invalid_request_error" if status < 500 else "server_error")


def anthropic_kind(status: int) -> str:
    """Anthropic's `type` of an error."""
    return _ANTHROPIC.get(status, "invalid_request_error" if status < 500 else "api_error")


def is_anthropic(path: str) -> bool:
    """Whether the clients of an endpoint expect errors in Anthropic's shape."""
    return path.startswith("/v1/messages")
