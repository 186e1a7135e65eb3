"""YAML to nodes, which know their lines: capped before anything is built of them."""

from __future__ import annotations

from collections.abc import Iterator

import yaml
from yaml.composer import Composer
from yaml.resolver import Resolver

from guardalign_middleware.strict.files import MAX_DEPTH, Malformed, decode

MAX_NODES = 100_000
"""Most values in a file, those that aliases repeat included: a bomb of 300 bytes has billions."""


def yaml_node(data: bytes, *, max_depth: int = MAX_DEPTH) -> yaml.Node | None:
    """Parse one YAML document; None for an empty one.

    Raises:
        Malformed: it is no YAML, holds several documents, is nested too deeply, has an alias
            within its own anchor, or has more than `MAX_NODES` values with aliases resolved.
    """
    text = decode(data)
    try:
        events = _Events(_checked(text, max_depth))
        node: yaml.Node | None = events.get_single_node()
    except yaml.YAMLError as error:
        raise Malformed(f"it is not YAML: {error}") from error
    return node


def _checked(text: str, max_depth: int) -> list[yaml.Event]:
    events: list[yaml.Event] = []
    total = 0
    sizes: dict[str, int] = {}  # of what an alias repeats
    opened: list[tuple[str | None, int]] = []
    for event in _parsed(text):
        events.append(event)
        anchor = getattr(event, "anchor", None)
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            if anchor in {name for name, _ in opened}:
                raise Malformed(f"the alias *{anchor} in line {line} lies within its own anchor")
            total += sizes.get(anchor, 1)  # an unknown alias is an error of the composer
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
            if anchor is not None:
                sizes[anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            opened.append((anchor, total))
            total += 1
            if len(opened) > max_depth:
                raise Malformed(f"line {line} is nested more than {max_depth} levels deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = opened.pop()
            if anchor is not None:
                sizes[anchor] = total - before
        if total > MAX_NODES:
            raise Malformed(f"it has more than {MAX_NODES:,} values in line {line}")
    return events


def _parsed(text: str) -> Iterator[yaml.Event]:
    try:
        yield from yaml.parse(text, yaml.SafeLoader)
    except (ValueError, OverflowError) as error:  # an escape beyond Unicode, a version of x
        raise Malformed(f"it is not YAML: {error}") from error


class _Events(Composer, Resolver):
    """Composes nodes of events that are parsed already."""

    def __init__(self, events: list[yaml.Event]) -> None:
        Composer.__init__(self)
        Resolver.__init__(self)
        self._events = events[::-1]

    def check_event(self, *kinds: type[yaml.Event]) -> bool:
        return bool(self._events) and (not kinds or isinstance(self._events[-1], kinds))

    def peek_event(self) -> yaml.Event | None:
        return self._events[-1] if self._events else None

    def get_event(self) -> yaml.Event | None:
        return self._events.pop() if self._events else None
