"""A runnable that stands before any chat model and lets no unchecked image through."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any

from langchain_core.callbacks import BaseRunManager
from langchain_core.load.serializable import SerializedConstructor, SerializedNotImplemented
from langchain_core.messages import BaseMessage, convert_to_messages
from langchain_core.prompt_values import ImagePromptValue, StringPromptValue
from langchain_core.runnables import RunnableConfig, RunnableSerializable
from PIL import Image
from pydantic import BaseModel, Field, PrivateAttr

from guardalign_middleware.errors import GuardAlignError, MessageError
from guardalign_middleware.handles import LazyGuard
from langchain_guardalign.cleaner import NOTICE, Cleaned, ImageCleaner, Strategy
from langchain_guardalign.errors import ImageBlocked
from langchain_guardalign.tracing import tell_run

_INPUTS = "Pass messages, a prompt, a string, a mapping with 'messages', or one image."
_BLOCK_REMEDY = (
    'Answer without the image, or use strategy="mask" or "replace" to go on with what is safe.'
)


@dataclass(frozen=True)
class _Job:
    """An input as the cleaner takes it, and how the caller gets it back."""

    value: object
    restore: Callable[[Any], Any]


class ImageGuardRunnable(RunnableSerializable[Any, Any]):
    """Cleans every image of its input and returns an input of the same shape.

    ```python
    from langchain_guardalign import ImageGuardRunnable

    chain = ImageGuardRunnable(preset="mini") | any_chat_model
    ```

    Takes messages (also as tuples and dictionaries), one message, a prompt, a string, the state of
    an agent (a mapping with `messages`), or one image as bytes, PIL picture or data URL. Images are
    found in every block dialect, in tool results, artifacts, keywords and texts; a cleaned image is
    a PNG in the dialect of the original. Ids, order and everything else stay. The verdicts are in
    each message's `response_metadata["guardalign"]`, without pixels.

    Nothing is forwarded when an image stands behind a URL, a path or a file id (`ImageRejected`),
    when a block could hold an image and cannot be read (`MessageError`), or when the guard has a
    fault (`GuardError`).

    Args:
        preset: a shipped preset by name, or the path of a .yaml file; it needs no runner.
        guard: an `ImageGuard` that exists already; then `preset` is not looked at.
        strategy: "mask" shows a cleaned picture, or the notice where nothing may be shown;
            "replace" shows the notice for every unsafe image; "block" raises `ImageBlocked`;
            "flag" changes nothing and only records the verdict.
        notice: the text that stands where an image was removed.
        cache_size: how many scanned pictures are remembered.
    """

    preset: str | Path = "mini"
    # An `ImageGuard`; naming the class here would import torch before the first call needs it.
    guard: Any = Field(default=None, exclude=True, repr=False)
    strategy: Strategy = "mask"
    notice: str = NOTICE
    cache_size: int = Field(default=256, ge=0)

    _cleaner: ImageCleaner = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Read the config; no model is loaded."""
        super().model_post_init(context)
        lazy = LazyGuard(self.preset) if self.guard is None else LazyGuard(guard=self.guard)
        self._cleaner = ImageCleaner(lazy, self.strategy, self.notice, self.cache_size)

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """A preset says it all, so the guard can be written down and read again."""
        return True

    def to_json(self) -> SerializedConstructor | SerializedNotImplemented:
        """Write the constructor down; a guard that was handed in cannot be."""
        if self.guard is not None:
            # Reading it back would silently be the guard of the default preset.
            return self.to_json_not_implemented()
        return super().to_json()

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Clean one input.

        Raises:
            ImageBlocked: with strategy "block", an unsafe image; otherwise a single image of which
                nothing may be shown and which has no place for a notice.
            ImageRejected: an image that the intake policy does not accept.
            MessageError: no known input, or a block that could hold an image and cannot be read.
            GuardError: a fault of the guard.
        """
        return self._call_with_config(self._clean, input, config)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """`invoke` in a thread, so that nothing blocks the event loop."""
        return await self._acall_with_config(self._aclean, input, config)

    def batch(
        self,
        inputs: list[Any],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any | None,
    ) -> list[Any]:
        """Clean several inputs with one scan; errors are those of `invoke`."""
        return self._batch_with_config(
            self._clean_many, inputs, config, return_exceptions=return_exceptions
        )

    async def abatch(
        self,
        inputs: list[Any],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any | None,
    ) -> list[Any]:
        """`batch` in a thread, so that nothing blocks the event loop."""
        return await self._abatch_with_config(
            self._aclean_many, inputs, config, return_exceptions=return_exceptions
        )

    def _clean(self, value: Any, run_manager: BaseRunManager) -> Any:
        (result,) = self._clean_many([value], [run_manager])
        if isinstance(result, Exception):
            raise result
        return result

    async def _aclean(self, value: Any, run_manager: BaseRunManager) -> Any:
        return await asyncio.to_thread(self._clean, value, run_manager)

    async def _aclean_many(
        self, values: list[Any], run_manager: Sequence[BaseRunManager]
    ) -> list[Any]:
        return await asyncio.to_thread(self._clean_many, values, run_manager)

    def _clean_many(self, values: list[Any], run_manager: Sequence[BaseRunManager]) -> list[Any]:
        """A result for each value, or the error that it has."""
        jobs = [_job_or_error(value) for value in values]
        ready = [job for job in jobs if isinstance(job, _Job)]
        cleaned = iter(self._cleaner.clean_many([job.value for job in ready]))
        return [
            self._outcome(job, next(cleaned), run) if isinstance(job, _Job) else job
            for job, run in zip(jobs, run_manager, strict=True)
        ]

    def _outcome(self, job: _Job, cleaned: Cleaned | GuardAlignError, run: BaseRunManager) -> Any:
        if isinstance(cleaned, Exception):
            return cleaned
        tell_run(cleaned.records, run)
        flagged = cleaned.flagged
        if flagged and self.strategy == "block":
            return ImageBlocked(flagged, remedy=_BLOCK_REMEDY)
        if job.restore is _picture and "image" not in cleaned.value:
            remedy = "Pass the image inside a message, where a notice can stand for it."
            return ImageBlocked(flagged, remedy=remedy)
        return job.restore(cleaned.value)


def _job_or_error(value: Any) -> _Job | MessageError:
    try:
        return _job(value)
    except MessageError as error:
        return error


def _job(value: Any) -> _Job:
    if isinstance(value, bytes | bytearray | Image.Image):
        image = bytes(value) if isinstance(value, bytearray) else value
        return _Job({"type": "image", "image": image}, _picture)
    if isinstance(value, str):
        if value[:5].lower() == "data:":
            return _Job({"type": "image", "url": value}, lambda block: _text_or(block, "url"))
        return _Job(value, _same)
    if isinstance(value, ImagePromptValue):
        return _Job({"type": "image_url", "image_url": dict(value.image_url)}, _image_prompt)
    if isinstance(value, BaseMessage):
        return _Job(value, _same)
    if isinstance(value, Mapping):
        messages = value.get("messages")
        if isinstance(messages, Sequence) and not isinstance(messages, str | bytes):
            value = {**value, "messages": _messages(messages)}
        return _Job(value, _same)
    if isinstance(value, list | tuple):
        return _Job(_messages(value), _same)
    if isinstance(value, BaseModel) or is_dataclass(value):
        # A prompt, or a `Command` that starts or resumes an agent.
        return _Job(value, _same)
    raise MessageError(f"A {type(value).__name__} cannot be guarded.", remedy=_INPUTS)


def _messages(items: Sequence[Any]) -> list[BaseMessage]:
    try:
        return convert_to_messages(items)
    except (NotImplementedError, ValueError) as error:
        raise MessageError(f"An item of the list is no message: {error}", remedy=_INPUTS) from error


def _same(value: Any) -> Any:
    return value


def _picture(block: Mapping[str, Any]) -> Any:
    return block["image"]


def _text_or(block: Mapping[str, Any], key: str) -> Any:
    return block["text"] if "text" in block else block[key]


def _image_prompt(block: Mapping[str, Any]) -> ImagePromptValue | StringPromptValue:
    if "text" in block:
        return StringPromptValue(text=block["text"])
    return ImagePromptValue(image_url=block["image_url"])
