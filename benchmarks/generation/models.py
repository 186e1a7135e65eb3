"""LLaVAs and guards with random weights at chosen widths, as fast as trained ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import open_clip
import torch
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

from benchmarks.guards import default_anchors, flag_nothing, without_memory
from benchmarks.results import ROOT
from guardalign_middleware.config import (
    DetectionConfig,
    EncoderConfig,
    RunnerConfig,
)
from guardalign_middleware.detection import AnchorBank, OpenClipEncoder
from guardalign_middleware.generation import CalibratedRunner, LoadedModel, load_model
from guardalign_middleware.image_guard import ImageGuard
from guardalign_middleware.types import CanonicalImage, ImagePart, Message, TextPart

_MINI = ROOT / "guardalign_middleware" / "mini" / "llava"
_PATCH = 14
_LONGEST = 4096
CONCURRENT = 16


@dataclass(frozen=True)
class Widths:
    """Sizes of a LLaVA.

    Attributes:
        hidden, intermediate, layers, heads: of the decoder; with as many key heads as heads.
        vocabulary: minimum number of tokens; the miniature's small tokenizer is filled up to it.
        vision_hidden, vision_layers: of the CLIP tower, with heads of width 64.
        image_size: side in pixels; each patch of 14 × 14 pixels is one image token.
        guard: the detector's encoder: "mini", or an open_clip architecture with random weights.
    """

    hidden: int
    intermediate: int
    layers: int
    heads: int
    vocabulary: int
    vision_hidden: int
    vision_layers: int
    image_size: int
    guard: str

    @property
    def description(self) -> str:
        """The widths in words, for the note below a table."""
        return (
            f"a decoder of {self.layers} layers, {self.hidden} wide with {self.heads} heads, "
            f"{(self.image_size // _PATCH) ** 2} image tokens and the guard's encoder "
            f"{self.guard!r}"
        )


LAPTOP = Widths(512, 1376, 8, 8, 0, 64, 2, 336, "mini")
"""Takes minutes on one core: a prompt as long as LLaVA's, and small widths."""

LLAVA_7B = Widths(4096, 11008, 32, 32, 32064, 1024, 24, 336, "ViT-L-14-336-quickgelu")
"""LLaVA-1.5-7B and the encoder of its preset."""

TINY = Widths(32, 64, 4, 4, 0, 64, 1, 56, "mini")
"""Runs the same code in seconds; its figures mean nothing."""


def build(
    widths: Widths, *, device: torch.device, dtype: torch.dtype, **fields: Any
) -> CalibratedRunner:
    """A runner with SDPA attention; `fields` go into its `RunnerConfig`."""
    torch.manual_seed(0)
    tokens = load_model(RunnerConfig(model=str(_MINI), device="cpu"))
    tokenizer = tokens.processor.tokenizer
    tokenizer.model_max_length = _LONGEST
    # Every token of an answer then shows in its text.
    tokenizer.add_tokens([f"token{index}" for index in range(len(tokenizer), widths.vocabulary)])
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=widths.hidden,
        intermediate_size=widths.intermediate,
        num_hidden_layers=widths.layers,
        num_attention_heads=widths.heads,
        num_key_value_heads=widths.heads,
        max_position_embeddings=_LONGEST,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        # Without an end token, every answer has the full length.
        eos_token_id=None,
    )
    vision = CLIPVisionConfig(
        hidden_size=widths.vision_hidden,
        intermediate_size=4 * widths.vision_hidden,
        num_hidden_layers=widths.vision_layers,
        num_attention_heads=max(1, widths.vision_hidden // 64),
        image_size=widths.image_size,
        patch_size=_PATCH,
    )
    config = LlavaConfig(
        text_config=text,
        vision_config=vision,
        image_token_index=tokens.model.config.image_token_index,
    )
    # Built on the device: at 7B widths, saving and loading would take too long.
    with device:
        model: Any = LlavaForConditionalGeneration._from_config(
            config, dtype=dtype, attn_implementation="sdpa"
        )
    side = {"height": widths.image_size, "width": widths.image_size}
    processor = LlavaProcessor(
        CLIPImageProcessor(size=side, crop_size=side),
        tokenizer,
        patch_size=_PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=tokens.processor.chat_template,
    )
    loaded = LoadedModel("random", model.eval().requires_grad_(False), processor, device)
    return CalibratedRunner(loaded, RunnerConfig(model="random", batch_size=CONCURRENT, **fields))


def build_guard(encoder: str, device: torch.device, **fields: Any) -> ImageGuard:
    """A guard that scans every picture and flags none.

    Args:
        encoder: "mini", or an open_clip architecture, which gets random weights.
        device: of the encoder; on a GPU it runs in bf16.
        fields: of the `DetectionConfig` of any encoder but "mini".
    """
    config = without_memory("mini")
    detection = config.detection
    if encoder == "mini":
        images = OpenClipEncoder.load(detection.encoder)
    else:
        own = EncoderConfig(
            model=encoder, device=device.type, precision="bf16" if device.type == "cuda" else "fp32"
        )
        detection = DetectionConfig(
            encoder=own, anchors=default_anchors(), remembered_verdicts=0, **fields
        )
        images = OpenClipEncoder(
            open_clip.create_model(encoder, pretrained=None),
            open_clip.get_tokenizer(encoder),
            own,
            fingerprint="random",
        )
    anchors = AnchorBank.load(detection.anchors)
    return flag_nothing(images, anchors, config.model_copy(update={"detection": detection}))


def conversation(seed: int = 0, side: int | None = None) -> list[Message]:
    """An instruction of about fifty tokens, with a picture of noise if `side` is given."""
    words = TextPart("what is in the picture ? tell me more of it . " * 4 + str(seed % 10))
    if side is None:
        return [Message("user", (words,))]
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return [Message("user", (ImagePart(CanonicalImage(pixels)), words))]


@contextmanager
def eager(runner: CalibratedRunner) -> Iterator[None]:
    """The decoder with eager attention, which computes every score of every head."""
    decoder = runner._model.get_decoder()
    decoder.set_attn_implementation("eager")
    try:
        yield
    finally:
        decoder.set_attn_implementation("sdpa")
