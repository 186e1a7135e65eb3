"""From messages to model inputs, knowing exactly which tokens are prefix and which instruction.

The chat template is rendered with private-use marks around both spans. A copy of the processor,
whose tokenizer is a thin proxy, expands image placeholders as always; the proxy takes the marks out
of the final text, notes where they stood and tokenizes with offsets. The model inputs are those of
the plain processor call, token for token.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jinja2 import TemplateError
from PIL import Image
from torch import Tensor
from transformers import BatchEncoding, PreTrainedTokenizerBase, ProcessorMixin

from guardalign_middleware.errors import CalibrationError, MessageError
from guardalign_middleware.generation.prompt.conversation import (
    MARKED,
    PLAIN,
    SENTINELS,
    Marks,
    Placement,
    build_conversation,
    check_prefix,
    neutralised,
)
from guardalign_middleware.generation.prompt.tool_calls import Tools
from guardalign_middleware.types import Message

Span = tuple[int, int]


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
        prefix: words of the safety prefix.
        placement: where they go.
        max_tokens: the longest prompt the model knows positions for; None when it has no limit.
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
        # Fast tokenizers keep padding state and refuse to be used by two threads at once.
        self._lock = threading.Lock()
        self.control_tokens = _control_tokens(processor)
        self.prefix = check_prefix(prefix, self.control_tokens)
        self.placement: Placement = placement
        self._max_tokens = max_tokens
        # An unknown word is no control token, even where <unk> is one.
        ids = self._tokenizer.convert_tokens_to_ids(list(self.control_tokens))
        self._control_ids = frozenset(ids) - {self._tokenizer.unk_token_id, None}

    def decode(self, ids: Sequence[int]) -> str:
        """The text of generated token ids, special tokens left out."""
        with self._lock:
            return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def token_ids(self, text: str) -> list[int]:
        """The tokens of a text alone, without special tokens around it."""
        with self._lock:
            return [int(i) for i in self._tokenizer(text, add_special_tokens=False)["input_ids"]]

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
            prefix: whether the safety prefix goes into that row.
            spans: locate the tokens of prefix and instruction in the rows that have the prefix.
            tools: what the model may call, as JSON schemas that its chat template writes.

        Raises:
            MessageError: messages that the model's chat template or processor refuses, or that
                make a prompt longer than the model can read.
            CalibrationError: the spans cannot be located with certainty, or the template drops
                the prefix.
        """
        if spans and not self._tokenizer.is_fast:
            raise CalibrationError(
                "The spans cannot be located: the model has a slow tokenizer without offsets.",
                stage="spans",
                remedy="Convert it to a fast tokenizer, or generate with calibrate=False.",
            )
        plain, marked = (
            [self._render(row, use, marks, tools) for row, use in zip(rows, prefix, strict=True)]
            for marks in (PLAIN, MARKED)
        )
        for prompt, use in zip(marked, prefix, strict=True):
            # The words alone prove nothing: the instruction may quote them.
            if use and f"{MARKED.prefix_open}{self.prefix}{MARKED.prefix_close}" not in prompt:
                raise CalibrationError(
                    "The model's chat template drops or changes the safety prefix.",
                    stage="prefix",
                    remedy="Use prefix.placement 'before_instruction', or another chat template.",
                )
        images = [[image.to_pil() for message in row for image in message.images] for row in rows]
        if not spans:
            with self._lock:
                inputs = self._call(self._processor, plain, images)
            blank = torch.zeros_like(inputs["input_ids"], dtype=torch.bool)
            return EncodedPrompts(inputs, blank, blank)
        for with_marks, without in zip(marked, plain, strict=True):
            if _strip(with_marks)[0] != without:
                raise CalibrationError(
                    "The model's chat template treats marked text differently from plain text.",
                    stage="spans",
                    remedy="Generate with calibrate=False.",
                )
        return self._encode_marked(marked, images, prefix)

    def _render(self, messages: Sequence[Message], prefix: bool, marks: Marks, tools: Tools) -> str:
        conversation = build_conversation(
            messages,
            prefix=self.prefix if prefix else None,
            placement=self.placement,
            control_tokens=self.control_tokens,
            marks=marks,
        )
        try:
            prompt = self._processor.apply_chat_template(
                conversation,
                tools=[neutralised(tool, self.control_tokens) for tool in tools] or None,
                tokenize=False,
                add_generation_prompt=True,
            )
        except TemplateError as error:
            raise MessageError(
                f"The model's chat template refuses these messages: {error}.",
                remedy="Check the order of the roles; some models know no system or tool role.",
            ) from error
        return str(prompt)

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
        except ValueError as error:
            raise MessageError(
                f"The model's processor refuses these messages: {error}",
                remedy="Check that the model takes this many images, in these roles.",
            ) from error
        # PaliGemma's processor also makes labels, which are for training.
        batch.pop("labels", None)
        longest = int(batch["attention_mask"].sum(dim=1).max())
        if self._max_tokens is not None and longest > self._max_tokens:
            raise MessageError(
                f"The prompt has {longest} tokens; the model reads at most {self._max_tokens}.",
                remedy="Shorten the conversation or send fewer images.",
            )
        return dict(batch)

    def _encode_marked(
        self, prompts: list[str], images: list[list[Image.Image]], prefix: Sequence[bool]
    ) -> EncodedPrompts:
        processor = copy.copy(self._processor)
        proxy = _MarkReader(self._tokenizer)
        processor.tokenizer = proxy
        with self._lock:
            inputs = self._call(processor, prompts, images)
        if len(proxy.calls) != 1:
            raise CalibrationError(
                f"The processor should tokenize the prompt once. Got {len(proxy.calls)} calls.",
                stage="spans",
                remedy="This model family is not supported; generate with calibrate=False.",
            )
        marks, encoding = proxy.calls[0]
        ids = inputs["input_ids"]
        prefix_mask = torch.zeros_like(ids, dtype=torch.bool)
        instruction_mask = torch.zeros_like(ids, dtype=torch.bool)
        for row, row_marks in enumerate(marks):
            prefix_spans, instruction_spans = _pair_marks(row_marks, expect_prefix=prefix[row])
            text, offsets = encoding.texts[row], encoding.offsets(row)
            if len(offsets) != ids.shape[1]:
                raise CalibrationError(
                    "offsets should have one entry per token of input_ids "
                    f"({ids.shape[1]}). Got {len(offsets)}.",
                    stage="spans",
                )
            prefix_mask[row] = _tokens_of(prefix_spans, text, offsets)
            instruction_mask[row] = _tokens_of(instruction_spans, text, offsets)
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
                    f"The safety prefix ends at token {last}, the instruction starts at {first}.",
                    stage="spans",
                    remedy="The prefix has to come first; check the chat template.",
                )
        if not self._control_ids.isdisjoint(ids[instruction].tolist()):
            raise MessageError(
                "The instruction contains a control token of the model in disguise.",
                remedy="Remove the model's special tokens from the text.",
            )


@dataclass(frozen=True)
class _Encoding:
    texts: list[str]
    batch: BatchEncoding

    def offsets(self, row: int) -> list[Span]:
        encodings = self.batch.encodings
        if encodings is None:
            raise CalibrationError("The tokenizer gave no offsets.", stage="spans")
        return [(int(start), int(end)) for start, end in encodings[row].offsets]


class _MarkReader:
    """Stands in for a tokenizer during one processor call and takes the marks out of the text."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self.calls: list[tuple[list[list[tuple[str, int]]], _Encoding]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def __len__(self) -> int:
        return len(self._tokenizer)

    def __call__(self, text: str | list[str], **kwargs: Any) -> BatchEncoding:
        texts = [text] if isinstance(text, str) else list(text)
        stripped = [_strip(item) for item in texts]
        clean = [item for item, _ in stripped]
        batch = self._tokenizer(clean, **kwargs)
        self.calls.append(([marks for _, marks in stripped], _Encoding(clean, batch)))
        return _MarkedEncoding(batch, [marks for _, marks in stripped])


class _MarkedEncoding(BatchEncoding):
    """A `BatchEncoding` that is asked about characters of the text that still had its marks."""

    def __init__(self, batch: BatchEncoding, marks: list[list[tuple[str, int]]]) -> None:
        super().__init__(dict(batch), encoding=batch.encodings)
        self._marks = marks

    def char_to_token(  # type: ignore[override]
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        row = 0 if char_index is None else batch_or_char_index
        char = batch_or_char_index if char_index is None else char_index
        # The k-th mark stood k characters further right in the marked text.
        before = sum(at + k < char for k, (_, at) in enumerate(self._marks[row]))
        token = super().char_to_token(row, char - before, sequence_index)
        return None if token is None else int(token)


def _strip(text: str) -> tuple[str, list[tuple[str, int]]]:
    """The text without marks, and each mark with the index of the character it stood before."""
    marks: list[tuple[str, int]] = []
    clean: list[str] = []
    for char in text:
        if char in SENTINELS:
            marks.append((char, len(clean)))
        else:
            clean.append(char)
    return "".join(clean), marks


def _pair_marks(
    marks: list[tuple[str, int]], *, expect_prefix: bool
) -> tuple[list[Span], list[Span]]:
    """Character spans of prefix and instruction; the order of the marks is checked."""
    names = [name for name, _ in marks]
    prefix = [MARKED.prefix_open, MARKED.prefix_close]
    instruction = [MARKED.instruction_open, MARKED.instruction_close]
    head = prefix if expect_prefix else []
    pieces = (len(names) - len(head)) // 2 if expect_prefix else 0
    if names != head + instruction * max(pieces, 0):
        raise CalibrationError(
            "The marks of prefix and instruction are missing or out of order in the prompt.",
            stage="spans",
            remedy="The chat template reorders or repeats the text; use calibrate=False.",
        )
    spans = [(marks[i][1], marks[i + 1][1]) for i in range(0, len(marks), 2)]
    return spans[: len(head) // 2], spans[len(head) // 2 :]


def _tokens_of(spans: list[Span], text: str, offsets: list[Span]) -> Tensor:
    """Mark the tokens, bool `[L]`, that overlap a non-space character of one of the spans."""
    inside = [False] * len(text)
    for start, end in spans:
        for at in range(start, end):
            inside[at] = not text[at].isspace()
    return torch.tensor([any(inside[start:end]) for start, end in offsets], dtype=torch.bool)


def _control_tokens(processor: ProcessorMixin) -> tuple[str, ...]:
    """Every string that the tokenizer or the processor reads as more than text."""
    tokenizer = processor.tokenizer
    tokens = set(tokenizer.all_special_tokens)
    tokens.update(t.content for t in tokenizer.added_tokens_decoder.values() if t.special)
    for holder in (processor, tokenizer):
        for name in vars(holder):
            value = getattr(holder, name)
            if name.endswith("_token") and isinstance(value, str):
                tokens.add(value)
    return tuple(sorted(token for token in tokens if token.strip()))
