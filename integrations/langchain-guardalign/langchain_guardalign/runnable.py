"""A runnable to put in front of any chat model: it cleans every image of its input."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from langchain_core.callbacks import BaseRunManager
from langchain_core.language_models import BaseChatModel
from langchain_core.load.serializable import SerializedConstructor, SerializedNotImplemented
from langchain_core.messages import BaseMessage, convert_to_messages
from langchain_core.prompt_values import ImagePromptValue, StringPromptValue
from langchain_core.runnables import RunnableConfig, RunnableSerializable
from PIL import Image
from pydantic import BaseModel, Field, PrivateAttr, field_validator

from guardalign_middleware.errors import GuardAlignError, MessageError
from guardalign_middleware.handles import check_preset, guard_handle, with_source
from guardalign_middleware.handling import OnUnsafe, check_known, check_option
from guardalign_middleware.notices import UNSAFE
from guardalign_middleware.scan_threads import in_scan_thread
from langchain_guardalign.cleaner import ON_UNSAFE, Cleaned, ImageCleaner
from langchain_guardalign.composition import Guarding, in_front
from langchain_guardalign.errors import ImageBlocked
from langchain_guardalign.tracing import record_on_run

if TYPE_CHECKING:
    from langchain_guardalign.guarded_model import GuardedChatModel

# The whole string, as one image; in any other string, a data URL is only words.
_DATA_URL = re.compile(r"data:image/[^\s,]{1,200},(?:\S*|(?:[\w+/=-]|\r?\n)*)\s*", re.IGNORECASE)
_INPUTS = "Pass messages, a prompt, a string, a mapping with 'messages', or one image."
_BLOCK_REMEDY = (
    'Answer without the image, or use on_unsafe="mask" or "notice" to continue with what is safe.'
)


@dataclass(frozen=True)
class _Input:
    """An input in the form that the cleaner takes, and how to restore the caller's form."""

    value: object
    restore: Callable[[Any], Any]


class ImageGuardRunnable(Guarding, RunnableSerializable[Any, Any]):
    """Cleans every image of its input and returns an input of the same shape.

    ```python
    from langchain_guardalign import ImageGuardRunnable

    chain = ImageGuardRunnable(preset="mini") | any_chat_model
    ```

    Takes messages (objects, tuples or dictionaries), one message, a prompt, a string, an agent's
    state (a mapping with `messages`), or one image as bytes, PIL picture or data URL. Images are
    found in every block dialect, in tool results, artifacts and keywords. A cleaned image stays
    in its dialect and, where every provider takes it, in its format. In text and in tool calls,
    where no model sees a picture, only a complete unsafe one is replaced. Ids, order and
    everything else stay the same. The verdicts
    are in each message's `response_metadata["guardalign"]`, without pixels.

    Nothing is forwarded if an image is behind a URL, a path or a file id (`ImageRejected`), if a
    block could hold an image and cannot be read (`MessageError`), or if the guard has a fault
    (`GuardError`).

    Args:
        source: a preset or a loaded guard, as below, given by position.
        preset: name of a shipped preset, or path of a .yaml file. It needs no runner.
        guard: a loaded `ImageGuard`, instead of `preset`. There is no default.
        on_unsafe: "mask" shows the cleaned picture, or the notice where nothing may be shown;
            "notice" shows the notice for every unsafe image; "block" raises `ImageBlocked`;
            "flag" changes nothing and only records the verdict.
        notice: the text in place of an unsafe image.
        cache_size: number of scanned pictures to remember.

    Raises:
        ConfigError: neither or both of `preset` and `guard`, an unknown preset, an option that does
            not exist, or any other `on_unsafe`.
    """

    preset: str | Path | None = None
    # An `ImageGuard`; importing the class here would import torch before it is needed.
    guard: Any = Field(default=None, exclude=True, repr=False)
    on_unsafe: OnUnsafe = "mask"
    notice: str = UNSAFE
    cache_size: int = Field(default=256, ge=0)

    _cleaner: ImageCleaner = PrivateAttr()

    def __init__(self, source: Any = None, /, **options: Any) -> None:
        owner = type(self).__name__
        check_known(owner, options, type(self).model_fields)
        super().__init__(**with_source(source, options, "guard", owner))

    @field_validator("preset", mode="before")
    @classmethod
    def _check_preset(cls, value: Any) -> Any:
        if value is not None:
            check_preset(value, "guard")
        return value

    @field_validator("on_unsafe", mode="before")
    @classmethod
    def _check_on_unsafe(cls, value: Any) -> Any:
        check_option("on_unsafe", value, ON_UNSAFE)
        return value

    def model_post_init(self, context: Any, /) -> None:
        """Read the config; no model is loaded."""
        super().model_post_init(context)
        handle = guard_handle(self.preset, self.guard, owner=type(self).__name__)
        self._cleaner = ImageCleaner(handle, self.on_unsafe, self.notice, self.cache_size)

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """True: a preset determines the guard."""
        return True

    def to_json(self) -> SerializedConstructor | SerializedNotImplemented:
        """Serialise the constructor's arguments; not possible with a loaded `guard`."""
        if self.guard is not None:
            return self.to_json_not_implemented()
        return super().to_json()

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Clean one input.

        Raises:
            ImageBlocked: an unsafe image with `on_unsafe="block"`, or a single image that would
                become a notice, for which its type has no room.
            ImageRejected: an image that the intake policy does not accept.
            MessageError: an unknown kind of input, or a block that could hold an image and cannot
                be read.
            GuardError: a fault of the guard.
        """
        return self._call_with_config(self._clean, input, config)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """`invoke` in a thread, so that the event loop stays free."""
        return await self._acall_with_config(self._aclean, input, config)

    def batch(
        self,
        inputs: list[Any],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any | None,
    ) -> list[Any]:
        """Clean several inputs with one scan; raises the errors of `invoke`."""
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
        """`batch` in a thread, so that the event loop stays free."""
        return await self._abatch_with_config(
            self._aclean_many, inputs, config, return_exceptions=return_exceptions
        )

    @overload  # type: ignore[override]
    def __or__(self, other: BaseChatModel) -> GuardedChatModel: ...

    @overload
    def __or__(self, other: Any) -> RunnableSerializable[Any, Any]: ...

    def __or__(self, other: Any) -> RunnableSerializable[Any, Any]:
        """A chat model that is guarded, or a sequence with anything else."""
        return in_front(self, other)

    def _image_guard(self) -> ImageGuardRunnable:
        return self

    def _clean(self, value: Any, run_manager: BaseRunManager) -> Any:
        (result,) = self._clean_many([value], [run_manager])
        if isinstance(result, Exception):
            raise result
        return result

    async def _aclean(self, value: Any, run_manager: BaseRunManager) -> Any:
        return await in_scan_thread(self._clean, value, run_manager)

    async def _aclean_many(
        self, values: list[Any], run_manager: Sequence[BaseRunManager]
    ) -> list[Any]:
        return await in_scan_thread(self._clean_many, values, run_manager)

    def _clean_many(self, values: list[Any], run_manager: Sequence[BaseRunManager]) -> list[Any]:
        return [
            item.value if isinstance(item, Cleaned) else item
            for item in self.screen(values, run_manager)
        ]

    def screen(
        self, values: Sequence[Any], run_manager: Sequence[BaseRunManager] | None = None
    ) -> list[Cleaned | Exception]:
        """Clean inputs: each in the caller's form with its records, or its error.

        Args:
            values: the inputs.
            run_manager: of the run of each, which gets the verdicts; None without runs.

        Raises:
            GuardError: a fault of the guard, which concerns all inputs.
        """
        runs: Sequence[BaseRunManager | None] = run_manager or [None] * len(values)
        inputs = [_input_or_error(value) for value in values]
        valid = [item for item in inputs if isinstance(item, _Input)]
        cleaned = iter(self._cleaner.clean_many([item.value for item in valid]))
        return [
            self._result(item, next(cleaned), run) if isinstance(item, _Input) else item
            for item, run in zip(inputs, runs, strict=True)
        ]

    def _result(
        self, item: _Input, cleaned: Cleaned | GuardAlignError, run: BaseRunManager | None
    ) -> Cleaned | Exception:
        if isinstance(cleaned, Exception):
            return cleaned
        if run is not None:
            record_on_run(cleaned.records, run)
        flagged = cleaned.flagged
        if flagged and self.on_unsafe == "block":
            return ImageBlocked(flagged, remedy=_BLOCK_REMEDY)
        if item.restore is _picture and "image" not in cleaned.value:
            remedy = "Pass the image inside a message, where a notice can take its place."
            return ImageBlocked(flagged, remedy=remedy)
        return replace(cleaned, value=item.restore(cleaned.value))


def _input_or_error(value: Any) -> _Input | MessageError:
    try:
        return _input(value)
    except MessageError as error:
        return error


def _input(value: Any) -> _Input:
    if isinstance(value, bytes | bytearray | Image.Image):
        image = bytes(value) if isinstance(value, bytearray) else value
        return _Input({"type": "image", "image": image}, _picture)
    if isinstance(value, str):
        if _DATA_URL.fullmatch(value):
            return _Input({"type": "image", "url": value}, _text_or_url)
        return _Input(value, _unchanged)
    if isinstance(value, ImagePromptValue):
        return _Input({"type": "image_url", "image_url": dict(value.image_url)}, _image_prompt)
    if isinstance(value, BaseMessage):
        return _Input(value, _unchanged)
    if isinstance(value, Mapping):
        messages = value.get("messages")
        if isinstance(messages, Sequence) and not isinstance(messages, str | bytes):
            value = {**value, "messages": _messages(messages)}
        return _Input(value, _unchanged)
    if isinstance(value, list | tuple):
        return _Input(_messages(value), _unchanged)
    if isinstance(value, BaseModel) or is_dataclass(value):
        # A prompt, or a `Command` that starts or resumes an agent.
        return _Input(value, _unchanged)
    raise MessageError(f"A {type(value).__name__} cannot be guarded.", remedy=_INPUTS)


def _messages(items: Sequence[Any]) -> list[BaseMessage]:
    try:
        return convert_to_messages(items)
    except (NotImplementedError, ValueError) as error:
        raise MessageError(
            f"An item of the list is not a message: {error}", remedy=_INPUTS
        ) from error


def _unchanged(value: Any) -> Any:
    return value


def _picture(block: Mapping[str, Any]) -> Any:
    return block["image"]


def _text_or_url(block: Mapping[str, Any]) -> Any:
    return block["text"] if "text" in block else block["url"]


def _image_prompt(block: Mapping[str, Any]) -> ImagePromptValue | StringPromptValue:
    if "text" in block:
        return StringPromptValue(text=block["text"])
    return ImagePromptValue(image_url=block["image_url"])
