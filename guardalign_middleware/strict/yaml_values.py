"""YAML to plain values: texts, numbers, truth values, null, lists and mappings with text keys.

Dates stay the texts that they are. Errors name the field and its line.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import yaml
from yaml.constructor import ConstructorError, SafeConstructor

from guardalign_middleware.strict.files import Malformed, check_text
from guardalign_middleware.strict.yaml_nodes import yaml_node

_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"
_TEXTS = {f"{_TAG}str", f"{_TAG}timestamp", f"{_TAG}value"}
_BUILDER = SafeConstructor()
_SCALARS: dict[str, Callable[[yaml.ScalarNode], Any]] = {
    f"{_TAG}int": _BUILDER.construct_yaml_int,
    f"{_TAG}float": _BUILDER.construct_yaml_float,
    f"{_TAG}bool": _BUILDER.construct_yaml_bool,
    f"{_TAG}null": lambda node: None,
}


def yaml_value(data: bytes) -> Any:
    """Parse one YAML document to plain values; None for an empty one.

    Raises:
        Malformed: as for `yaml_node`; or a name is doubled or no text, a tag is not one of the
            values above, a number is no number, NaN or infinite, or a text holds NUL.
    """
    node = yaml_node(data)
    return None if node is None else _value(node, "")


def _value(node: yaml.Node, place: str) -> Any:
    if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
        return _mapping(node, place)
    if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
        return [_value(item, f"{place}[{index}]") for index, item in enumerate(node.value)]
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node, place)
    raise _wrong(node, place, f"has the tag {node.tag}")


def _mapping(node: yaml.MappingNode, place: str) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for key, inner in node.value:
        if key.tag == _MERGE:
            # Of merged mappings, the first has the say.
            for item in inner.value if isinstance(inner, yaml.SequenceNode) else [inner]:
                if not isinstance(item, yaml.MappingNode):
                    raise _wrong(item, place, "merges what is no mapping")
                merged = {**_mapping(item, place), **merged}
            continue
        if not isinstance(key, yaml.ScalarNode) or key.tag not in _TEXTS:
            raise _wrong(key, place, "has a name that is not a text")
        name = _text(key, f"a name in {place or 'the file'}")
        field = f"{place}.{name}".lstrip(".")
        if name in own:
            raise _wrong(key, field, "appears twice")
        own[name] = _value(inner, field)
    return {**merged, **own}


def _scalar(node: yaml.ScalarNode, place: str) -> Any:
    if node.tag in _TEXTS:
        return _text(node, place or "the file")
    build = _SCALARS.get(node.tag)
    if build is None:
        raise _wrong(node, place, f"has the tag {node.tag}")
    try:
        value = build(node)
    except (ValueError, KeyError, IndexError, OverflowError, ConstructorError) as error:
        kind = node.tag.removeprefix(_TAG)
        raise _wrong(node, place, f"should be a value of the kind {kind}") from error
    if isinstance(value, float) and not math.isfinite(value):
        raise _wrong(node, place, f"should be a finite number. Received {node.value}")
    return value


def _text(node: yaml.ScalarNode, place: str) -> str:
    return check_text(str(node.value), f"{place} in line {_line(node)}")


def _wrong(node: yaml.Node, place: str, problem: str) -> Malformed:
    return Malformed(f"{place or 'the file'} {problem} (line {_line(node)})")


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
