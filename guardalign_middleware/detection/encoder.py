"""Encoders that embed pictures and words in one space."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import open_clip
import torch
from torch import Tensor
from torch.nn import functional

from guardalign_middleware.config import EncoderConfig
from guardalign_middleware.detection.dense import grid_side, window_tokens
from guardalign_middleware.detection.encoder_fingerprint import fingerprint
from guardalign_middleware.detection.encoder_source import open_encoder
from guardalign_middleware.detection.quantized import (
    QuantizedTower,
    probe_pictures,
    quantized_tower,
)
from guardalign_middleware.detection.vocabulary import Vocabulary
from guardalign_middleware.errors import ConfigError, DetectionError, ModelLoadError
from guardalign_middleware.local_extra import require_int8
from guardalign_middleware.model_folder import loading_faults

# A single crop takes a CPU 1.4 times as long as one of eight; a GPU needs far more to be busy.
_CROPS_ON_CPU, _CROPS_ON_GPU = 8, 256
# One picture has enough crops to keep a CPU busy: two in one pass take as long as one after the
# other, and neither ends before both. Measure again: python -m benchmarks.detection.queueing
_SHARED_ON_CPU = 1
# Crops or texts in one pass. Of 16 to 256, a CPU is fastest from 32 to 128, where the activations
# stay in its caches; a GPU with many. Measure again: python -m benchmarks.detection.vocabulary
_BATCH_ON_CPU, _BATCH_ON_GPU = 64, 256


@contextmanager
def _root_logger_left_alone() -> Iterator[None]:
    """Keep open_clip's `logging.info` from configuring a root logger without handlers.

    Otherwise the application's own `logging.basicConfig` would have no effect. Python's handler of
    last resort is installed meanwhile, so warnings appear as usual.
    """
    root = logging.getLogger()
    if root.handlers:
        yield
        return
    handler = logging.lastResort or logging.NullHandler()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


class OpenClipEncoder:
    """An open_clip model in eval mode.

    A text's embedding is the normalised mean over all templates. Pictures are encoded in chunks; a
    picture's embedding depends on its neighbours only through the rounding of the matrix products.
    Inference is stateless, so threads may share one encoder.

    `batch_size` is the length of the chunks: the configured one, or 64 on a CPU and 256 elsewhere.
    `crops_together` is how many crops keep the device busy; see `Detector.turns`. `shared_crops` is
    how many crops of different callers go into one pass; see `ScanQueue`.

    In bf16 both towers compute in bfloat16. In int8 pictures pass through `quantized_tower` on the
    CPU, and words through the text tower in fp32.
    """

    def __init__(
        self, model: torch.nn.Module, tokenizer: Any, config: EncoderConfig, *, fingerprint: str
    ) -> None:
        preprocess = open_clip.get_model_preprocess_cfg(model)
        size = preprocess["size"]
        height, width = (size, size) if isinstance(size, int) else size
        if height != width:
            raise ModelLoadError(
                f"The encoder's input is {width}×{height} pixels; patches are square.",
                remedy="Choose an encoder with a square input.",
            )
        self.image_size = int(height)
        self.fingerprint = fingerprint
        self._config = config
        self._tokenizer = tokenizer
        self._vocabulary = Vocabulary(tokenizer)
        self._device = encoder_device(config)
        on_cpu = self._device.type == "cpu"
        self.crops_together = _CROPS_ON_CPU if on_cpu else _CROPS_ON_GPU
        self.shared_crops = _SHARED_ON_CPU if on_cpu else self.crops_together
        self.batch_size = config.batch_size or (_BATCH_ON_CPU if on_cpu else _BATCH_ON_GPU)
        self._dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
        self._model: Any = model.to(self._device, self._dtype).eval().requires_grad_(False)
        self._mean = torch.tensor(preprocess["mean"], device=self._device).view(1, 3, 1, 1)
        self._std = torch.tensor(preprocess["std"], device=self._device).view(1, 3, 1, 1)
        self._quantized: QuantizedTower | None = None
        if config.precision == "int8":
            require_int8()
            probes = self.normalised(probe_pictures(self.image_size))
            self._quantized = quantized_tower(self._model, probes, config.int8_cache, fingerprint)

    @classmethod
    @_root_logger_left_alone()
    def load(cls, config: EncoderConfig) -> Self:
        """Load weights (safetensors only), preprocessing and tokenizer.

        Raises:
            ModelLoadError: directory, config or weights are missing, pickled, damaged or do not
                fit together.
            ConfigError: a template has no `{}`; or for int8, packages are missing, the device is
                not the CPU, or the folder cannot be written.
        """
        if config.precision == "int8":
            require_int8()
        for template in config.templates:
            if "{}" not in template:
                raise ConfigError(f"The template {template!r} should contain {{}} for the concept.")
        with loading_faults(
            f"The encoder {config.model!r}",
            "Check encoder.model and encoder.pretrained; a hub model needs the network or a filled "
            "cache.",
        ):
            source = open_encoder(config)
            model = source.create()
            tokenizer = source.create_tokenizer()
            digest = fingerprint(model, tokenizer, config, source.settings)
            return cls(model, tokenizer, config, fingerprint=digest)

    def encode_images(self, pixels: Tensor) -> Tensor:
        """Normalise with the model's own mean and deviation, and embed.

        Args:
            pixels: float `[M, 3, S, S]` in [0, 1].

        Returns:
            float32 unit rows `[M, D]` on the encoder's device.

        Raises:
            ValueError: wrong shape.
            DetectionError: an embedding is NaN, infinite or zero.
        """
        with torch.inference_mode():
            return self._embed(pixels)

    def embed_images(self, pixels: Tensor) -> Tensor:
        """`encode_images`, differentiable with respect to the pixels.

        Raises:
            ConfigError: the precision is int8, which has no gradient.
        """
        if self._config.precision == "int8":
            raise ConfigError(
                "An encoder in int8 has no gradient.",
                remedy="Set encoder.precision to fp32 or bf16.",
            )
        return self._embed(pixels)

    def _embed(self, pixels: Tensor) -> Tensor:
        tower = self._model.encode_image if self._quantized is None else self._quantized
        chunks = torch.split(pixels, self.batch_size)
        rows = [tower(self.normalised(chunk)).float() for chunk in chunks]
        return _unit_rows(torch.cat(rows), "image")

    @property
    def cells(self) -> int:
        """Tokens along each side of the input.

        Raises:
            ConfigError: the tower has no tokens to embed, or computes in int8.
        """
        if self._quantized is not None:
            raise ConfigError(
                "patches.layout dense is not made for encoder.precision int8.",
                remedy="Set encoder.precision to bf16 or fp32, or patches.layout to crops.",
            )
        return grid_side(self._model.visual)

    def encode_windows(self, pixels: Tensor) -> Tensor:
        """Embed the tokens of pictures.

        Args:
            pixels: float `[M, 3, S, S]` in [0, 1].

        Returns:
            float32 unit rows `[M, g, g, D]` on the encoder's device, g = `cells`.

        Raises:
            ConfigError: the tower has no tokens to embed.
            ValueError: wrong shape.
            DetectionError: an embedding is NaN, infinite or zero.
        """
        tower = self._model.visual
        with torch.inference_mode():
            chunks = torch.split(pixels, self.batch_size)
            rows = [window_tokens(tower, self.normalised(chunk)).float() for chunk in chunks]
            return _unit_rows(torch.cat(rows), "image")

    def normalised(self, pixels: Tensor) -> Tensor:
        """Normalise pictures in [0, 1] for the image tower, on its device and in its dtype.

        Raises:
            ValueError: wrong shape.
        """
        side = self.image_size
        if pixels.ndim != 4 or tuple(pixels.shape[1:]) != (3, side, side) or len(pixels) == 0:
            raise ValueError(
                f"pixels must have shape (M, 3, S, S) = (M, 3, {side}, {side}) with M >= 1. "
                f"Got {tuple(pixels.shape)}."
            )
        return ((pixels.to(self._device) - self._mean) / self._std).to(self._dtype)

    @property
    def visual(self) -> torch.nn.Module:
        """The frozen image tower, for measurements of its inner tokens."""
        tower: torch.nn.Module = self._model.visual
        return tower

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Embed texts, averaged over the templates.

        Raises:
            ConfigError: a word is not in the tokenizer's vocabulary, or a text is too long.
            DetectionError: an embedding is NaN, infinite or zero.
        """
        if not texts:
            raise ValueError("texts should not be empty.")
        prompts = [t.replace("{}", text) for text in texts for t in self._config.templates]
        for prompt in prompts:
            self._vocabulary.check(prompt)
        rows = []
        with torch.inference_mode():
            for first in range(0, len(prompts), self.batch_size):
                chunk = prompts[first : first + self.batch_size]
                tokens = self._tokenizer(chunk).to(self._device)
                rows.append(self._model.encode_text(tokens).float())
            units = _unit_rows(torch.cat(rows), "text")
            return _unit_rows(
                units.view(len(texts), len(self._config.templates), -1).mean(1), "text"
            )

    def readable(self, text: str) -> tuple[str, ...]:
        """The words of a text that the encoder knows, in pieces that it can read in any template.

        Unknown words are left out. There is no piece if all that is left are words of the
        templates, which say nothing.
        """
        return self._vocabulary.readable(text, self._config.templates)


def _unit_rows(rows: Tensor, kind: str) -> Tensor:
    norms = rows.norm(dim=-1)
    if not bool((torch.isfinite(norms) & (norms > 0)).all()):
        raise DetectionError(
            f"The encoder's {kind} embedding is NaN, infinite or zero.",
            stage="encode",
            remedy="Check the weights, or use precision fp32.",
        )
    return functional.normalize(rows, dim=-1)


def encoder_device(config: EncoderConfig) -> torch.device:
    """The device of an encoder; `auto` prefers CUDA to the CPU.

    Raises:
        ConfigError: torch knows no such device, or the precision does not run on it.
    """
    name = config.device
    if config.precision == "int8":
        if name not in ("auto", "cpu"):
            raise ConfigError(
                f"encoder.precision int8 runs on the CPU. Received encoder.device {name!r}.",
                remedy="Set encoder.device to cpu, or encoder.precision to bf16.",
            )
        return torch.device("cpu")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"encoder.device {name!r} is not a device.") from error
    if device.type == "meta":
        raise ConfigError("encoder.device 'meta' computes nothing.", remedy="Use 'auto' or 'cpu'.")
    return device
