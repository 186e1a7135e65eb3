"""What adapters are given as preset, guard or chain: checked, and said in words what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.errors import ConfigError

_KINDS = {
    "guard": ("ImageGuard", ("scan_many", "sanitize_many")),
    "chain": ("GuardAlign", ("prepare", "invoke", "with_options")),
}


def with_source(
    source: object, options: Mapping[str, Any], kind: str, owner: str
) -> dict[str, Any]:
    """An adapter's options with its positional argument under its name.

    Args:
        source: the positional argument: a preset, or what is loaded; None if there is none.
        options: the adapter's keywords.
        kind: the keyword of what is loaded, "guard" or "chain".
        owner: name of the adapter, for errors.

    Raises:
        ConfigError: a preset or something loaded is given as a keyword as well.
    """
    named = dict(options)
    if source is None:
        return named
    if named.get("preset") is not None or named.get(kind) is not None:
        raise ConfigError(
            f"{owner} got a positional argument beside preset or {kind}.",
            remedy=f"Exactly one of preset and {kind} should be given.",
        )
    named["preset" if isinstance(source, str | Path) else kind] = source
    return named


def check_preset(preset: object, kind: str) -> None:
    """Reject a preset of another type.

    Args:
        preset: what an adapter was given.
        kind: the keyword of what is loaded, "guard" or "chain".

    Raises:
        ConfigError: it is neither a string nor a path.
    """
    if isinstance(preset, str | Path):
        return
    remedy = "Give the name of a shipped preset, or the path of a .yaml file."
    if isinstance(preset, GuardAlignConfig):
        remedy = f"Load a {kind} from the config, and give it as {kind}=..."
    elif not isinstance(preset, type) and hasattr(preset, "config"):
        remedy = f"Give what is loaded as {kind}=..."
    raise ConfigError(
        f"preset should be a string or a path. Received {_described(preset)}.", remedy=remedy
    )


def check_loaded(loaded: object, kind: str) -> None:
    """Reject what is neither a guard nor a chain, as `kind` asks for.

    Raises:
        ConfigError: names what came, and the remedy.
    """
    expected, methods = _KINDS[kind]
    if (
        not isinstance(loaded, type)
        and isinstance(getattr(loaded, "config", None), GuardAlignConfig)
        and all(callable(getattr(loaded, method, None)) for method in methods)
    ):
        return
    remedy = f"Load one with {expected}.from_preset, or give preset=... instead."
    if isinstance(loaded, str | Path):
        remedy = "Give the name or the path of a preset as preset=..."
    elif kind == "guard" and hasattr(loaded, "runner") and hasattr(loaded, "guard"):
        remedy = "Give the guard of the chain: its attribute `guard`."
    raise ConfigError(
        f"{kind} should be {with_article(expected)}. Received {_described(loaded)}.", remedy=remedy
    )


def with_article(name: str) -> str:
    """The name of a type with "a" or "an", for errors."""
    return f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"


def _described(value: object) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, str | int | float | Path):
        return repr(value)
    return with_article(type(value).__name__)
