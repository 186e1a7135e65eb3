"""YAML to nodes, which know their lines: capped before anything is built of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

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


@dataclass
class _Open:
    """A list or mapping whose end has not come yet."""

    anchor: str
    before: int
    height: int = 0


def _checked(text: str, max_depth: int) -> list[yaml.Event]:
    events: list[yaml.Event] = []
    total = 0
    # Anchor → how many values an alias repeats, and how many levels.
    sizes: dict[str, tuple[int, int]] = {}
    opened: list[_Open] = []
    for event in _parsed(text):
        events.append(event)
        anchor: str = getattr(event, "anchor", None) or ""
        line = 1 if event.start_mark is None else event.start_mark.line + 1
        height = 0
        if isinstance(event, yaml.AliasEvent):
            if any(one.anchor == anchor for one in opened):
                raise Malformed(f"the alias *{anchor} in line {line} lies within its own anchor")
            # An unknown alias is an error of the composer.
            size, height = sizes.get(anchor, (1, 0))
            total += size
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
            sizes[anchor] = 1, 0
        elif isinstance(event, yaml.CollectionStartEvent):
            opened.append(_Open(anchor, total))
            total += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            closed = opened.pop()
            height = closed.height + 1
            sizes[closed.anchor] = total - closed.before, height
        if opened:
            opened[-1].height = max(opened[-1].height, height)
        if len(opened) + height > max_depth:
            raise Malformed(f"line {line} is nested more than {max_depth} levels deep")
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
