"""JSON-RPC messages as they travel: their bytes stay until something in them has to change."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from guardalign_middleware.errors import GuardAlignError, ImageRejected
from guardalign_middleware.intake.hidden_images import hidden_images
from guardalign_middleware.intake.picture_traces import starts_like_picture

Kind = Literal["request", "notification", "response", "other"]
Message = Mapping[str, Any]

WITHHELD = -32051
"""The code of an error in the place of a picture that may not be shown."""
FAULT = -32050
"""The code of an error where the guard itself failed."""
_LONGEST_INTEGER = 4000
# Some readers take messages that go on in the next line, or several in one.
_BEGINS = re.compile(r'(?:\xef\xbb\xbf)?\s*(?:\{|\[\s*(?:[\[{"]|$))')


@dataclass(frozen=True, eq=False)
class Frame:
    """What one line, one event or one body holds.

    Attributes:
        raw: its bytes.
        messages: what they say: one message, or those of a batch; empty if they are no JSON.
        batch: whether the messages came as a list.
        unclear: whether readers could take it for different things, because a name appears twice in
            an object, or because it is not UTF-8: some readers of JSON take UTF-16 and UTF-32, too.
            It goes on as it was read here.
    """

    raw: bytes
    messages: tuple[Any, ...] = ()
    batch: bool = False
    unclear: bool = False

    @classmethod
    def read(cls, raw: bytes) -> Frame:
        """Parse bytes as leniently as any client; what is no JSON is a frame without messages."""
        encoding = json.detect_encoding(raw)
        text = raw.decode(encoding, errors="replace")
        unclear = encoding != "utf-8" or "\ufffd" in text

        def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
            nonlocal unclear
            values = dict(pairs)
            unclear |= len(values) < len(pairs)
            return values

        try:
            value = json.loads(
                text.removeprefix("\ufeff"),
                object_pairs_hook=unique,
                parse_int=_integer,
                strict=False,
            )
        except (ValueError, RecursionError):
            return cls(raw)
        batch = isinstance(value, list)
        return cls(raw, tuple(value) if batch else (value,), batch, unclear)

    @property
    def is_plain(self) -> bool:
        """Whether bytes that are no message cannot be a picture, nor a part of a message."""
        if self.messages or self.batch or b"\0" in self.raw or starts_like_picture(self.raw):
            return False
        text = self.raw.decode("latin-1")
        return _BEGINS.match(text) is None and next(hidden_images(text), None) is None

    def written(self, messages: tuple[Any, ...]) -> bytes:
        """Bytes for these messages in the place of the frame's own; the same for the same ones.

        Raises:
            ValueError: a number among them has no form in JSON.
        """
        same = len(messages) == len(self.messages) and all(
            new is old for new, old in zip(messages, self.messages, strict=True)
        )
        if same and not self.unclear:
            return self.raw
        end = self.raw[len(self.raw.rstrip(b"\r\n")) :]
        value = list(messages) if self.batch else messages[0]
        return to_bytes(value) + end


def to_bytes(value: object) -> bytes:
    """JSON on one line, in ASCII.

    Raises:
        ValueError: a number has no form in JSON.
    """
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")


def has_json(value: object) -> bool:
    """Whether a value that was read can be written again."""
    try:
        to_bytes(value)
    except (ValueError, RecursionError):
        return False
    return True


def kind_of(message: object) -> Kind:
    """What a message is; `other` for what JSON-RPC does not know."""
    if not isinstance(message, Mapping):
        return "other"
    if "method" in message:
        return "request" if "id" in message else "notification"
    return "response" if "result" in message or "error" in message else "other"


def id_of(message: Message) -> str:
    """The id of a message, so that 1 and "1" differ."""
    return json.dumps(message.get("id"))


def cancelled_id(message: object) -> str | None:
    """The id of the request that a notification cancels; None if it is none of these."""
    if not isinstance(message, Mapping) or message.get("method") != "notifications/cancelled":
        return None
    params = message.get("params")
    return json.dumps(params.get("requestId")) if isinstance(params, Mapping) else None


def error_for(message: Message, code: int, text: str, data: object) -> dict[str, Any]:
    """The answer to a request that cannot be passed on, or in the place of a response."""
    error = {"code": code, "message": text, "data": {"guardalign": data}}
    given = message.get("id")
    return {"jsonrpc": "2.0", "id": given if has_json(given) else None, "error": error}


def fault_data(error: GuardAlignError) -> dict[str, Any]:
    """What an error of the guard says to programs."""
    reason = error.reason if isinstance(error, ImageRejected) else None
    stage = getattr(error, "stage", None)
    named = {"reason": reason, "stage": stage}
    return {"error": type(error).__name__, **{key: item for key, item in named.items() if item}}


def _integer(digits: str) -> int | float:
    # Python reads no longer ones, and only a message that is written anew loses them.
    return int(digits) if len(digits) < _LONGEST_INTEGER else float("nan")
