"""The length of prompts, of parts of prompts, and what a model can read."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from guardalign_middleware.config import RunnerConfig
from guardalign_middleware.errors import MessageError
from guardalign_middleware.strict import Malformed, is_folder, json_value, read_bytes
from guardalign_middleware.types import Message, TextPart

_TEXT_MODELS = ("text_config", "llm_config", "language_config")


class CountsTokens(Protocol):
    """A runner with a tokenizer: of a model in this process, also behind `on_output`."""

    def token_ids(self, text: str) -> list[int]:
        """The tokens of a text, without template and special tokens."""

    def count_tokens(
        self,
        messages: Sequence[Message],
        *,
        prefix: bool = True,
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> int:
        """Length of the prompt with its template, images and safety prefix."""


def count_tokens(
    runner: CountsTokens, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]
) -> int:
    """Tokens of a prompt with its images, template, tools and safety prefix.

    Where messages are no prompt that the model could answer, such as the part of a history that
    `trim_messages` asks about, each message counts as one of the user's, without the prefix.

    Args:
        runner: has the tokenizer.
        messages: the conversation.
        tools: JSON schemas of what the model may call.
    """
    if any(message.role == "user" for message in messages):
        try:
            return runner.count_tokens(messages, tools=list(tools))
        except MessageError:
            # The template knows no such order of roles.
            pass
    if not messages and not tools:
        return 0
    turns = [Message("user", message.parts or (TextPart(""),)) for message in messages]
    count = sum(runner.count_tokens([turn], prefix=False) for turn in turns)
    if tools:
        nothing = [Message("user", (TextPart(""),))]
        with_tools = runner.count_tokens(nothing, prefix=False, tools=list(tools))
        count += with_tools - runner.count_tokens(nothing, prefix=False)
    return count


def max_input_tokens(config: RunnerConfig | None, runner: object = None) -> int | None:
    """What a model can read, from the files of its config; None if they do not say it.

    Args:
        config: names the model; its folder or the hub's cache is read, never the network.
        runner: the loaded runner, if there is one.
    """
    if runner is not None:
        limit: int | None = getattr(runner, "max_input_tokens", None)
        return limit
    file = None if config is None else _config_file(config)
    try:
        read = {} if file is None else json_value(read_bytes(file), foreign=True)
    except Malformed:
        # Loading the model will say what is wrong with it.
        return None
    if not isinstance(read, dict):
        return None
    for part in (read, *(read.get(name) for name in _TEXT_MODELS)):
        found = part.get("max_position_embeddings") if isinstance(part, dict) else None
        if isinstance(found, int):
            return found
    return None


def _config_file(config: RunnerConfig) -> Path | None:
    folder = Path(os.path.expanduser(config.model))
    if is_folder(folder):
        return folder / "config.json"
    if folder.is_absolute() or config.model.count("/") != 1:
        return None
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(config.model, "config.json", revision=config.revision)
    return Path(cached) if isinstance(cached, str) else None
