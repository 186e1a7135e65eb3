"""Reads an anchor file, and reports errors by line.

```yaml
categories:
  weapon: [a handgun, a rifle]      # action: mask
  gore:
    action: block
    anchors: [a bloody corpse]
neutral:
  dog: [a dog, a puppy]
```
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NoReturn, get_args

import yaml

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.strict import Malformed, check_text, read_bytes, yaml_node

FileAction = Literal["mask", "block", "flag", "allow"]
"""The action on a region of a category; `allow` makes it a neutral concept."""

ACTIONS: Final[tuple[FileAction, ...]] = get_args(FileAction)
_TEXT = "tag:yaml.org,2002:str"
_KINDS = {yaml.SequenceNode: "a list", yaml.MappingNode: "a mapping"}


@dataclass(frozen=True)
class Entry:
    """One concept of the file.

    Attributes:
        name: its name.
        action: its action; `allow` for neutral concepts.
        variants: its texts, stripped.
        lines: the line of each text, from 1.
    """

    name: str
    action: FileAction
    variants: tuple[str, ...]
    lines: tuple[int, ...]


def read_entries(path: str | os.PathLike[str]) -> tuple[Entry, ...]:
    """All concepts in the file's order, unsafe categories first.

    Raises:
        ConfigError: the file is unreadable, or an entry is empty, unknown, duplicated or not a
            text; the message names file, line and key.
    """
    try:
        data = read_bytes(path)
    except Malformed as error:
        raise _unreadable(path, error) from error
    return entries_of(data, path)


def entries_of(data: bytes, name: str | os.PathLike[str]) -> tuple[Entry, ...]:
    """All concepts in the bytes of an anchor file; `name` stands in messages.

    Raises:
        ConfigError: as for `read_entries`.
    """
    try:
        root = yaml_node(data)
    except Malformed as error:
        raise _unreadable(name, error) from error
    return _Reader(Path(name)).entries(root)


class _Reader:
    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen: dict[str, tuple[str, int]] = {}

    def entries(self, root: yaml.Node | None) -> tuple[Entry, ...]:
        if not isinstance(root, yaml.MappingNode):
            self._fail(root, "the file should be a mapping with the keys categories and neutral.")
        banks = self._items(root, "the file")
        for key, node in banks.items():
            if key not in ("categories", "neutral"):
                self._fail(node, f"{key!r} is not a key here; use categories and neutral.")
        if "categories" not in banks:
            self._fail(root, "categories should be a mapping with at least one entry.")
        found: list[Entry] = []
        for bank in ("categories", "neutral"):
            if bank in banks:
                found += self._bank(bank, banks[bank], {entry.name for entry in found})
        return tuple(found)

    def _bank(self, bank: str, node: yaml.Node, taken: set[str]) -> list[Entry]:
        if not isinstance(node, yaml.MappingNode) or not node.value:
            self._fail(node, f"{bank} should be a mapping with at least one entry.")
        entries = []
        for name, value in self._items(node, bank).items():
            if name in taken:
                self._fail(value, f"{name!r} is both a category and a neutral concept.")
            place, action = f"{bank}.{name}", "allow" if bank == "neutral" else "mask"
            if bank == "categories" and isinstance(value, yaml.MappingNode):
                action, value = self._detailed(place, value)
            variants = self._variants(place, value)
            texts, lines = (tuple(column) for column in zip(*variants, strict=True))
            entries.append(Entry(name, _action(action), texts, lines))
        return entries

    def _detailed(self, place: str, node: yaml.MappingNode) -> tuple[str, yaml.Node]:
        fields = self._items(node, place)
        for key, value in fields.items():
            if key not in ("action", "anchors"):
                self._fail(value, f"{place}.{key} is unknown; use action and anchors.")
        if "anchors" not in fields:
            self._fail(node, f"{place} should have anchors, a list of texts.")
        action = fields.get("action")
        name = "mask" if action is None else action.value
        if name not in ACTIONS:
            self._fail(action, f"{place}.action should be one of {', '.join(ACTIONS)}.")
        return str(name), fields["anchors"]

    def _variants(self, place: str, node: yaml.Node) -> list[tuple[str, int]]:
        if not isinstance(node, yaml.SequenceNode) or not node.value:
            self._fail(node, f"{place} should be a list with at least one text.")
        variants = []
        for item in node.value:
            if not _is_text(item):
                value = _KINDS.get(type(item)) or item.value.strip() or "nothing"
                self._fail(
                    item,
                    f"{place} holds {value}, which is not a text.",
                    "Put words such as yes, no, on and numbers in quotes.",
                )
            text = self._usable(item, place).strip()
            folded, line = " ".join(text.lower().split()), _line(item)
            if folded in self._seen:
                first, where = self._seen[folded]
                self._fail(item, f"{text!r} is in {first} (line {where}) and in {place}.")
            self._seen[folded] = place, line
            variants.append((text, line))
        return variants

    def _items(self, node: yaml.MappingNode, place: str) -> dict[str, yaml.Node]:
        """The entries of a mapping; rejects duplicate keys, of which YAML would keep the last."""
        items: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if not _is_text(key):
                name = getattr(key, "value", None)
                self._fail(key, f"the name {name} in {place} should be a text.")
            self._usable(key, f"a name in {place}")
            if key.value in items:
                self._fail(key, f"{key.value!r} appears twice in {place}.")
            items[key.value] = value
        return items

    def _usable(self, node: yaml.Node, place: str) -> str:
        try:
            return check_text(str(node.value), place)
        except Malformed as error:
            self._fail(node, f"{error}.")

    def _fail(self, node: yaml.Node | None, problem: str, remedy: str = "") -> NoReturn:
        line = 1 if node is None else _line(node)
        raise ConfigError(f"{self._file}:{line}: {problem}", remedy=remedy)


def _unreadable(name: str | os.PathLike[str], error: Malformed) -> ConfigError:
    return ConfigError(
        f"Cannot read the anchors {name}: {error}.",
        remedy="Check the path; in a preset, it is detection.anchors.",
    )


def _is_text(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == _TEXT and bool(node.value.strip())


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _action(name: str) -> FileAction:
    return next(action for action in ACTIONS if action == name)
