"""Parts that the tests of the LlamaIndex package share."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.llms import ChatMessage, TextBlock

# The workflow engine looks at every attribute of its agents, deprecated ones too.
ignore_agent_warnings = pytest.mark.filterwarnings(
    "ignore:is_running called from within a step:DeprecationWarning",
    "ignore::pydantic.warnings.PydanticDeprecatedSince20",
    "ignore::pydantic.warnings.PydanticDeprecatedSince211",
)
# The multi-modal engine is marked as deprecated, but still what an index returns.
ignore_engine_warnings = pytest.mark.filterwarnings(
    "ignore:Call to deprecated class SimpleMultiModalQueryEngine"
)


def ask(*blocks: Any) -> list[ChatMessage]:
    """A conversation of one question about what the blocks show."""
    return [ChatMessage(role="user", blocks=[*blocks, TextBlock(text="What is it?")])]


def decisions(response: Any) -> list[str]:
    """What the guard decided on each image, as a response tells it."""
    return [item["decision"] for item in response.additional_kwargs["guardalign"]["verdicts"]]
