"""A model's chat template is a program: it is run once, in a process that can be ended.

Later renderings are in the guard's own process, so a template that only shows its teeth on other
conversations is not found here.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from transformers import ProcessorMixin

from guardalign_middleware.bare_python import NoProcess, bare_command, run_bare
from guardalign_middleware.errors import ModelLoadError

MAX_TEMPLATE = 1 << 20
"""Longest template in characters; the longest known ones have 30,000."""
MAX_PROMPT = 1 << 20
"""Longest rendering of a conversation of a few words, in characters."""
CPU_SECONDS = 5
SECONDS = 60.0
"""Of waiting, for a machine that has no time; the template itself has `CPU_SECONDS`."""

_WORKER = Path(__file__).with_name("template_worker.py")
_WORDS = "What does this picture show?"
_REMEDY = "Use the model's own chat template, or the chat version of the model."


def choose_template(processor: ProcessorMixin, model: str) -> str:
    """The chat template that requests are rendered with.

    Args:
        processor: has it, or its tokenizer does.
        model: stands in messages.

    Raises:
        ModelLoadError: there is none, or several without a default.
    """
    tokenizer = getattr(processor, "tokenizer", None)
    found: Any = processor.chat_template or getattr(tokenizer, "chat_template", None)
    if isinstance(found, dict):
        found = found.get("default")
    if not found:
        raise ModelLoadError(
            f"{model} has no chat template.",
            remedy="Use the chat version of the model, or add a chat_template.jinja file.",
        )
    if not isinstance(found, str):
        raise ModelLoadError(
            f"The chat template of {model} is a {type(found).__name__}, not a text.",
            remedy=_REMEDY,
        )
    return found


def special_tokens(processor: ProcessorMixin) -> dict[str, Any]:
    """The tokens that transformers hands to a template, as plain JSON values."""
    tokens = json.dumps(processor.tokenizer.special_tokens_map, default=str)
    plain: dict[str, Any] = json.loads(tokens)
    return plain


def check_template(template: str, tokens: dict[str, Any]) -> None:
    """Render a template once, within limits of time, memory and length.

    Args:
        template: the text of it.
        tokens: see `special_tokens`.

    Raises:
        ModelLoadError: it is too long, does not compile, raises, drops the user's words, writes too
            much, or does not end in time and memory.
    """
    if len(template) > MAX_TEMPLATE:
        raise _refused(f"it has more than {MAX_TEMPLATE:,} characters")
    _checked(template, json.dumps(tokens, sort_keys=True))


@lru_cache(maxsize=32)
def _checked(template: str, tokens: str) -> None:
    """Once for a template: the processor is loaded for the detector and for the model."""
    order = {
        "template": template,
        "tokens": json.loads(tokens),
        "conversations": _conversations(),
        "words": _WORDS,
        "longest": MAX_PROMPT,
    }
    try:
        command = bare_command(str(_WORKER), [str(CPU_SECONDS)], ("jinja2", "markupsafe"))
        answer = run_bare(command, json.dumps(order).encode(), SECONDS)
    except NoProcess as error:
        raise ModelLoadError(
            f"The process that tries a chat template cannot be started: {error}.",
            remedy="Load the model in a Python that may start another one.",
        ) from error
    if answer is None:
        raise _refused(f"it did not end within {CPU_SECONDS} seconds and a fixed amount of memory")
    try:
        problem = json.loads(answer).get("error")
    except (ValueError, AttributeError) as error:
        raise _refused("its process gave no answer") from error
    if problem is not None:
        raise _refused(str(problem))


def _conversations() -> list[dict[str, Any]]:
    """A question about a picture, which must be rendered, and others, which may be refused."""

    def turn(role: str, *words: str, images: int = 0) -> dict[str, Any]:
        parts: list[dict[str, Any]] = [{"type": "image"}] * images
        return {"role": role, "content": [*parts, *({"type": "text", "text": w} for w in words)]}

    tool = {
        "type": "function",
        "function": {
            "name": "look_up",
            "description": "Looks a word up.",
            "parameters": {"type": "object", "properties": {"word": {"type": "string"}}},
        },
    }
    question = turn("user", _WORDS, images=1)
    long = [turn("user", "Go on."), turn("assistant", "So I do.")] * 8
    return [
        {"messages": [question], "tools": None},
        {"messages": [turn("user", "Hello.")], "tools": None},
        {"messages": [turn("system", "Be brief."), question], "tools": None},
        {"messages": [*long, turn("user", "Which one?", "And why?", images=2)], "tools": None},
        {"messages": [turn("system", "Be brief."), *long, question], "tools": [tool]},
        {"messages": [question, turn("assistant", "…"), turn("tool", "…")], "tools": [tool]},
    ]


def _refused(problem: str) -> ModelLoadError:
    return ModelLoadError(f"The chat template is refused: {problem}.", remedy=_REMEDY)
