"""What a guarded LLM shares with the LLM behind it: settings, attributes, the serialised form."""

from __future__ import annotations

import importlib
import pickle
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from llama_index.core.bridge.pydantic import (
    ConfigDict,
    Field,
    PrivateAttr,
    SerializeAsAny,
    model_serializer,
)
from llama_index.core.llms.llm import LLM

from guardalign_middleware import ConfigError
from guardalign_middleware.fixed_options import FixedOptions
from guardalign_middleware.handles import LazyGuard, guard_handle, no_warnings
from guardalign_middleware.handling import SENT_OPTIONS, check_known, check_sent_options
from guardalign_middleware.scan_threads import in_scan_thread
from guardalign_middleware.sent_turns import Refusals
from guardalign_middleware.sources import with_source
from llama_index.llms.guardalign.arguments import check_llm, message_list
from llama_index.llms.guardalign.fields import (
    GuardPreset,
    OnSentBlocked,
    OnSentRefused,
    OptionalFetch,
)
from llama_index.llms.guardalign.gate import Admitted, AdmittedTurn, Gate
from llama_index.llms.guardalign.images import Resolver
from llama_index.llms.guardalign.multi_modal import GuardAlignMultiModal

if TYPE_CHECKING:
    from guardalign_middleware.handles import AnyGuard

_OWNER = "GuardAlignGuardedLLM"
# Both read these. Where they differ, this LLM's own copy of the inner LLM gets the new ones.
_SETTINGS = (
    "system_prompt",
    "messages_to_prompt",
    "completion_to_prompt",
    "output_parser",
    "pydantic_program_mode",
    "query_wrapper_prompt",
)
_INHERITED = ("callback_manager", "rate_limiter", *_SETTINGS)
_CLASS = "llm_class"
_REBUILD = "Give the inner LLM: from_dict(data, llm=...)."


class AroundLLM(FixedOptions, LLM):
    """The part of a guarded LLM that concerns the LLM behind it."""

    model_config = ConfigDict(extra="forbid")

    ACCEPTED: ClassVar[Mapping[str, Sequence[str]]] = SENT_OPTIONS

    llm: SerializeAsAny[LLM] = Field(description="The LLM that answers.")
    preset: GuardPreset = None
    allow_unscanned: bool = Field(
        default=False, description="Whether videos and documents reach the LLM unscanned."
    )
    on_refused: OnSentRefused = "raise"
    on_blocked: OnSentBlocked = "reply"
    fetch: OptionalFetch = None

    _lazy: LazyGuard = PrivateAttr()
    _refusals: Refusals = PrivateAttr(default_factory=Refusals)

    def __init__(
        self,
        llm: LLM | None = None,
        source: AnyGuard | str | Path | None = None,
        /,
        **data: Any,
    ) -> None:
        if llm is not None and "llm" in data:
            raise ConfigError(f"{_OWNER} got two LLMs.", remedy="Give one, first or as llm=...")
        data = with_source(source, data, "guard", _OWNER)
        inner = check_llm(data.pop("llm", llm), _OWNER)
        guard = data.pop("guard", None)
        preset = data.pop("preset", None)
        check_known(_OWNER, data, {*type(self).model_fields, "guard"})
        check_sent_options(**{key: data[key] for key in SENT_OPTIONS if key in data})
        own = isinstance(inner, GuardAlignMultiModal)
        with no_warnings() if own else nullcontext():
            handle = guard_handle(preset, guard, owner=_OWNER)
        for name in _INHERITED:
            data.setdefault(name, getattr(inner, name))
        super().__init__(llm=inner, preset=None if preset is None else str(preset), **data)
        self._lazy = handle
        changed = {name: getattr(self, name) for name in _SETTINGS if self._differs(name)}
        if changed:
            self.llm = self.llm.model_copy(update=changed)
        self.llm.callback_manager = self.callback_manager

    def _differs(self, name: str) -> bool:
        return bool(getattr(self, name) != getattr(self.llm, name))

    def __getattr__(self, name: str) -> Any:
        """Settings of the inner LLM, such as `model` or `temperature`, to read.

        Neither its methods nor its clients: these would take raw messages past the guard.
        """
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("_") or hasattr(type(self), name):
                raise
        if _is_setting(value := getattr(self.__dict__.get("llm"), name, object())):
            return value
        raise AttributeError(
            f"{_OWNER} has no attribute {name!r}, and it is no plain setting of the inner LLM. "
            "Methods and clients of the inner LLM are not guarded; they are those of `.llm`."
        )

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and not hasattr(type(self), name):
            if name not in type(self).model_fields:
                raise AttributeError(
                    f"{_OWNER} has no field {name!r}. Set what belongs to the inner LLM there: "
                    f"`.llm.{name} = ...`."
                )
        super().__setattr__(name, value)
        if name == "callback_manager":
            # The events are the inner LLM's, so it needs the listeners.
            self.llm.callback_manager = value
        elif name in _SETTINGS and "llm" in self.__dict__ and self._differs(name):
            self.llm = self.llm.model_copy(update={name: value})

    def __getstate__(self) -> dict[str, Any]:
        # LlamaIndex silently drops attributes that cannot be pickled; raise instead.
        self._lazy.require_preset()
        pickle.dumps((self.llm, self.fetch))
        return super().__getstate__()

    @model_serializer(mode="wrap")
    def custom_model_dump(self, handler: Any, info: Any) -> dict[str, Any]:
        """The fields, and which classes this and the inner LLM are."""
        data = handler(self)
        return {**data, "class_name": self.class_name(), _CLASS: _path(type(self.llm))}

    @classmethod
    def from_dict(cls, data: dict[str, Any], **kwargs: Any) -> Self:
        """The inverse of `to_dict`, which holds the preset's name and the inner LLM's fields.

        Args:
            data: from `to_dict`.
            kwargs: fields in place of those in `data`, such as `llm` or `guard`.

        Raises:
            ConfigError: the data are of a guarded LLM with a loaded guard, or the inner LLM cannot
                be made from its fields.
        """
        fields = {**data, **kwargs}
        fields.pop("class_name", None)
        path = fields.pop(_CLASS, None)
        if fields.get("guard") is not None and "preset" not in kwargs:
            fields.pop("preset", None)
        elif fields.get("preset") is None:
            raise ConfigError(
                "A dictionary holds no loaded guard.",
                remedy="Give one: from_dict(data, guard=...) or from_dict(data, preset=...).",
            )
        fields["llm"] = _llm_from(fields.get("llm"), path)
        return cls(**fields)

    @property
    def _gate(self) -> Gate:
        resolve = Resolver(self._lazy.config.intake, self.fetch)
        return Gate(
            self,
            self.llm,
            self._lazy,
            resolve,
            self.allow_unscanned,
            self.on_refused,
            self.on_blocked,
            self._refusals,
        )

    @property
    def _limiter(self) -> Any:
        """The rate limiter that the inner LLM does not ask itself."""
        return None if self.rate_limiter is self.llm.rate_limiter else self.rate_limiter

    def _admit(self, messages: Any, kwargs: dict[str, Any]) -> Admitted:
        """The conversation after the guard, when the inner LLM may be called."""
        call = self._gate.admit(message_list(messages), kwargs)
        if self._limiter is not None and not call.blocked:
            self._limiter.acquire()
        return call

    async def _aadmit(self, messages: Any, kwargs: dict[str, Any]) -> Admitted:
        call = await in_scan_thread(self._gate.admit, message_list(messages), kwargs)
        if self._limiter is not None and not call.blocked:
            await self._limiter.async_acquire()
        return call

    def _admit_turn(self, user_msg: Any, history: Any, kwargs: dict[str, Any]) -> AdmittedTurn:
        messages = None if history is None else message_list(history)
        turn = self._gate.admit_turn(user_msg, messages, kwargs)
        if self._limiter is not None and not turn.call.blocked:
            self._limiter.acquire()
        return turn

    async def _aadmit_turn(
        self, user_msg: Any, history: Any, kwargs: dict[str, Any]
    ) -> AdmittedTurn:
        messages = None if history is None else message_list(history)
        turn = await in_scan_thread(self._gate.admit_turn, user_msg, messages, kwargs)
        if self._limiter is not None and not turn.call.blocked:
            await self._limiter.async_acquire()
        return turn


def _is_setting(value: object) -> bool:
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(_is_setting, value))
    if isinstance(value, Mapping):
        return all(_is_setting(item) for pair in value.items() for item in pair)
    return isinstance(value, str | int | float | Enum | None)


def _llm_from(data: object, path: object) -> LLM:
    """The inner LLM from its `to_dict`."""
    if not isinstance(data, Mapping):
        return check_llm(data, _OWNER)
    kind = _llm_class(path, data.get("class_name"))
    try:
        llm: LLM = kind.from_dict(dict(data))
    except (TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"{kind.__name__} cannot be made from its dictionary: {error}", remedy=_REBUILD
        ) from error
    return llm


def _llm_class(path: object, name: object) -> type[LLM]:
    """The class of an LLM. Only LlamaIndex's own modules are imported for it."""
    if isinstance(path, str) and path.startswith("llama_index."):
        try:
            importlib.import_module(path.rpartition(".")[0])
        except ImportError:
            pass
    if path is not None:
        # A class may have been defined twice, as in a notebook; the last one counts.
        found = [kind for kind in _subclasses(LLM) if _path(kind) == path]
        kinds = [kind for kind in found if _is_current(kind)] or found
    else:
        kinds = [
            kind
            for kind in _subclasses(LLM)
            if "class_name" in vars(kind) and kind.class_name() == name
        ]
    if len(kinds) == 1:
        return kinds[0]
    raise ConfigError(
        f"{len(kinds) or 'No'} classes of LLMs are called {path or name!r}.",
        remedy=f"Import its class before. {_REBUILD}" if not kinds else _REBUILD,
    )


def _is_current(kind: type) -> bool:
    return getattr(sys.modules.get(kind.__module__), kind.__name__, None) is kind


def _path(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _subclasses(kind: Any) -> set[type[LLM]]:
    return {each for child in kind.__subclasses__() for each in (child, *_subclasses(child))}
