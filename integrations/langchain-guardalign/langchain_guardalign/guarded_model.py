"""`GuardedChatModel`: any chat model behind the guard, as a chat model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.language_models import (
    BaseChatModel,
    LangSmithParams,
    LanguageModelInput,
    ModelProfile,
)
from langchain_core.load.serializable import SerializedConstructor, SerializedNotImplemented
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import merge_configs
from langchain_core.tools import BaseTool
from pydantic import BaseModel, model_validator

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.handles import guard_handle, no_warnings
from guardalign_middleware.handling import check_known
from guardalign_middleware.sources import with_source
from langchain_guardalign.composition import Guarding, in_front, in_front_of_models
from langchain_guardalign.guarded_calls import GuardedCalls
from langchain_guardalign.runnable import ImageGuardRunnable

# Settings of every chat model: what is set here takes the place of what the model behind has.
_SETTINGS = (
    "cache",
    "custom_get_token_ids",
    "disable_streaming",
    "output_version",
    "rate_limiter",
    "verbose",
)
_GUARD_OPTIONS = frozenset(ImageGuardRunnable.model_fields) - {"name"}
_PLAIN = (str, int, float, bool, type(None))


class GuardedChatModel(Guarding, GuardedCalls):
    """A chat model that sees every prompt only after the guard has cleaned it.

    ```python
    from langchain_guardalign import GuardedChatModel, ImageGuardRunnable

    model = ImageGuardRunnable(preset="mini") | any_chat_model
    model = GuardedChatModel(any_chat_model, preset="mini")  # the same
    ```

    It takes the place of the model: it binds tools, writes structured output, streams, runs agents,
    and has the model's profile, token counts and identity. The model keeps its own cache,
    callbacks, rate limiter and retries, and they see the cleaned prompt only. Fallbacks,
    alternatives and everything else composed of it are guarded too. Verdicts on the images of the
    prompt are in the metadata of the model's run, and in the answer's
    `response_metadata["guardalign"]`; in a stream, in that of the first chunk. Errors are those of
    `ImageGuardRunnable`, but a blocked image is answered with the preset's `blocked_reply`, unless
    the call wants a schema or a tool call.

    Args:
        chat_model: the model that answers.
        guard: an `ImageGuardRunnable`, or a loaded `ImageGuard`; by position, a preset as well.
        preset, on_unsafe, on_refused, on_blocked, allow_unscanned, notice, cache_size: of an
            `ImageGuardRunnable`, unless `guard` is one.

    Raises:
        ConfigError: neither `preset` nor `guard`, an option that does not exist, or a `chat_model`
            that is none.
    """

    chat_model: BaseChatModel

    def __init__(
        self, chat_model: BaseChatModel | None = None, guard: Any = None, /, **options: Any
    ) -> None:
        if (
            chat_model is not None
            and options.setdefault("chat_model", chat_model) is not chat_model
        ):
            raise TypeError("GuardedChatModel got multiple values for argument 'chat_model'")
        super().__init__(**with_source(guard, options, "guard", type(self).__name__))

    @model_validator(mode="before")
    @classmethod
    def _read_options(cls, values: Any) -> Any:
        given = {key: values[key] for key in values if key in _GUARD_OPTIONS}
        rest = {key: values[key] for key in values if key not in given}
        check_known(
            cls.__name__,
            rest,
            {*cls.model_fields, *_GUARD_OPTIONS},
            remedy="Options of the model belong to the model behind the guard.",
        )
        model = rest.get("chat_model")
        if not isinstance(model, BaseChatModel):
            raise ConfigError(
                f"chat_model should be a chat model. Received {type(model).__name__}.",
                remedy="For a model with bound tools, fallbacks or parsers, use "
                "ImageGuardRunnable(...) | it.",
            )
        guard = given.get("guard")
        if isinstance(guard, ImageGuardRunnable):
            if len(given) > 1:
                raise ConfigError(
                    f"{', '.join(sorted(set(given) - {'guard'}))} cannot be given beside an "
                    "ImageGuardRunnable.",
                    remedy="Give them to the ImageGuardRunnable.",
                )
        else:
            with no_warnings():
                # The errors name this class.
                guard_handle(given.get("preset"), guard, owner=cls.__name__)
                guard = ImageGuardRunnable(**given)
        guard._cleaner.guard.warn_of_mini(cls.__name__)
        return {**rest, "guard": guard}

    def _image_guard(self) -> ImageGuardRunnable:
        return self.guard

    def __getattr__(self, name: str) -> Any:
        """Settings of the model behind, such as `model_name` or `temperature`, to read.

        Neither its methods nor its clients: these would take a raw prompt past the guard.
        """
        try:
            return super().__getattr__(name)  # type: ignore[misc]
        except AttributeError:
            model = self.__dict__.get("chat_model")
            value = getattr(model, name, _PLAIN) if not name.startswith("_") else _PLAIN
            if not isinstance(value, _PLAIN):
                raise
            return value

    @property
    def _llm_type(self) -> str:
        return self.chat_model._llm_type

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        return {
            **self.chat_model._identifying_params,
            "guard": self.guard._cleaner.guard.identity,
            **self.guard.options,
        }

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        """The guard and the model: a key that neither shares with another."""
        mine = [self.guard._cleaner.guard.identity, *self.guard.options.values()]
        return f"{mine}---{self.chat_model._get_llm_string(stop=stop, **kwargs)}"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return self.chat_model._get_ls_params(stop=stop, **kwargs)

    def _resolve_model_profile(self) -> ModelProfile | None:
        return self.chat_model.profile

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """True: the guard and the model determine it."""
        return True

    def to_json(self) -> SerializedConstructor | SerializedNotImplemented:
        """Serialise the constructor's arguments, if the guard and the model can be."""
        if any(part.to_json()["type"] != "constructor" for part in (self.guard, self.chat_model)):
            return self.to_json_not_implemented()
        return super().to_json()

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Offer tools as the model does; the result is guarded."""
        if tool_choice is not None:
            kwargs["tool_choice"] = tool_choice
        return in_front(self.guard, self._model().bind_tools(tools, **kwargs))

    def with_structured_output(
        self, schema: dict[str, Any] | type, *, include_raw: bool = False, **kwargs: Any
    ) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
        """Answer in a schema in the model's own way; the result is guarded.

        A reply in words would be no answer: a blocked image raises `ImageBlocked`.
        """
        made = self._model().with_structured_output(schema, include_raw=include_raw, **kwargs)
        guarded: Runnable[Any, Any] = in_front_of_models(self.guard.without_replies(), made)
        return guarded

    def get_token_ids(self, text: str) -> list[int]:
        """Token ids of the model's own tokenizer."""
        return self._model().get_token_ids(text)

    def get_num_tokens(self, text: str) -> int:
        """The model's own count."""
        return self._model().get_num_tokens(text)

    def get_num_tokens_from_messages(
        self, messages: list[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        """The model's own count for the cleaned messages: some providers count over the network."""
        clean: list[BaseMessage] = self.guard._cleaner.clean(list(messages), "messages").value
        if tools is None:
            return self._model().get_num_tokens_from_messages(clean)
        return self._model().get_num_tokens_from_messages(clean, tools)

    def _model(self) -> BaseChatModel:
        """The model behind, with the settings that were made on this one."""
        given = self.model_fields_set
        changed = {
            name: value
            for name in _SETTINGS
            if name in given
            and (value := getattr(self, name)) != type(self).model_fields[name].get_default()
        }
        # LangChain itself writes its versions into the metadata.
        own = {key: value for key, value in (self.metadata or {}).items() if key != "lc_versions"}
        mine = _config(self, own)
        if mine:
            model = self.chat_model
            both = merge_configs(_config(model, model.metadata), mine)
            changed |= {key: both[key] for key in mine}  # type: ignore[literal-required]
        return self.chat_model.model_copy(update=changed) if changed else self.chat_model


def _config(model: BaseChatModel, metadata: dict[str, Any] | None) -> RunnableConfig:
    config = RunnableConfig()
    if model.callbacks:
        config["callbacks"] = model.callbacks
    if model.tags:
        config["tags"] = model.tags
    if metadata:
        config["metadata"] = metadata
    return config
