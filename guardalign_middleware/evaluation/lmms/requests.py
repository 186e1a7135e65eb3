"""Requests of lmms-eval as conversations and generation options; needs no lmms-eval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from PIL import Image

from guardalign_middleware.errors import ConfigError, MessageError
from guardalign_middleware.evaluation.arms import Asked
from guardalign_middleware.generation.options import GenerationOptions
from guardalign_middleware.guard import GuardAlign
from guardalign_middleware.types import ImagePart, Message, Role, TextPart

_ROLES: tuple[Role, ...] = ("system", "user", "assistant")
_SAMPLING = ("top_p", "top_k", "num_beams")


def options_of(given: Mapping[str, Any]) -> GenerationOptions:
    """The keywords of one request.

    Raises:
        ConfigError: one that would change the answer and that the runner does not have.
    """
    found = GenerationOptions()
    rest = dict(given)
    samples = rest.pop("do_sample", None)
    temperature = rest.pop("temperature", None)
    if temperature is not None:
        found["temperature"] = float(temperature) if samples is not False else 0.0
    elif samples:
        found["temperature"] = 1.0
    length = rest.pop("max_new_tokens", None)
    if length is not None:
        found["max_new_tokens"] = int(length)
    until = rest.pop("until", None)
    if until:
        found["stop"] = (until,) if isinstance(until, str) else tuple(until)
    for name in _SAMPLING:
        value = rest.pop(name, None)
        # One beam and the whole softmax are what the runner does; without sampling they are idle.
        if value not in (None, 1, 1.0) and (name == "num_beams" or found.get("temperature")):
            raise ConfigError(
                f"The runner has no {name}, and a task asks for {value!r}.",
                remedy=f"Take it out with --gen_kwargs {name}=1.",
            )
    if rest:
        raise ConfigError(f"The runner does not know {', '.join(sorted(rest))}.")
    return found


def asked_of(chain: GuardAlign, messages: Iterable[Mapping[str, Any]]) -> Asked:
    """A conversation of lmms-eval, its pictures read by the guard.

    Raises:
        MessageError: a role or content that the arms do not read.
        ImageRejected: a picture that the guard does not accept.
    """
    return tuple(_message(chain, each) for each in messages)


def _message(chain: GuardAlign, given: Mapping[str, Any]) -> Message:
    role = next((one for one in _ROLES if one == given["role"]), None)
    if role is None:
        raise MessageError(f"The arms know no role {given['role']!r}.")
    return Message(role, tuple(_part(chain, content) for content in given["content"]))


def _part(chain: GuardAlign, content: Mapping[str, Any]) -> TextPart | ImagePart:
    kind = content["type"]
    if kind == "text":
        return TextPart(str(content["text"]))
    picture = content.get("url")
    if kind != "image" or not isinstance(picture, Image.Image):
        raise MessageError(f"The arms read text and pictures, and no {kind!r}.")
    return ImagePart(chain.guard.load(picture))
