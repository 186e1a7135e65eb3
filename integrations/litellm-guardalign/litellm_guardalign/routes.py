"""Which requests the guard reads, and which of their fields it is sent."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

Dialect = Literal["chat", "responses", "messages"]
Reading = Dialect | Literal["texts", "unseen"]

_DIALECTS: Mapping[str, Dialect] = {
    "completion": "chat",
    "responses": "responses",
    "compact_responses": "responses",
    "anthropic_messages": "messages",
}
# Their bodies hold texts. One that could hold a picture is refused.
_TEXTS = frozenset(
    "text_completion embedding moderation speech image_generation rerank search".split()
)
# Sound, and requests without content.
_UNSEEN = frozenset("transcription file_list file_retrieve file_content file_delete".split())
_WITHOUT_CONTENT = ("get_", "list_", "retrieve_", "delete_", "cancel_")

# What the proxy puts beside a request for its own use, and credentials: models get none of it.
_OF_THE_PROXY = frozenset(
    {
        *("metadata", "litellm_metadata", "proxy_server_request", "secret_fields", "guardrails"),
        *("litellm_logging_obj", "litellm_call_id", "litellm_trace_id", "litellm_session_id"),
        *("api_key", "api_base", "base_url", "api_version", "organization"),
        *("headers", "extra_headers", "provider_specific_header"),
        *("timeout", "stream_timeout", "num_retries", "cache", "ttl"),
    }
)


def reading_of(call_type: str, allowed: Collection[str] = ()) -> Reading | None:
    """How requests of a type are read; None for those that the guard cannot look into.

    Args:
        call_type: LiteLLM's name, such as "acompletion" or "anthropic_messages".
        allowed: types that pass unseen.
    """
    if call_type in allowed:
        return "unseen"
    # Most have a second name for the asynchronous form.
    for name in (call_type, call_type.removeprefix("a")):
        if name in _DIALECTS:
            return _DIALECTS[name]
        if name in _TEXTS:
            return "texts"
        if name in _UNSEEN or name.startswith(_WITHOUT_CONTENT):
            return "unseen"
    return None


def sent_fields(data: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a request that could reach a model."""
    return {key: value for key, value in data.items() if key not in _OF_THE_PROXY}
