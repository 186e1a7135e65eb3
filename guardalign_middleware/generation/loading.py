"""Loading a model so that nothing runs that should not, and nothing is missing that should exist.

Weights are read from safetensors only, remote code is never executed, and a checkpoint that does
not fit its architecture exactly is refused: transformers would fill the gap with random numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    PreTrainedModel,
    ProcessorMixin,
)

from guardalign_middleware.config import RunnerConfig
from guardalign_middleware.errors import ModelLoadError

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_FAULTS = (OSError, ValueError, RuntimeError, KeyError, TypeError, ImportError, SafetensorError)


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model in evaluation mode on its device, with the processor that belongs to it."""

    name: str
    model: PreTrainedModel
    processor: ProcessorMixin
    device: torch.device


def load_model(config: RunnerConfig) -> LoadedModel:
    """Load a local directory or a hub id.

    Raises:
        ModelLoadError: missing, unsafe or incomplete; the message names the remedy.
    """
    directory = _local_directory(config.model)
    if directory is not None:
        _check_directory(directory)
    origin: dict[str, Any] = {
        "revision": config.revision,
        "local_files_only": config.local_files_only or directory is not None,
        "trust_remote_code": False,
    }
    source = config.model if directory is None else str(directory)
    processor = _load_processor(source, origin)
    model = _load_weights(source, origin, config.dtype)
    device = pick_device(config.device)
    try:
        model = model.to(device)  # type: ignore[arg-type]
    except RuntimeError as error:
        raise ModelLoadError(
            f"The model {config.model} cannot be moved to {device}: {error}.",
            remedy="Choose another device in the runner's config.",
        ) from error
    name = config.model if directory is None else directory.name
    return LoadedModel(name, model.eval(), processor, device)


def pick_device(name: str) -> torch.device:
    """The torch device of that name; `auto` prefers CUDA, then MPS, then the CPU.

    Raises:
        ModelLoadError: no such device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise ModelLoadError(
            f"{name!r} is no device of torch.", remedy="Use 'auto', 'cpu', 'cuda' or 'cuda:0'."
        ) from error


def _local_directory(model: str) -> Path | None:
    """The directory that `model` names, or None for a hub id such as `owner/name`."""
    path = Path(model).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise ModelLoadError(
            f"{model} is a file, not a model directory.",
            remedy="Give the directory that holds config.json and the *.safetensors files.",
        )
    if path.is_absolute() or model.startswith(("./", "../", "~")) or model.count("/") > 1:
        raise ModelLoadError(
            f"There is no model directory {model}.",
            remedy="Check the path, or give a hub id of the form owner/name.",
        )
    return None


def _check_directory(directory: Path) -> None:
    if not (directory / "config.json").is_file():
        raise ModelLoadError(
            f"{directory} holds no config.json, so it is no model directory.",
            remedy="Give a directory written by save_pretrained.",
        )
    if any(directory.glob("*.safetensors")):
        return
    if any(path for pattern in _PICKLES for path in directory.glob(pattern)):
        raise ModelLoadError(
            f"{directory} holds pickled weights only, and unpickling can run arbitrary code.",
            remedy="Convert them on a trusted machine: save_pretrained writes safetensors.",
        )
    raise ModelLoadError(
        f"{directory} holds no weights.",
        remedy="Add the model's *.safetensors files.",
    )


def _load_processor(source: str, origin: dict[str, Any]) -> ProcessorMixin:
    try:
        processor = AutoProcessor.from_pretrained(source, **origin)  # type: ignore[no-untyped-call]
    except _FAULTS as error:
        raise ModelLoadError(
            f"The processor of {source} cannot be loaded: {_short(error)}",
            remedy="The model needs its processor, image processor and tokenizer files.",
        ) from error
    if not (isinstance(processor, ProcessorMixin) and hasattr(processor, "image_processor")):
        raise ModelLoadError(
            f"{source} has no processor for images and text; it gave {type(processor).__name__}.",
            remedy="Use an image-text-to-text model with its processor files.",
        )
    tokenizer = processor.tokenizer
    if not (processor.chat_template or tokenizer.chat_template):
        raise ModelLoadError(
            f"{source} has no chat template.",
            remedy="Use the chat version of the model, or add a chat_template.jinja file.",
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return processor


def _load_weights(source: str, origin: dict[str, Any], dtype: str) -> PreTrainedModel:
    try:
        loaded: Any = AutoModelForImageTextToText.from_pretrained(
            source,
            **origin,
            use_safetensors=True,
            dtype=dtype if dtype == "auto" else getattr(torch, dtype),
            output_loading_info=True,
        )
    except _FAULTS as error:
        raise ModelLoadError(
            f"The model {source} cannot be loaded: {_short(error)}",
            remedy="Use an image-text-to-text model of transformers with safetensors weights.",
        ) from error
    model, info = loaded
    problems = [
        f"{kind.replace('_', ' ')}: {', '.join(sorted(str(key) for key in info[kind])[:5])}"
        for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")
        if info[kind]
    ]
    if problems:
        raise ModelLoadError(
            f"The weights of {source} do not fit its architecture ({'; '.join(problems)}).",
            remedy="Get the complete checkpoint, in the version of its config.json.",
        )
    return model  # type: ignore[no-any-return]


def _short(error: BaseException) -> str:
    """The first paragraph of an error of transformers, which can be pages long."""
    text = str(error).strip() or type(error).__name__
    return " ".join(text.split("\n\n")[0].split())[:400]
