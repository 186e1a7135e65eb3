"""What callers give: the inner LLM, conversations, a prompt with images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole, TextBlock
from llama_index.core.bridge.pydantic import BaseModel
from llama_index.core.llms.llm import LLM

from guardalign_middleware.errors import ConfigError, MessageError
from guardalign_middleware.sources import with_article
from llama_index.llms.guardalign.images import as_block, in_anything


def check_llm(llm: object, owner: str) -> LLM:
    """The inner LLM, if it is one.

    Raises:
        ConfigError: it is something else.
    """
    if isinstance(llm, LLM):
        return llm
    remedy = "Give an LLM of LlamaIndex, such as OpenAI(...) or Ollama(...)."
    if isinstance(llm, type):
        received = f"the class {llm.__name__}"
        remedy = f"Construct it: {owner}({llm.__name__}(...), ...)."
    elif llm is None or isinstance(llm, str | int | float):
        received = repr(llm)
    else:
        received = with_article(type(llm).__name__)
        if type(llm).__module__.startswith("langchain"):
            remedy = "Wrap a model of LangChain in the LangChainLLM of llama-index-llms-langchain."
    raise ConfigError(f"llm should be an LLM. Received {received}.", remedy=remedy)


def message_list(messages: Any) -> list[ChatMessage]:
    """A conversation as a list, whatever iterable it comes in.

    Raises:
        MessageError: it is no conversation.
    """
    remedy = "Pass a list of ChatMessages."
    if isinstance(messages, str | bytes | Mapping | BaseModel) or not isinstance(
        messages, Iterable
    ):
        received = with_article(type(messages).__name__)
        raise MessageError(f"messages should be ChatMessages. Received {received}.", remedy=remedy)
    items = list(messages)
    for index, item in enumerate(items):
        if not isinstance(item, ChatMessage):
            received = with_article(type(item).__name__)
            raise MessageError(
                f"messages[{index}] should be a ChatMessage. Received {received}.",
                remedy=remedy,
            )
    return items


def question(prompt: str, documents: Sequence[object] = ()) -> list[ChatMessage]:
    """The prompt and the `image_documents` of a completion as a chat; no image is read.

    Raises:
        MessageError: an object that carries no image.
    """
    images = [
        as_block(in_anything(item, f"image_documents[{index}]"))
        for index, item in enumerate(documents)
    ]
    blocks = [*images, TextBlock(text=prompt)]
    return [ChatMessage(role=MessageRole.USER, blocks=blocks)]


def given_images(formatted: object, image_documents: Sequence[Any] | None) -> Sequence[Any]:
    """The images of a completion; `MultiModalLLM` passes them in the place of `formatted`."""
    if image_documents is not None:
        return image_documents
    return formatted if isinstance(formatted, list | tuple) else ()
