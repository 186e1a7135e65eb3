"""The keywords of one generation, and their defaults and limits. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, TypeVar

from guardalign_middleware.config import RunnerConfig
from guardalign_middleware.errors import ConfigError

T = TypeVar("T")

Tools = Sequence[Mapping[str, Any]]
"""JSON schemas of the tools a model may call, in OpenAI's form."""


class GenerationOptions(TypedDict, total=False):
    """Keywords of every call that generates; an absent or None value comes from `RunnerConfig`.

    Attributes:
        max_new_tokens: maximum length of the answer.
        temperature: 0 is greedy; above it, tokens are sampled from the whole softmax.
        seed: random seed of the sampling.
        stop: strings that end the answer and are not part of it.
        tools: what the model may call; its calls are in the text of the answer.
    """

    max_new_tokens: int | None
    temperature: float | None
    seed: int | None
    stop: Sequence[str] | None
    tools: Tools


@dataclass(frozen=True)
class ResolvedOptions:
    """`GenerationOptions` with the config's defaults filled in, all within their limits."""

    max_new_tokens: int
    temperature: float
    seed: int
    stop: tuple[str, ...]
    tools: tuple[Mapping[str, Any], ...]


def resolve_options(config: RunnerConfig, options: GenerationOptions) -> ResolvedOptions:
    """Fill in the config's defaults and check every value.

    This is the only check at run time: a `TypedDict` is checked by type checkers alone.

    Raises:
        TypeError: a keyword that no generation takes.
        ConfigError: a value out of range.
    """
    unknown = sorted(options.keys() - GenerationOptions.__annotations__.keys())
    if unknown:
        raise TypeError(
            f"A generation takes no keyword {', '.join(map(repr, unknown))}. "
            f"It takes {', '.join(GenerationOptions.__annotations__)}."
        )
    limit = _value(options.get("max_new_tokens"), config.max_new_tokens)
    temperature = _value(options.get("temperature"), config.temperature)
    stop = tuple(_value(options.get("stop"), ()))
    if limit < 1:
        raise ConfigError(f"max_new_tokens should be >= 1. Received {limit}.")
    if not 0.0 <= temperature < float("inf"):
        raise ConfigError(f"temperature should be >= 0. Received {temperature}.")
    if "" in stop:
        raise ConfigError("stop should hold non-empty strings. Received ''.")
    seed = _value(options.get("seed"), config.seed)
    return ResolvedOptions(limit, temperature, seed, stop, tuple(options.get("tools", ())))


def _value(given: T | None, default: T) -> T:
    return default if given is None else given
