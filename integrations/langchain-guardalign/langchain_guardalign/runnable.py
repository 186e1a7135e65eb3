"""A runnable to put in front of any chat model: it cleans every image of its input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, overload

from langchain_core.callbacks import BaseRunManager
from langchain_core.language_models import BaseChatModel
from langchain_core.load.serializable import SerializedConstructor, SerializedNotImplemented
from langchain_core.runnables import RunnableConfig, RunnableSerializable
from pydantic import Field, PrivateAttr, ValidationInfo, field_validator

from guardalign_middleware.cleaning.cleaner import ON_UNSAFE
from guardalign_middleware.cleaning.outcomes import Cleaned
from guardalign_middleware.errors import MessageError
from guardalign_middleware.fixed_options import FixedOptions
from guardalign_middleware.handles import guard_handle
from guardalign_middleware.handling import (
    SENT_OPTIONS,
    OnBlocked,
    OnRefused,
    OnUnsafe,
    check_known,
    check_option,
)
from guardalign_middleware.notices import UNSAFE
from guardalign_middleware.scan_threads import in_scan_thread
from guardalign_middleware.sources import check_preset, with_source
from langchain_guardalign.cleaner import MessageCleaner
from langchain_guardalign.composition import Guarding, in_front
from langchain_guardalign.errors import ImageBlocked
from langchain_guardalign.inputs import Input, input_or_error
from langchain_guardalign.tracing import record_on_run
from langchain_guardalign.turns import EndedTurns, Sent

if TYPE_CHECKING:
    from langchain_guardalign.guarded_model import GuardedChatModel

_OPTIONS = {"on_unsafe": ON_UNSAFE, **SENT_OPTIONS}
_BLOCK_REMEDY = (
    'Answer with its `reply`, or use on_blocked="notice" to continue with a text in its place.'
)
_PLACE = "input"
_NO_ROOM = "Pass the image inside a message, where a notice can take its place."


class ImageGuardRunnable(FixedOptions, Guarding, RunnableSerializable[Any, Any]):
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
    everything else stay the same. The verdicts are in each message's
    `response_metadata["guardalign"]`, without pixels.

    What cannot be checked is never forwarded: an image behind a URL, a path or a file id
    (`ImageRejected`), and a block that could hold an image and cannot be read (`MessageError`). By
    default it is raised if the user has just sent it; in older turns, answers and tool results, a
    text that names the cause takes its place. A fault of the guard is always raised (`GuardError`).

    Args:
        source: a preset or a loaded guard, as below, given by position.
        preset: name of a shipped preset, or path of a .yaml file. It needs no runner.
        guard: a loaded `ImageGuard`, instead of `preset`. There is no default.
        on_unsafe: "mask" shows the cleaned picture, and takes an image of which nothing may be
            shown for a blocked one; "notice" shows the notice for every unsafe image; "block" takes
            every unsafe image for a blocked one; "flag" changes nothing and only records the
            verdict.
        on_refused: what to do about what cannot be checked and the user has just sent: "raise" the
            error, or show a "notice" that names the cause.
        on_blocked: what to do about an image of which nothing may be shown and the user has just
            sent: "reply" in the model's place, or show the "notice". Where no model stands directly
            behind, `ImageBlocked` is raised, which has the reply.
        allow_unscanned: whether films and files of unknown kinds pass unread, and PDF files that
            the preset refuses; the verdicts count them as `unscanned`.
        notice: the text in place of an unsafe image.
        cache_size: number of scanned pictures to remember.

    Raises:
        ConfigError: neither or both of `preset` and `guard`, an unknown preset, an option that does
            not exist, or a value that an option does not have.
    """

    FIXED: ClassVar[frozenset[str]] = frozenset(
        {"preset", "guard", "on_unsafe", "allow_unscanned", "notice", "cache_size"}
    )
    ACCEPTED: ClassVar[Mapping[str, Sequence[str]]] = SENT_OPTIONS

    preset: str | Path | None = None
    # An `ImageGuard`; importing the class here would import torch before it is needed.
    guard: Any = Field(default=None, exclude=True, repr=False)
    on_unsafe: OnUnsafe = "mask"
    on_refused: OnRefused = "raise"
    on_blocked: OnBlocked = "reply"
    allow_unscanned: bool = False
    notice: str = UNSAFE
    cache_size: int = Field(default=256, ge=0)

    _cleaner: MessageCleaner = PrivateAttr()
    _ended: EndedTurns = PrivateAttr(default_factory=EndedTurns)
    _replies: bool = PrivateAttr(default=True)

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

    @field_validator("on_unsafe", "on_refused", "on_blocked", mode="before")
    @classmethod
    def _check_options(cls, value: Any, info: ValidationInfo) -> Any:
        check_option(str(info.field_name), value, _OPTIONS[str(info.field_name)])
        return value

    def model_post_init(self, context: Any, /) -> None:
        """Read the config; no model is loaded."""
        super().model_post_init(context)
        handle = guard_handle(self.preset, self.guard, owner=type(self).__name__)
        self._cleaner = MessageCleaner(
            handle, self.on_unsafe, self.notice, self.cache_size, self.allow_unscanned
        )

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        # A loaded guard is shared: its models are never copied.
        memo = {} if memo is None else memo
        memo[id(self.guard)] = self.guard
        return super().__deepcopy__(memo)

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
            ImageBlocked: an image that the user has just sent is blocked and `on_blocked` is
                "reply", or a single image would become a notice, for which its type has no room.
            ImageRejected: an image that the intake policy does not accept, by `on_refused`.
            MessageError: an unknown kind of input, or a block that could hold an image and cannot
                be read, by `on_refused`.
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
            self.blocked_error(item) or item.value if isinstance(item, Cleaned) else item
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
        inputs = [input_or_error(value) for value in values]
        valid = [item for item in inputs if isinstance(item, Input)]
        cleaned = iter(self._cleaner.clean_each([item.value for item in valid], _PLACE))
        return [
            self._result(item, next(cleaned), run) if isinstance(item, Input) else item
            for item, run in zip(inputs, runs, strict=True)
        ]

    @property
    def options(self) -> dict[str, Any]:
        """What decides, beside the guard, what a model sees and what is answered."""
        names = ("on_unsafe", "on_refused", "on_blocked", "allow_unscanned", "notice")
        return {name: getattr(self, name) for name in names}

    @property
    def blocked_reply(self) -> str:
        """The preset's reply to a blocked image."""
        return self._cleaner.guard.config.blocked_reply

    @property
    def replies(self) -> bool:
        """Whether a model behind it may answer a blocked image in words."""
        return self._replies

    def without_replies(self) -> ImageGuardRunnable:
        """A copy for a model whose answers are parsed: a blocked image is always an error."""
        copy = self.model_copy()
        copy._replies = False
        return copy

    def blocked_error(self, cleaned: Cleaned) -> ImageBlocked | None:
        """The error for a prompt that should have a reply, where nothing can reply."""
        if not cleaned.blocked:
            return None
        return ImageBlocked(cleaned.blocked, remedy=_BLOCK_REMEDY, reply=self.blocked_reply)

    def _result(
        self, item: Input, cleaned: Cleaned | MessageError, run: BaseRunManager | None
    ) -> Cleaned | Exception:
        if isinstance(cleaned, MessageError):
            return cleaned
        if run is not None:
            record_on_run(cleaned.records, run)
        if not cleaned.outcomes:
            return replace(cleaned, value=item.restore(cleaned.value))
        single = item.single
        sent = Sent(item.value, _PLACE, self._ended)
        ending = [
            each
            for each in cleaned.outcomes
            if (each.refused and each.declared and (single or self.on_refused == "raise"))
            or (each.blocked and self.on_blocked == "reply")
        ]
        sent.without_ended(ending)
        refusal = cleaned.refusal(lambda each: each in ending and sent(each))
        if refusal is not None:
            sent.remember(ending)
            return refusal
        if single and "image" not in cleaned.value:
            return ImageBlocked(cleaned.flagged, remedy=_NO_ROOM, reply=self.blocked_reply)
        blocked = cleaned.blocked_among(lambda each: each in ending and sent(each))
        if blocked:
            sent.remember(ending)
        return replace(cleaned, value=item.restore(cleaned.value), blocked=blocked)
