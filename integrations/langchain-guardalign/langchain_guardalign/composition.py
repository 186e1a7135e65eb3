"""Compositions that keep the guard in front of every model.

LangChain's own `with_fallbacks` gives each fallback the raw input of the whole runnable. A runnable
of this module guards its fallbacks and alternatives too, and so does everything made of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseChatModel
from langchain_core.prompts import BasePromptTemplate
from langchain_core.runnables import (
    ConfigurableField,
    Runnable,
    RunnableBinding,
    RunnableConfig,
    RunnableParallel,
    RunnableSequence,
    RunnableSerializable,
    RunnableWithFallbacks,
)
from langchain_core.runnables.base import RunnableBindingBase, RunnableEach, coerce_to_runnable
from langchain_core.runnables.configurable import (
    DynamicRunnable,
    RunnableConfigurableAlternatives,
    RunnableConfigurableFields,
)
from langchain_core.runnables.retry import RunnableRetry

from guardalign_middleware.handles import no_warnings

if TYPE_CHECKING:
    from langchain_guardalign.runnable import ImageGuardRunnable


class Guarding(Runnable[Any, Any]):
    """A runnable that cleans its input, and whose compositions do so too."""

    def _image_guard(self) -> ImageGuardRunnable:
        """The guard that cleans the input."""
        guard = _guard_inside(self)
        if guard is None:
            raise RuntimeError(f"There is no guard in this {type(self).__name__}.")
        return guard

    def _guard_all(self, others: Sequence[Any]) -> list[Any]:
        """Put the guard in front of runnables, or functions that make one, with the same input."""
        guard = self._in_front()
        return [_guarded(guard, other) for other in others]

    def _in_front(self) -> Callable[[Any], Runnable[Any, Any]]:
        return partial(in_front, self._image_guard())

    def with_fallbacks(
        self,
        fallbacks: Sequence[Runnable[Any, Any]],
        *,
        exceptions_to_handle: tuple[type[BaseException], ...] = (Exception,),
        exception_key: str | None = None,
    ) -> RunnableWithFallbacks[Any, Any]:
        """Add fallbacks, each behind the guard unless it has one of its own."""
        return GuardedFallbacks(
            runnable=self,
            fallbacks=self._guard_all(fallbacks),
            exceptions_to_handle=exceptions_to_handle,
            exception_key=exception_key,
        )

    def configurable_alternatives(
        self,
        which: ConfigurableField,
        *,
        default_key: str = "default",
        prefix_keys: bool = False,
        **kwargs: Runnable[Any, Any] | Callable[[], Runnable[Any, Any]],
    ) -> Any:
        """Add alternatives, each behind the guard unless it has one of its own."""
        guarded = dict(zip(kwargs, self._guard_all(list(kwargs.values())), strict=True))
        return guarding(
            super().configurable_alternatives(  # type: ignore[misc]
                which, default_key=default_key, prefix_keys=prefix_keys, **guarded
            )
        )

    def configurable_fields(self, **kwargs: Any) -> Any:
        """As LangChain's; the result is guarded."""
        return guarding(super().configurable_fields(**kwargs))  # type: ignore[misc]

    def __or__(self, other: Any) -> Any:
        """As LangChain's; the result is guarded."""
        return guarding(super().__or__(other))

    def pipe(self, *others: Any, name: str | None = None) -> Any:
        """As `|` with each of the others."""
        result: Any = self
        for other in others:
            result = result | other
        return result if name is None else result.model_copy(update={"name": name})

    def bind(self, **kwargs: Any) -> Any:
        """As LangChain's; the result is guarded."""
        return guarding(super().bind(**kwargs))

    def with_config(self, config: Any = None, **kwargs: Any) -> Any:
        """As LangChain's; the result is guarded."""
        return guarding(super().with_config(config, **kwargs))

    def with_retry(self, **kwargs: Any) -> Any:
        """As LangChain's; the result is guarded."""
        return guarding(super().with_retry(**kwargs))

    def with_types(self, input_type: Any = None, output_type: Any = None) -> Any:
        """As LangChain's; the result is guarded."""
        return guarding(super().with_types(input_type=input_type, output_type=output_type))

    def with_listeners(
        self, *, on_start: Any = None, on_end: Any = None, on_error: Any = None
    ) -> Any:
        """As LangChain's; the result is guarded."""
        return guarding(super().with_listeners(on_start=on_start, on_end=on_end, on_error=on_error))

    def with_alisteners(
        self, *, on_start: Any = None, on_end: Any = None, on_error: Any = None
    ) -> Any:
        """As LangChain's; the result is guarded."""
        return guarding(
            super().with_alisteners(on_start=on_start, on_end=on_end, on_error=on_error)
        )

    def map(self) -> Any:
        """As LangChain's; the result is guarded."""
        return guarding(super().map())


class _Composed(Guarding):
    @classmethod
    def get_lc_namespace(cls) -> list[str]:
        """This module: LangChain's own classes do not guard their fallbacks."""
        return __name__.split(".")


class GuardedSequence(_Composed, RunnableSequence[Any, Any]):
    """A sequence that starts with the guard.

    LangChain gives the keywords of a call to the first step. The guard takes none, so they go to
    the step behind it, as they would without the guard: an agent's `context` or `stream_mode`.
    """

    def _for(self, keywords: dict[str, Any]) -> GuardedSequence | None:
        """The sequence for a call with these keywords; None if it is this one."""
        first, second, *rest = self.steps
        if not keywords or not isinstance(first, Guarding) or first._image_guard() is not first:
            return None
        return _sequence(first, second.bind(**keywords), *rest, name=self.name)

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """As LangChain's."""
        if (other := self._for(kwargs)) is not None:
            return other.invoke(input, config)
        return super().invoke(input, config, **kwargs)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """As LangChain's."""
        if (other := self._for(kwargs)) is not None:
            return await other.ainvoke(input, config)
        return await super().ainvoke(input, config, **kwargs)

    def batch(self, inputs: Any, config: Any = None, **kwargs: Any) -> list[Any]:
        """As LangChain's."""
        keywords, own = _without_own(kwargs)
        if (other := self._for(keywords)) is not None:
            return other.batch(inputs, config, **own)
        return super().batch(inputs, config, **kwargs)

    async def abatch(self, inputs: Any, config: Any = None, **kwargs: Any) -> list[Any]:
        """As LangChain's."""
        keywords, own = _without_own(kwargs)
        if (other := self._for(keywords)) is not None:
            return await other.abatch(inputs, config, **own)
        return await super().abatch(inputs, config, **kwargs)

    def transform(
        self, input: Iterator[Any], config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[Any]:
        """As LangChain's."""
        if (other := self._for(kwargs)) is not None:
            return other.transform(input, config)
        return super().transform(input, config, **kwargs)

    def atransform(
        self, input: AsyncIterator[Any], config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[Any]:
        """As LangChain's."""
        if (other := self._for(kwargs)) is not None:
            return other.atransform(input, config)
        return super().atransform(input, config, **kwargs)


class GuardedBinding(_Composed, RunnableBinding[Any, Any]):  # type: ignore[no-redef]
    """Something guarded with keywords or a config."""


class GuardedRetry(_Composed, RunnableRetry[Any, Any]):  # type: ignore[no-redef]
    """Something guarded that is tried again."""


class GuardedFallbacks(_Composed, RunnableWithFallbacks[Any, Any]):
    """Something guarded with guarded fallbacks."""


class GuardedEach(_Composed, RunnableEach[Any, Any]):
    """Something guarded for each item of a list."""

    def _in_front(self) -> Callable[[Any], Runnable[Any, Any]]:
        return partial(_sequence, self._image_guard().map())


# With parameters, pydantic would take `default` for another class and build it anew.
class GuardedFields(_Composed, RunnableConfigurableFields):  # type: ignore[type-arg]
    """Something guarded with configurable fields."""

    def _prepare(self, config: RunnableConfig | None = None) -> Any:
        with no_warnings():  # It is made anew for each call.
            return super()._prepare(config)


class GuardedAlternatives(_Composed, RunnableConfigurableAlternatives):  # type: ignore[type-arg]
    """Something guarded with guarded alternatives."""


_GUARDED: dict[type[Runnable[Any, Any]], type[RunnableSerializable[Any, Any]]] = {
    RunnableSequence: GuardedSequence,
    RunnableBinding: GuardedBinding,
    RunnableRetry: GuardedRetry,
    RunnableWithFallbacks: GuardedFallbacks,
    RunnableEach: GuardedEach,
    RunnableConfigurableFields: GuardedFields,
    RunnableConfigurableAlternatives: GuardedAlternatives,
}


def guarding(made: Any, **changed: Any) -> Any:
    """The guarded twin of what LangChain made of something guarded.

    Args:
        made: a runnable of LangChain's own class; one of any other class is returned as it is.
        changed: fields of the twin that differ.
    """
    for plain, guarded in _GUARDED.items():
        if isinstance(made, plain) and (changed or not isinstance(made, Guarding)):
            fields = {name: getattr(made, name) for name in plain.model_fields}  # type: ignore[attr-defined]
            return guarded(**{**fields, **changed})
    return made


def _without_own(keywords: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The keywords that a batch hands on, and its own."""
    own = {name: keywords[name] for name in keywords if name == "return_exceptions"}
    return {name: keywords[name] for name in keywords if name not in own}, own


def in_front(guard: ImageGuardRunnable, other: Any) -> RunnableSerializable[Any, Any]:
    """What `guard | other` is.

    A chat model becomes a `GuardedChatModel`; with keywords bound to it, or fallbacks, it keeps
    these. Anything else becomes a sequence.
    """
    other = coerce_to_runnable(other)
    if isinstance(other, BaseChatModel):
        from langchain_guardalign.guarded_model import GuardedChatModel

        return GuardedChatModel(chat_model=other, guard=guard)
    if not _is_model(other):
        return _sequence(guard, other)
    if isinstance(other, RunnableBinding):
        bound: RunnableSerializable[Any, Any] = guarding(other, bound=in_front(guard, other.bound))
        return bound
    fallbacks = [in_front(guard, each) for each in other.fallbacks]
    both: RunnableSerializable[Any, Any] = guarding(
        other, runnable=in_front(guard, other.runnable), fallbacks=fallbacks
    )
    return both


def in_front_of_models(guard: ImageGuardRunnable, made: Runnable[Any, Any]) -> Any:
    """Guard what a chat model made of itself and parsers, as `with_structured_output` does.

    The models at its start are guarded where they stand, so that their answers carry verdicts.
    """
    if isinstance(made, RunnableSequence):
        first = in_front_of_models(guard, made.first)
        return _sequence(first, *made.middle, made.last, name=made.name)
    if type(made) is RunnableParallel:
        steps = {key: in_front_of_models(guard, each) for key, each in made.steps__.items()}
        return RunnableParallel(steps)
    return in_front(guard, made)


def guard_of(runnable: Runnable[Any, Any]) -> ImageGuardRunnable | None:
    """The guard that every input of a runnable goes through first; None if there is none."""
    return runnable._image_guard() if isinstance(runnable, Guarding) else _guard_inside(runnable)


def _guard_inside(runnable: Runnable[Any, Any]) -> ImageGuardRunnable | None:
    if isinstance(runnable, RunnableSequence):
        for step in runnable.steps:
            guard = guard_of(step)
            # A prompt only writes messages: a guard behind it still stands before every model.
            if guard is not None or not isinstance(step, BasePromptTemplate):
                return guard
        return None
    if isinstance(runnable, RunnableBindingBase | RunnableEach):
        return guard_of(runnable.bound)
    if isinstance(runnable, DynamicRunnable):
        return guard_of(runnable.default) if isinstance(runnable, Guarding) else None
    if isinstance(runnable, RunnableWithFallbacks):
        return _guard_of_all(list(runnable.runnables))
    if isinstance(runnable, RunnableParallel):
        return _guard_of_all(list(runnable.steps__.values()))
    return None


def _guard_of_all(runnables: Sequence[Runnable[Any, Any]]) -> ImageGuardRunnable | None:
    guards = [guard_of(each) for each in runnables]
    return guards[0] if guards and all(guard is not None for guard in guards) else None


def _sequence(*steps: Any, name: str | None = None) -> GuardedSequence:
    sequence: GuardedSequence = guarding(RunnableSequence(*steps, name=name))
    return sequence


def _is_model(runnable: Runnable[Any, Any]) -> bool:
    """Whether it is a chat model, or one with keywords or fallbacks in classes known here."""
    if isinstance(runnable, BaseChatModel):
        return True
    if not type(runnable).__module__.startswith(("langchain_core.", __name__)):
        return False
    if isinstance(runnable, RunnableBinding):
        return _is_model(runnable.bound)
    return isinstance(runnable, RunnableWithFallbacks) and all(map(_is_model, runnable.runnables))


def _guarded(guard: Callable[[Any], Runnable[Any, Any]], other: Any) -> Any:
    if not isinstance(other, Runnable):
        return lambda: _guarded(guard, other())
    return other if guard_of(other) is not None else guard(other)
