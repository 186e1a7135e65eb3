"""Server-sent events as bytes: where each ends, the message in it, and another in its place."""

from __future__ import annotations

import re

from guardalign_middleware.errors import MessageError
from guardalign_middleware.mcp.pipes import LONGEST_LINE

# Atomic, because the two characters of one line end are no empty line.
_END = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_LINE = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"
_OVERLAP = 3


class EventReader:
    """Splits a stream into events, with the empty lines at their ends.

    Args:
        longest: of one event, in bytes.
    """

    def __init__(self, longest: int = LONGEST_LINE) -> None:
        self._longest = longest
        self._rest = bytearray()
        self._seen = 0
        self._begun = False

    def feed(self, data: bytes) -> list[bytes]:
        """The events that end in these bytes.

        Raises:
            MessageError: an event is longer than the memory is meant for.
        """
        self._rest += data
        if not self._begun:
            if len(self._rest) < len(_BOM):
                return []
            # Some readers skip it, and see a field that others do not see.
            self._rest = self._rest.removeprefix(_BOM)
            self._begun = True
        events, start = [], 0
        match = _END.search(self._rest, max(0, self._seen - _OVERLAP))
        while match is not None:
            events.append(bytes(self._rest[start : match.end()]))
            start = match.end()
            match = _END.search(self._rest, start)
        del self._rest[:start]
        self._seen = len(self._rest)
        if self._seen > self._longest:
            raise MessageError(
                f"An event has more than {self._longest:,} bytes.",
                remedy="Let the server send large results as links.",
            )
        return events

    def end(self) -> bytes:
        """What is left at the end of a stream, which some readers take for an event."""
        return bytes(self._rest)


def message_in(event: bytes) -> bytes:
    """The data of an event; empty for comments and for marks of resumption."""
    lines = [_value(line) for line in _LINE.split(event) if _name(line) == b"data"]
    return b"\n".join(lines)


def type_of(event: bytes) -> bytes:
    """The type of an event; "message" without one."""
    names = [_value(line) for line in _LINE.split(event) if _name(line) == b"event"]
    return names[-1] if names and names[-1] else b"message"


def with_message(event: bytes, message: bytes | None) -> bytes:
    """The event with a message of one line in the place of its own; None leaves no event.

    Its id stays in any case: a client resumes after it.
    """
    lines = [line for line in _LINE.split(event) if line and _name(line) != b"data"]
    if message is None:
        kept = [line for line in lines if _name(line) != b"event"]
        return b"\n".join([b": withheld", *kept, b"", b""])
    return b"\n".join([*lines, b"data: " + message.strip(), b"", b""])


def _name(line: bytes) -> bytes:
    return line.partition(b":")[0]


def _value(line: bytes) -> bytes:
    return line.partition(b":")[2].removeprefix(b" ")
