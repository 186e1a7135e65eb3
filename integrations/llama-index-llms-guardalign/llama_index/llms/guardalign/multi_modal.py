"""`GuardAlignMultiModal`: a guarded local LLM for LlamaIndex."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
)
from llama_index.core.bridge.pydantic import ConfigDict, Field, PrivateAttr
from llama_index.core.constants import DEFAULT_CONTEXT_WINDOW, DEFAULT_NUM_OUTPUTS
from llama_index.core.llms.llm import LLM
from llama_index.core.multi_modal_llms import MultiModalLLM

from guardalign_middleware import ConfigError
from guardalign_middleware.fixed_options import FixedOptions
from guardalign_middleware.generation.options import GenerationOptions
from guardalign_middleware.handles import LazyChain
from guardalign_middleware.handling import SENT_OPTIONS, check_known, check_sent_options
from guardalign_middleware.scan_threads import in_scan_thread
from guardalign_middleware.sent_turns import Refusals
from guardalign_middleware.sources import with_source
from llama_index.llms.guardalign.admission import measured
from llama_index.llms.guardalign.arguments import given_images, message_list, question
from llama_index.llms.guardalign.events import GuardedCall
from llama_index.llms.guardalign.fields import OnSentBlocked, OnSentRefused, OptionalFetch
from llama_index.llms.guardalign.images import Remembering, Resolver
from llama_index.llms.guardalign.messages import (
    blocked_images,
    cleaned_messages,
    measure_message,
    readable,
    to_role_content,
)
from llama_index.llms.guardalign.pdf_pages import paged
from llama_index.llms.guardalign.turns import Turns

if TYPE_CHECKING:
    from guardalign_middleware import GuardAlign

_OWNER = "GuardAlignMultiModal"


class _MultiModal(FixedOptions, LLM):
    """The implementation of `GuardAlignMultiModal`.

    `MultiModalLLM` instruments the methods in the bodies of its subclasses; in this class, which is
    not one of them, they are reported once and not twice.
    """

    model_config = ConfigDict(extra="forbid")

    ACCEPTED: ClassVar[Mapping[str, Sequence[str]]] = SENT_OPTIONS

    preset: str | None = Field(
        default="mini",
        description="Name of a built-in preset, or path of a YAML file; None with a chain.",
    )
    temperature: float | None = Field(
        default=None, description="0 is greedy; None: the preset's value."
    )
    max_tokens: int | None = Field(
        default=None, description="Maximum tokens of an answer; None: the preset's value."
    )
    seed: int | None = Field(default=None, description="Sampling seed; None: the preset's value.")
    on_refused: OnSentRefused = "raise"
    on_blocked: OnSentBlocked = "reply"
    fetch: OptionalFetch = None
    # Not the model's own: LlamaIndex counts every image as 2125 tokens, so the window of a small
    # model would have no room for an image, and chat memories would drop the message.
    context_window: int = Field(
        default=DEFAULT_CONTEXT_WINDOW,
        description="Maximum tokens of a prompt, as LlamaIndex counts them.",
        gt=0,
    )

    _lazy: LazyChain = PrivateAttr()
    _refusals: Refusals = PrivateAttr(default_factory=Refusals)

    def __init__(self, source: GuardAlign | str | Path | None = None, /, **data: Any) -> None:
        given = with_source(source, data, "chain", _OWNER)
        chain = given.pop("chain", None)
        check_known(_OWNER, given, {*type(self).model_fields, "chain"})
        preset = given.pop("preset", "mini" if chain is None else None)
        if chain is not None:
            given.setdefault("on_refused", getattr(chain, "on_refused", "raise"))
            given.setdefault("on_blocked", getattr(chain, "on_blocked", "reply"))
        check_sent_options(**{key: given[key] for key in SENT_OPTIONS if key in given})
        lazy = LazyChain(preset=preset, chain=chain)
        super().__init__(preset=None if preset is None else str(preset), **given)
        self._lazy = lazy

    def __getstate__(self) -> dict[str, Any]:
        # LlamaIndex silently drops attributes that cannot be pickled; raise instead.
        self._lazy.require_preset()
        pickle.dumps(self.fetch)
        return super().__getstate__()

    @classmethod
    def class_name(cls) -> str:
        """Contains "multi", by which LlamaIndex recognizes an LLM that accepts images."""
        return "guardalign_multi_modal_llm"

    @property
    def metadata(self) -> LLMMetadata:
        """Describes a chat model that calls no tools."""
        runner = self._lazy.runner_config
        default = DEFAULT_NUM_OUTPUTS if runner is None else runner.max_new_tokens
        return LLMMetadata(
            context_window=self.context_window,
            num_output=default if self.max_tokens is None else self.max_tokens,
            is_chat_model=True,
            is_function_calling_model=False,
            model_name=self._lazy.config.name,
        )

    @property
    def tokenizer(self) -> Callable[[str], list[int]]:
        """The model's tokenizer, for `Settings.tokenizer` or a `TokenCountingHandler`.

        Loads the model.

        Raises:
            ConfigError: the chain's runner has no tokenizer.
        """
        runner = self._lazy.get().runner
        token_ids: Callable[[str], list[int]] | None = getattr(runner, "token_ids", None)
        if token_ids is None:
            raise ConfigError(
                f"{type(runner).__name__} has no tokenizer.",
                remedy="Use a chain with a local model, or LlamaIndex's default tokenizer.",
            )
        return token_ids

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answer a conversation; the response's `raw` holds a verdict for each image.

        Accepts the keywords max_tokens, temperature, seed and stop.
        """
        call = self._guard(messages, kwargs)
        return call.chat(call.messages)

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """`chat` as a stream; the guard has finished when this returns."""
        call = self._guard(messages, kwargs)
        return call.stream_chat(call.messages)

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """`chat` without blocking the event loop."""
        call = await in_scan_thread(self._guard, messages, kwargs)
        return await call.achat(call.messages)

    async def astream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ChatResponseAsyncGen:
        """`stream_chat` without blocking the event loop."""
        call = await in_scan_thread(self._guard, messages, kwargs)
        return await call.astream_chat(call.messages)

    def complete(
        self,
        prompt: str,
        formatted: bool | Sequence[Any] = False,
        image_documents: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> CompletionResponse:
        """Answer a prompt about images.

        Args:
            prompt: the question.
            formatted: ignored by a chat model; a list here is taken as `image_documents`.
            image_documents: each an `ImageBlock`, `ImageNode`, `ImageDocument`, or `Node`.
            kwargs: see `chat`.
        """
        return self._guard_prompt(prompt, formatted, image_documents, kwargs).complete(prompt)

    def stream_complete(
        self,
        prompt: str,
        formatted: bool | Sequence[Any] = False,
        image_documents: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> CompletionResponseGen:
        """`complete` as a stream; the guard has finished when this returns."""
        call = self._guard_prompt(prompt, formatted, image_documents, kwargs)
        return call.stream_complete(prompt)

    async def acomplete(
        self,
        prompt: str,
        formatted: bool | Sequence[Any] = False,
        image_documents: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> CompletionResponse:
        """`complete` without blocking the event loop."""
        call = await in_scan_thread(self._guard_prompt, prompt, formatted, image_documents, kwargs)
        return await call.acomplete(prompt)

    async def astream_complete(
        self,
        prompt: str,
        formatted: bool | Sequence[Any] = False,
        image_documents: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> CompletionResponseAsyncGen:
        """`stream_complete` without blocking the event loop."""
        call = await in_scan_thread(self._guard_prompt, prompt, formatted, image_documents, kwargs)
        return await call.astream_complete(prompt)

    def _guard(self, messages: Iterable[ChatMessage], kwargs: dict[str, Any]) -> GuardedCall:
        """Clean every image of a conversation; loads the chain on first use."""
        messages = message_list(messages)
        options = self._options(kwargs)
        resolver = Resolver(self._lazy.config.intake, self.fetch)
        drawn = paged(
            messages, resolver, lambda unread: measured(unread, resolver, measure_message)
        )
        turns = Turns(drawn, self.on_refused, self.on_blocked, self._refusals)
        admission = measured(turns.messages, resolver, measure_message)
        resolve = Remembering(partial(admission.read, resolve=resolver))
        kept, refused = readable(turns.messages, resolve, turns.raises)
        conversation = to_role_content(kept, resolve)
        chain = self._lazy.get()
        prompt = chain.prepare(conversation)
        prompt = replace(
            prompt,
            asked=not turns.answers(blocked_images(conversation, prompt.images)),
            refused=(*refused, *prompt.refused),
        )
        shown = cleaned_messages(kept, prompt.images)
        return GuardedCall(
            self,
            shown,
            reply=partial(chain.reply, prompt, **options),
            areply=partial(chain.areply, prompt, **options),
            stream_reply=partial(chain.stream_reply, prompt, **options),
        )

    def _guard_prompt(
        self, prompt: str, formatted: object, images: Sequence[Any] | None, kwargs: dict[str, Any]
    ) -> GuardedCall:
        return self._guard(question(prompt, given_images(formatted, images)), kwargs)

    def _options(self, given: dict[str, Any]) -> GenerationOptions:
        """The call's options, or this object's own where the call gives none."""
        check_known(f"A call of {_OWNER}", given, ("max_tokens", "temperature", "seed", "stop"))
        return GenerationOptions(
            max_new_tokens=given.get("max_tokens", self.max_tokens),
            temperature=given.get("temperature", self.temperature),
            seed=given.get("seed", self.seed),
            stop=given.get("stop"),
        )


class GuardAlignMultiModal(_MultiModal, MultiModalLLM):
    """A local vision-language model; every image is checked and cleaned before the model sees it.

    Images may be in any message, as `ImageBlock`s, or in `image_documents`. Paths and URLs are
    refused unless the preset's intake policy allows them; pass bytes. Each image is read once, and
    the model gets what was read. Events and callbacks get the cleaned images; the bound arguments
    of a span still hold the caller's. Models are loaded on first use. Tools are not supported.

    Args:
        preset: name of a built-in preset, or path of a YAML file.
        chain: a loaded `GuardAlign` instead of a preset; the LLM then cannot be pickled.
        fetch: gets the bytes behind an http(s) URL and decides which hosts it may ask.
        on_refused: `raise` the error of an input that cannot be checked, or show a `notice` that
            names the cause. Both options govern what the user has just sent; older turns, tool
            results and answers of the model always get the notice.
        on_blocked: `reply` in the model's place to a blocked image, or show a `notice`. Without
            these two options, those of the `chain` hold.

    Example:
        ```python
        from llama_index.llms.guardalign import GuardAlignMultiModal

        llm = GuardAlignMultiModal(preset="mini")
        blocks = [ImageBlock(image=picture), TextBlock(text="What is in the picture?")]
        print(llm.chat([ChatMessage(role="user", blocks=blocks)]))
        ```
    """

    def __init__(self, source: GuardAlign | str | Path | None = None, /, **data: Any) -> None:
        # Repeated for type checkers: pydantic's mypy plugin would show the fields only.
        super().__init__(source, **data)
