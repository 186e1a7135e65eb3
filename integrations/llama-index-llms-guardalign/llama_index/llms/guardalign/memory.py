"""`GuardAlignMemory`: a chat memory that holds cleaned pictures only."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.bridge.pydantic import ConfigDict, Field, PrivateAttr
from llama_index.core.memory import BaseMemory

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.fixed_options import FixedOptions
from guardalign_middleware.handles import LazyGuard, guard_handle
from guardalign_middleware.handling import (
    SENT_OPTIONS,
    OnBlocked,
    OnRefused,
    check_known,
    check_sent_options,
)
from guardalign_middleware.scan_threads import in_scan_thread
from guardalign_middleware.sent_turns import Refusals
from guardalign_middleware.sources import with_article, with_source
from guardalign_middleware.verdict_records import METADATA_KEY
from llama_index.llms.guardalign.fields import GuardPreset, OptionalFetch
from llama_index.llms.guardalign.images import Resolver
from llama_index.llms.guardalign.passes import Passes, drawn
from llama_index.llms.guardalign.turns import Turns

if TYPE_CHECKING:
    from guardalign_middleware.handles import AnyGuard

_OWNER = "GuardAlignMemory"


class GuardAlignMemory(FixedOptions, BaseMemory):
    """Any chat memory of LlamaIndex; messages are cleaned before it gets them.

    A guarded LLM cleans what it is shown and leaves the caller's messages as they are, so what a
    chat engine or an agent remembers, and a serialized workflow context, would hold the raw
    pictures. Wrap the memory, and they hold cleaned pictures and notices.

    What the user has just sent raises if it cannot be checked, before it is remembered. A blocked
    image is replaced by a notice; a guarded LLM still answers that turn with the `blocked_reply`.

    Args:
        memory: the memory to fill; what it holds already is cleaned by `guard_memory`.
        source: a preset or a loaded guard, as below, given by position.
        preset: name of a built-in preset, or path of a YAML file. There is no default.
        guard: a loaded `ImageGuard` instead of a preset; the memory then cannot be serialized.
        on_refused, on_blocked, allow_unscanned, fetch: as in `GuardAlignGuardedLLM`.

    Raises:
        ConfigError: `memory` is none of LlamaIndex, neither or both of `preset` and `guard` are
            given, an option does not exist, or one has a wrong value.

    Example:
        ```python
        memory = GuardAlignMemory(memory=Memory.from_defaults(), preset="guard.yaml")
        await agent.run(user_msg=message, memory=memory)
        ```
    """

    model_config = ConfigDict(extra="forbid")

    ACCEPTED: ClassVar[Mapping[str, Sequence[str]]] = SENT_OPTIONS

    # Written by `to_dict`: the serializers of some memories fail inside another model.
    memory: BaseMemory = Field(exclude=True, description="The memory that is filled.")
    preset: GuardPreset = None
    allow_unscanned: bool = Field(
        default=False, description="Whether videos and documents are remembered unscanned."
    )
    on_refused: OnRefused = Field(
        default="raise", description="What happens to an input that cannot be checked."
    )
    on_blocked: OnBlocked = Field(
        default="reply", description="Whether a guarded LLM replies to a blocked image itself."
    )
    fetch: OptionalFetch = None

    _lazy: LazyGuard = PrivateAttr()
    _refusals: Refusals = PrivateAttr(default_factory=Refusals)

    def __init__(
        self,
        memory: BaseMemory | None = None,
        source: AnyGuard | str | Path | None = None,
        /,
        **data: Any,
    ) -> None:
        if memory is not None and "memory" in data:
            raise ConfigError(
                f"{_OWNER} got two memories.", remedy="Give one, first or as memory=..."
            )
        data = with_source(source, data, "guard", _OWNER)
        inner = _checked(data.pop("memory", memory))
        guard = data.pop("guard", None)
        preset = data.pop("preset", None)
        check_known(_OWNER, data, {*type(self).model_fields, "guard"})
        check_sent_options(**{key: data[key] for key in SENT_OPTIONS if key in data})
        # `guard_memory` hands over the handle of an LLM, with its preset.
        shared = isinstance(guard, LazyGuard)
        handle = guard if shared else guard_handle(preset, guard, owner=_OWNER)
        super().__init__(memory=inner, preset=None if preset is None else str(preset), **data)
        self._lazy = handle

    def __getstate__(self) -> dict[str, Any]:
        # LlamaIndex silently drops attributes that cannot be pickled; raise instead.
        self._lazy.require_preset()
        pickle.dumps(self.fetch)
        return super().__getstate__()

    @classmethod
    def class_name(cls) -> str:
        """Name in serialized form."""
        return "guardalign_memory"

    @classmethod
    def from_defaults(cls, **kwargs: Any) -> Self:
        """The same as the constructor."""
        return cls(**kwargs)

    def to_dict(self, **kwargs: Any) -> dict[str, Any]:
        """The fields, and the inner memory in its own form."""
        return {**super().to_dict(**kwargs), "memory": self.memory.to_dict()}

    @classmethod
    def from_dict(cls, data: dict[str, Any], **kwargs: Any) -> Self:
        """The inverse of `to_dict`.

        Raises:
            ConfigError: the memory was made with a loaded guard, or holds one of an unknown class
                or none.
        """
        fields = {**data, **kwargs}
        fields.pop("class_name", None)
        inner = fields.pop("memory", None)
        if isinstance(inner, Mapping):
            inner = _kind_of(inner.get("class_name")).from_dict(dict(inner))
        if fields.get("preset") is None and fields.get("guard") is None:
            raise ConfigError(
                "A memory with a loaded guard cannot be restored.",
                remedy="Make GuardAlignMemory with a preset.",
            )
        return cls(inner, **fields)

    def __getattr__(self, name: str) -> Any:
        # What else a memory has, such as its tokenizer, is the inner one's.
        if name.startswith("_") or name in type(self).model_fields:
            return super().__getattr__(name)
        return getattr(self.memory, name)

    def get(self, input: str | None = None, **kwargs: Any) -> list[ChatMessage]:
        """What the inner memory gives."""
        return self.memory.get(input=input, **kwargs)

    async def aget(self, input: str | None = None, **kwargs: Any) -> list[ChatMessage]:
        """`get` without blocking the event loop."""
        return await self.memory.aget(input=input, **kwargs)

    def get_all(self) -> list[ChatMessage]:
        """All that the inner memory holds."""
        return self.memory.get_all()

    async def aget_all(self) -> list[ChatMessage]:
        """`get_all` without blocking the event loop."""
        return await self.memory.aget_all()

    def put(self, message: ChatMessage) -> None:
        """Remember a message, cleaned.

        Raises:
            ImageRejected, MessageError: what the user has just sent cannot be checked, and
                `on_refused` is "raise"; nothing is remembered then.
            GuardError: a fault while guarding; nothing is remembered then.
        """
        self.memory.put(*self.clean([message]))

    async def aput(self, message: ChatMessage) -> None:
        """`put` without blocking the event loop."""
        await self.memory.aput(*await in_scan_thread(self.clean, [message]))

    def put_messages(self, messages: list[ChatMessage]) -> None:
        """`put` for several messages."""
        self.memory.put_messages(self.clean(messages))

    async def aput_messages(self, messages: list[ChatMessage]) -> None:
        """`put_messages` without blocking the event loop."""
        await self.memory.aput_messages(await in_scan_thread(self.clean, messages))

    def set(self, messages: list[ChatMessage]) -> None:
        """Remember these messages only, cleaned."""
        self.memory.set(self.clean(messages))

    async def aset(self, messages: list[ChatMessage]) -> None:
        """`set` without blocking the event loop."""
        await self.memory.aset(await in_scan_thread(self.clean, messages))

    def reset(self) -> None:
        """Forget everything."""
        self.memory.reset()

    async def areset(self) -> None:
        """`reset` without blocking the event loop."""
        await self.memory.areset()

    def clean(self, messages: Sequence[ChatMessage]) -> list[ChatMessage]:
        """The messages as they are remembered; the caller's stay unchanged.

        Raises:
            ImageRejected, MessageError, GuardError: as for `put`.
        """
        resolve = Resolver(self._lazy.config.intake, self.fetch)
        turns = Turns(drawn(messages, resolve), self.on_refused, self.on_blocked, self._refusals)
        cleaned = Passes(turns, resolve, self.allow_unscanned).clean(self._lazy)
        if self.on_blocked == "notice":
            return cleaned.messages
        for slot, item in zip(cleaned.finder.found, cleaned.images, strict=True):
            if item.image is None and not slot.in_words and turns.is_sent(slot.turn):
                assert slot.turn is not None
                message = cleaned.messages[slot.turn]
                extra = {**message.additional_kwargs, METADATA_KEY: {"decision": "block"}}
                marked = message.model_copy(update={"additional_kwargs": extra})
                cleaned.messages[slot.turn] = marked
        return cleaned.messages


def guard_memory(memory: BaseMemory, llm: Any) -> GuardAlignMemory:
    """A memory that is guarded as one of our LLMs is, with its guard and its options.

    What the memory holds already is cleaned; what of it cannot be checked gets a notice.

    Args:
        memory: any memory of LlamaIndex.
        llm: a `GuardAlignGuardedLLM`.

    Raises:
        ConfigError: the LLM is not one of ours.
    """
    lazy = getattr(llm, "_lazy", None)
    if not isinstance(lazy, LazyGuard):
        raise ConfigError(
            f"guard_memory needs a GuardAlignGuardedLLM. Received {type(llm).__name__}.",
            remedy="Or construct GuardAlignMemory with a preset.",
        )
    options = {name: getattr(llm, name) for name in ("on_blocked", "allow_unscanned", "fetch")}
    options["preset"] = llm.preset
    held = memory.get_all()
    if held:
        memory.set(GuardAlignMemory(memory, guard=lazy, on_refused="notice", **options).clean(held))
    return GuardAlignMemory(memory, guard=lazy, on_refused=llm.on_refused, **options)


def _checked(memory: object) -> BaseMemory:
    if isinstance(memory, BaseMemory):
        return memory
    if isinstance(memory, type):
        received = f"the class {memory.__name__}"
    elif memory is None or isinstance(memory, str):
        received = repr(memory)
    else:
        received = with_article(type(memory).__name__)
    raise ConfigError(
        f"memory should be a memory of LlamaIndex. Received {received}.",
        remedy="Give one, such as Memory.from_defaults().",
    )


def _kind_of(name: str | None) -> type[BaseMemory]:
    """The loaded class of memories with this name."""
    kinds: list[Any] = [BaseMemory]
    for kind in kinds:
        kinds += kind.__subclasses__()
        if kind is not BaseMemory and kind.class_name() == name:
            found: type[BaseMemory] = kind
            return found
    raise ConfigError(
        f"No class of memories has the name {name!r}.", remedy="Import the module that defines it."
    )
