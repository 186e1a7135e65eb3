"""Which headers pass between a client and the upstream; all others stay behind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from guardalign_middleware.conversation import MESSAGES, Dialect

Headers = Iterable[tuple[str, str]]

_REQUEST = frozenset(
    {"accept", "user-agent", "openai-beta", "anthropic-version", "anthropic-beta"}
    | {"idempotency-key", "x-request-id", "x-client-request-id", "traceparent", "tracestate"}
)
# They choose who pays, which is the server's business if the key is the server's.
_ACCOUNT = frozenset({"authorization", "x-api-key", "openai-organization", "openai-project"})
_RESPONSE = frozenset({"retry-after", "retry-after-ms", "x-should-retry", "request-id"})
_RESPONSE_STARTS = ("openai-", "anthropic-", "x-ratelimit-")
# This server gives its own responses ids, under the same name.
_RENAMED = {"x-request-id": "x-guardalign-upstream-request-id"}


def request_headers(
    given: Headers, dialect: Dialect, key: str | None, *, own_account: bool
) -> dict[str, str]:
    """The headers of a request to the upstream.

    Args:
        given: those of the client.
        dialect: says how the key is sent.
        key: of the server for the upstream; None if it has none.
        own_account: whether the client's own key goes on; only ever without a key of the server.
    """
    passing = _REQUEST | _ACCOUNT if own_account and key is None else _REQUEST
    headers = {
        name: value for name, value in given if name in passing or name.startswith("x-stainless-")
    }
    if key is not None and dialect is MESSAGES:
        headers["x-api-key"] = key
    elif key is not None:
        headers["authorization"] = f"Bearer {key}"
    # Pieces of a stream go on as they come, so they should not be compressed.
    return {**headers, "content-type": "application/json", "accept-encoding": "identity"}


def response_headers(given: Mapping[str, str]) -> dict[str, str]:
    """The headers of the upstream's response that concern the client."""
    return {
        _RENAMED.get(name, name): value
        for name, value in given.items()
        if name in _RESPONSE or name in _RENAMED or name.startswith(_RESPONSE_STARTS)
    }
