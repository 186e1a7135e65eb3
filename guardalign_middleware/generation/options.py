"""The keywords of one generation, and their defaults and limits. Needs no torch."""

from __future__ import annotations

import json
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypedDict, TypeVar

from guardalign_middleware.config import RunnerConfig
from guardalign_middleware.config.runner import MAX_NEW_TOKENS, MAX_TEMPERATURE, SEEDS
from guardalign_middleware.errors import ConfigError

T = TypeVar("T")

# Below this, the scores divided by the temperature have no digits left for the noise.
_GREEDY_BELOW = 1e-5

Tools = Sequence[Mapping[str, Any]]
"""JSON schemas of the tools a model may call, in OpenAI's form."""


class GenerationOptions(TypedDict, total=False):
    """Keywords of every call that generates; an absent or None value comes from `RunnerConfig`.

    Attributes:
        max_new_tokens: maximum length of the answer, at most 1,000,000. An answer also ends where
            the model has no more positions.
        temperature: 0 is greedy, and so is less than 1e-5; above it, tokens are sampled from the
            whole softmax. At most 1000.
        seed: random seed of the sampling, from -2**63 to 2**64 - 1. Kinds of devices give different
            texts for one seed.
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
    return ResolvedOptions(
        _integer(
            "max_new_tokens",
            _value(options.get("max_new_tokens"), config.max_new_tokens),
            (1, MAX_NEW_TOKENS),
        ),
        _temperature(_value(options.get("temperature"), config.temperature)),
        _integer("seed", _value(options.get("seed"), config.seed), SEEDS),
        _stop(_value(options.get("stop"), ())),
        plain_tools(_value(options.get("tools"), ())),
    )


def _integer(name: str, value: Any, limits: tuple[int, int]) -> int:
    low, high = limits
    number: int | None
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or not low <= number <= high:
        raise ConfigError(
            f"{name} should be an integer from {low} to {high}. Received {_shown(value)}."
        )
    return number


def _temperature(value: Any) -> float:
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    # NaN compares false with everything.
    if not (is_number and 0.0 <= value <= MAX_TEMPERATURE):
        raise ConfigError(
            f"temperature should be a number from 0 to {MAX_TEMPERATURE:g}. "
            f"Received {_shown(value)}."
        )
    return float(value) if value >= _GREEDY_BELOW else 0.0


def _stop(value: Any) -> tuple[str, ...]:
    # A string is a sequence too: "END" would stop at every E, N and D.
    items = None if isinstance(value, str) or not isinstance(value, Sequence) else tuple(value)
    if items is None or not all(isinstance(item, str) for item in items):
        raise ConfigError(f"stop should be a list of strings. Received {_shown(value)}.")
    if "" in items:
        raise ConfigError("stop should hold non-empty strings. Received ''.")
    return items


def plain_tools(value: Any) -> tuple[Mapping[str, Any], ...]:
    """The tools, if a chat template can write them.

    Raises:
        ConfigError: they are no list of dicts with plain JSON values.
    """
    items = None if isinstance(value, str) or not isinstance(value, Sequence) else tuple(value)
    if items is None or not all(isinstance(item, Mapping) for item in items):
        raise ConfigError(
            f"tools should be a list of JSON schemas, as dicts. Received {_shown(value)}."
        )
    for item in items:
        try:
            json.dumps(item, default=_plain, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigError(f"tools should be plain JSON values: {error}.") from error
    return items


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} is not one")


def _shown(value: Any) -> str:
    if isinstance(value, int) and value.bit_length() > 128:
        # Python refuses to write thousands of digits.
        return f"an integer of {value.bit_length()} bits"
    return repr(value)[:100]


def _value(given: T | None, default: T) -> T:
    return default if given is None else given
