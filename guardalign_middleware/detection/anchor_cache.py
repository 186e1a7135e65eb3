"""Anchor embeddings on disk: a real text tower takes seconds for hundreds of words."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from guardalign_middleware.detection.encoder_protocol import ImageTextEncoder
from guardalign_middleware.errors import ConfigError

_NAME = "anchors"
# Other hardware rounds differently; another encoder would be far away.
_TOLERANCE = 1e-3


def embedded_texts(encoder: ImageTextEncoder, texts: Sequence[str], folder: Path | None) -> Tensor:
    """Embeddings of texts, read from the folder, or computed and stored there.

    The file's name is a digest of the encoder's fingerprint and the texts, so it never belongs to
    other weights, templates or words. The first text is embedded anyway and compared; a file that
    disagrees or is damaged is replaced. Write access to the folder can change detections, like
    write access to the weights.

    Args:
        encoder: embeds texts that are not stored.
        texts: at least one.
        folder: created if missing; None = nothing is stored.

    Returns:
        Unit rows `[N, D]` on the encoder's device.

    Raises:
        ConfigError: the folder cannot be written.
    """
    if folder is None:
        return encoder.encode_texts(texts)
    record = json.dumps([encoder.fingerprint, list(texts)])
    file = folder / f"{hashlib.sha256(record.encode()).hexdigest()}.safetensors"
    first = encoder.encode_texts(texts[:1])
    kept = _read(file, (len(texts), first.shape[1]))
    if kept is not None:
        rows = kept.to(first.device, first.dtype)
        if bool((rows[0] - first[0]).abs().max() <= _TOLERANCE):
            return rows
    rows = encoder.encode_texts(texts)
    _write(file, rows)
    return rows


def _read(file: Path, shape: tuple[int, int]) -> Tensor | None:
    """The rows of a file; None when it is missing or damaged."""
    try:
        rows = load_file(file)[_NAME]
    except (OSError, SafetensorError, KeyError):
        return None
    if not rows.is_floating_point() or tuple(rows.shape) != shape:
        return None
    if not bool(torch.isfinite(rows).all()):
        return None
    return rows if bool(((rows.norm(dim=1) - 1.0).abs() <= _TOLERANCE).all()) else None


def _write(file: Path, rows: Tensor) -> None:
    """Write a temporary file and move it into place; a reader never sees half of it."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(suffix=".tmp", dir=file.parent)
        os.close(handle)
        save_file({_NAME: rows.detach().cpu().clone().contiguous()}, name)
        os.replace(name, file)
    except OSError as error:
        raise ConfigError(
            f"Cannot write anchor embeddings to {file.parent}: {error.strerror}.",
            remedy="Set detection.anchor_cache to another folder, or remove it.",
        ) from error
