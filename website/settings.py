"""The reference of presets, written from the schema of their configuration."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from typing import Any

from guardalign_middleware import config
from guardalign_middleware.config import GuardAlignConfig

MARKER = "<!-- the settings -->"
_REF = "#/$defs/"
_BOUNDS = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
# Caps that only keep numbers out of an overflow.
_LARGE = 10**15


def settings_reference() -> str:
    """Markdown with a section for each part of a preset: what it is for, and its fields."""
    schema = GuardAlignConfig.model_json_schema()
    sections = {"GuardAlignConfig": ""}
    for name, path in _parts(schema, schema["$defs"], ""):
        sections.setdefault(name, path)
    written = (
        _section(name, path, schema if not path else schema["$defs"][name], sections)
        for name, path in sections.items()
    )
    return "\n\n".join(written)


def _parts(
    fields: Mapping[str, Any], named: Mapping[str, Any], path: str
) -> Iterator[tuple[str, str]]:
    """Each model inside of a model, with the keys that lead to it, outer models first."""
    for key, field in fields["properties"].items():
        for name in _references(field):
            inner = f"{path}.{key}".lstrip(".")
            yield name, inner
            yield from _parts(named[name], named, inner)


def _references(field: Any) -> Iterator[str]:
    if isinstance(field, dict):
        if "$ref" in field:
            yield str(field["$ref"]).removeprefix(_REF)
        for each in field.values():
            yield from _references(each)
    elif isinstance(field, list):
        for each in field:
            yield from _references(each)


def _section(name: str, path: str, model: Mapping[str, Any], sections: Mapping[str, str]) -> str:
    rows = [
        f"| `{key}` | {_type(field, sections)} | {_default(key, field, model)} | {_about(field)} |"
        for key, field in model["properties"].items()
    ]
    heading = f"## `{path}`" if path else "## A preset"
    cls = getattr(config, name)
    # Where the signatures on other pages link to.
    anchor = f"[](){{ #{cls.__module__}.{name} }}"
    about = inspect.cleandoc(cls.__doc__ or "")
    table = ["| field | values | default | meaning |", "| --- | --- | --- | --- |", *rows]
    return "\n\n".join([anchor, heading, f"`{name}`: {about}", "\n".join(table)])


def _type(field: Mapping[str, Any], sections: Mapping[str, str]) -> str:
    if "$ref" in field:
        path = sections[field["$ref"].removeprefix(_REF)]
        return f"[`{path}`](#{path.replace('.', '')})"
    if "anyOf" in field:
        return " or ".join(_type(each, sections) for each in field["anyOf"])
    values = field.get("enum", [field["const"]] if "const" in field else [])
    if values:
        return ", ".join(f"`{value}`" for value in values)
    if "prefixItems" in field:
        return f"{len(field['prefixItems'])} × {_type(field['prefixItems'][0], sections)}"
    if field.get("type") == "array":
        return f"list of {_type(field['items'], sections)}"
    if field.get("type") == "object":
        values = field.get("additionalProperties")
        return f"map to {_type(values, sections)}" if isinstance(values, dict) else "map"
    bounds = [
        f"{sign} {field[key]:,}" for key, sign in _BOUNDS if abs(field.get(key, _LARGE)) < _LARGE
    ]
    return " ".join([str(field.get("type", "any")), ", ".join(bounds)]).strip()


def _default(key: str, field: Mapping[str, Any], model: Mapping[str, Any]) -> str:
    if key in model.get("required", ()):
        return "required"
    default = field.get("default")
    if isinstance(default, dict) and default:
        return ""
    return "none" if default is None else f"`{json.dumps(default, ensure_ascii=False)}`"


def _about(field: Mapping[str, Any]) -> str:
    return str(field.get("description", "")).replace("|", "\\|").replace("\n", " ")
