"""Messages to model inputs, with the exact tokens of the safety prefix and of the instruction.

The chat template is rendered with private-use marks around both spans. A copy of the processor
expands image placeholders as usual, but its tokenizer is a `MarkReader`: it removes the marks from
the final text, records their positions and tokenizes with offsets. The model inputs are those of
the plain processor call, token for token.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from jinja2 import TemplateError
from PIL import Image
from torch import Tensor
from transformers import PreTrainedTokenizerBase, ProcessorMixin

from guardalign_middleware.errors import CalibrationError, ContextOverflow, MessageError
from guardalign_middleware.generation.model_faults import MODEL_FAULTS, check_memory
from guardalign_middleware.generation.options import Tools
from guardalign_middleware.generation.prompt.control_tokens import (
    control_tokens,
    neutralise,
    neutralise_json,
)
from guardalign_middleware.generation.prompt.conversation import (
    Conversation,
    Placement,
    build_conversation,
    check_prefix,
)
from guardalign_middleware.generation.prompt.pictures import PictureHandover
from guardalign_middleware.generation.prompt.role_words import role_words
from guardalign_middleware.generation.prompt.span_marks import (
    MARKS,
    NO_MARKS,
    MarkReader,
    SpanMarks,
    pair_marks,
    strip_marks,
    tokens_in,
)
from guardalign_middleware.types import Message

# Tokens that begin, end or pad a text of any role.
_EDGES = ("bos_token", "eos_token", "pad_token", "unk_token")

_LOCKS: WeakKeyDictionary[PreTrainedTokenizerBase, threading.Lock] = WeakKeyDictionary()
_LOCKS_GUARD = threading.Lock()


@dataclass(frozen=True, eq=False)
class EncodedPrompts:
    """Model inputs for a batch of prompts, left-padded to `L` tokens.

    Attributes:
        inputs: what `model.generate` takes; `input_ids` and `attention_mask` are `[B, L]`.
        prefix_mask: bool `[B, L]`, tokens of the safety prefix (M_pref); all False without spans.
        instruction_mask: bool `[B, L]`, the tokens of the user's last instruction.
    """

    inputs: dict[str, Any]
    prefix_mask: Tensor
    instruction_mask: Tensor

    @property
    def input_tokens(self) -> list[int]:
        """Tokens of each prompt without padding; image tokens count."""
        return [int(n) for n in self.inputs["attention_mask"].sum(dim=1)]


class PromptEncoder:
    """Turns messages into model inputs and token spans; safe to call from several threads.

    Args:
        processor: of the model.
        prefix: text of the safety prefix.
        placement: position of the prefix.
        max_tokens: the longest prompt that the model has positions for; None = no limit.
    """

    def __init__(
        self,
        processor: ProcessorMixin,
        *,
        prefix: str,
        placement: Placement,
        max_tokens: int | None = None,
    ) -> None:
        self._processor = processor
        self._tokenizer: PreTrainedTokenizerBase = processor.tokenizer
        self._pictures = PictureHandover()
        # Fast tokenizers keep padding state, and raise when two threads use them at once.
        self._preparing = _preparing_lock(self._tokenizer)
        self.control_tokens = control_tokens(processor)
        edges = [getattr(self._tokenizer, name) for name in _EDGES]
        self.role_words = tuple(
            sorted(role_words(lambda turns: self._apply(turns, None), self.control_tokens, edges))
        )
        self._foreign = (*self.control_tokens, *self.role_words)
        self.prefix = check_prefix(prefix, self.control_tokens)
        self.placement: Placement = placement
        self.max_tokens = max_tokens
        # Unknown words map to <unk>, which must not make them control tokens.
        ids = self._tokenizer.convert_tokens_to_ids(list(self.control_tokens))
        self._control_ids = frozenset(ids) - {self._tokenizer.unk_token_id, None}

    def copied_tokenizer(self) -> PreTrainedTokenizerBase:
        """A tokenizer of one's own, for calls for which others must not wait."""
        with self._preparing:
            return copy.deepcopy(self._tokenizer)

    def encode(
        self,
        rows: Sequence[Sequence[Message]],
        *,
        prefix: Sequence[bool],
        spans: bool,
        tools: Tools = (),
    ) -> EncodedPrompts:
        """Render, expand and tokenize a batch of conversations.

        Args:
            rows: one conversation per row.
            prefix: whether to put the safety prefix into each row.
            spans: locate the tokens of prefix and instruction in the rows that have the prefix.
            tools: JSON schemas of what the model may call; its chat template writes them.

        Raises:
            MessageError: the model's chat template or processor refuses the messages.
            ContextOverflow: the prompt is longer than the model can read.
            OutOfMemory: the processor has no memory for the messages.
            CalibrationError: the spans cannot be located with certainty, or the template drops
                the prefix.
        """
        if spans and not self._tokenizer.is_fast:
            raise CalibrationError(
                "The spans cannot be located: the model has a slow tokenizer without offsets.",
                stage="spans",
                remedy="Convert it to a fast tokenizer, or generate with calibrate=False.",
            )
        for row in rows:
            self._check_disguise(row)
        plain = [
            self._render(row, use, NO_MARKS, tools) for row, use in zip(rows, prefix, strict=True)
        ]
        # Without the prefix nothing is marked.
        marked = [
            self._render(row, use, MARKS, tools) if use else text
            for row, use, text in zip(rows, prefix, plain, strict=True)
        ]
        for prompt, use in zip(marked, prefix, strict=True):
            # Search with the marks: the instruction may quote the words of the prefix.
            if use and f"{MARKS.prefix_open}{self.prefix}{MARKS.prefix_close}" not in prompt:
                raise CalibrationError(
                    "The model's chat template drops or changes the safety prefix.",
                    stage="prefix",
                    remedy="Use prefix.placement 'before_instruction', or another chat template.",
                )
        pictures = [[image for message in row for image in message.images] for row in rows]
        processor, images = self._pictures.arrange(self._processor, pictures)
        if not spans:
            with self._preparing:
                inputs = self._call(processor, plain, images)
            blank = torch.zeros_like(inputs["input_ids"], dtype=torch.bool)
            return EncodedPrompts(inputs, blank, blank)
        for with_marks, without in zip(marked, plain, strict=True):
            if strip_marks(with_marks)[0] != without:
                raise CalibrationError(
                    "The model's chat template treats marked text differently from plain text.",
                    stage="spans",
                    remedy="Generate with calibrate=False.",
                )
        return self._encode_marked(copy.copy(processor), marked, images, prefix)

    def _render(
        self, messages: Sequence[Message], prefix: bool, marks: SpanMarks, tools: Tools
    ) -> str:
        conversation = build_conversation(
            messages,
            prefix=self.prefix if prefix else None,
            placement=self.placement,
            control_tokens=self._foreign,
            marks=marks,
        )
        return self._apply(
            conversation, [neutralise_json(tool, self._foreign) for tool in tools] or None
        )

    def _apply(self, conversation: Conversation, tools: list[Any] | None) -> str:
        try:
            prompt = self._processor.apply_chat_template(
                conversation, tools=tools, tokenize=False, add_generation_prompt=True
            )
        except MemoryError:
            raise
        except Exception as error:
            # A template is a program: it can divide by zero. Foreign errors could hold content.
            why = error if isinstance(error, TemplateError) else f"it raises {type(error).__name__}"
            raise MessageError(
                f"The model's chat template refuses these messages: {why}.",
                remedy="Check the order of the roles; some models know no system or tool role.",
            ) from error
        return str(prompt)

    def _check_disguise(self, messages: Sequence[Message]) -> None:
        """Refuse role words that only the tokenizer's normalizer would write out."""
        normalizer = getattr(
            getattr(self._tokenizer, "backend_tokenizer", None), "normalizer", None
        )
        if normalizer is None or not self.role_words:
            return
        for message in messages:
            text = normalizer.normalize_str(neutralise(message.text, self._foreign))
            if any(word in text for word in self.role_words):
                raise MessageError(
                    "A text contains a role word of the model's chat template in disguise.",
                    remedy=f"Remove the words {', '.join(map(repr, self.role_words))}, also in "
                    "other forms of their letters.",
                )

    def _call(
        self, processor: Any, prompts: list[str], images: list[list[Image.Image]]
    ) -> dict[str, Any]:
        bos = self._tokenizer.bos_token
        has_bos = [bos is not None and prompt.startswith(bos) for prompt in prompts]
        try:
            batch = processor(
                text=list(prompts),
                images=images if any(images) else None,
                padding=len(prompts) > 1,
                padding_side="left",
                add_special_tokens=not all(has_bos),
                return_tensors="pt",
            )
        except MODEL_FAULTS as error:
            check_memory(error)
            raise MessageError(
                f"The model's processor refuses these messages: {error}",
                remedy="Check that the model takes this many images, in these roles.",
            ) from error
        # PaliGemma's processor also makes labels for training.
        batch.pop("labels", None)
        longest = int(batch["attention_mask"].sum(dim=1).max())
        if self.max_tokens is not None and longest > self.max_tokens:
            raise ContextOverflow(
                f"The prompt has {longest} tokens; the model reads at most {self.max_tokens}.",
                tokens=longest,
                limit=self.max_tokens,
                remedy="Shorten the conversation or send fewer images.",
            )
        return dict(batch)

    def _encode_marked(
        self,
        processor: Any,
        prompts: list[str],
        images: list[list[Image.Image]],
        prefix: Sequence[bool],
    ) -> EncodedPrompts:
        reader = MarkReader(self._tokenizer)
        processor.tokenizer = reader
        with self._preparing:
            inputs = self._call(processor, prompts, images)
        if len(reader.calls) != 1:
            raise CalibrationError(
                f"The processor should tokenize the prompt once. Got {len(reader.calls)} calls.",
                stage="spans",
                remedy="This model family is not supported; generate with calibrate=False.",
            )
        call = reader.calls[0]
        ids = inputs["input_ids"]
        prefix_mask = torch.zeros_like(ids, dtype=torch.bool)
        instruction_mask = torch.zeros_like(ids, dtype=torch.bool)
        for row, row_marks in enumerate(call.marks):
            prefix_spans, instruction_spans = pair_marks(row_marks, expect_prefix=prefix[row])
            text, offsets = call.texts[row], call.offsets(row)
            if len(offsets) != ids.shape[1]:
                raise CalibrationError(
                    "offsets should have one entry per token of input_ids "
                    f"({ids.shape[1]}). Got {len(offsets)}.",
                    stage="spans",
                )
            prefix_mask[row] = tokens_in(prefix_spans, text, offsets)
            instruction_mask[row] = tokens_in(instruction_spans, text, offsets)
            self._check_row(ids[row], prefix_mask[row], instruction_mask[row], prefix[row])
        return EncodedPrompts(inputs, prefix_mask, instruction_mask)

    def _check_row(self, ids: Tensor, prefix: Tensor, instruction: Tensor, expected: bool) -> None:
        if expected and not prefix.any():
            raise CalibrationError("No token of the prompt is safety prefix.", stage="spans")
        if bool((prefix & instruction).any()):
            raise CalibrationError(
                "A token belongs to the safety prefix and to the instruction.", stage="spans"
            )
        if prefix.any() and instruction.any():
            last, first = int(prefix.nonzero()[-1]), int(instruction.nonzero()[0])
            if last >= first:
                # Causal attention would make the calibration a no-op.
                raise CalibrationError(
                    f"The safety prefix ends at token {last}, but the instruction starts at "
                    f"token {first}.",
                    stage="spans",
                    remedy="The prefix should come first; check the chat template.",
                )
        if not self._control_ids.isdisjoint(ids[instruction].tolist()):
            raise MessageError(
                "The instruction contains a control token of the model in disguise.",
                remedy="Remove the model's special tokens from the text.",
            )


def _preparing_lock(tokenizer: PreTrainedTokenizerBase) -> threading.Lock:
    """The lock for preparing prompts; one per tokenizer, however many encoders use it."""
    with _LOCKS_GUARD:
        return _LOCKS.setdefault(tokenizer, threading.Lock())
