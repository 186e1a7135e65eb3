"""Loading an open_clip model safely: its folder or tag, safetensors weights and tokenizer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.pretrained import download_pretrained, get_pretrained_cfg
from safetensors import SafetensorError
from torch import Tensor, nn

from guardalign_middleware.config import EncoderConfig
from guardalign_middleware.errors import ModelLoadError

CONFIG_NAME = "open_clip_config.json"
_LOCAL = "local-dir:"
_WEIGHT_NAMES = ("open_clip_model.safetensors", "model.safetensors")
_PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".npz"}
_LOAD_FAULTS = (
    OSError,
    ValueError,
    RuntimeError,
    KeyError,
    TypeError,
    AttributeError,
    AssertionError,
    SafetensorError,
)


@dataclass(frozen=True, eq=False)
class LoadedClip:
    """An open_clip model in evaluation mode, and what its embeddings depend on."""

    model: nn.Module
    tokenizer: Callable[[list[str]], Tensor]
    device: torch.device
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    model_facts: dict[str, Any]
    weights_sha256: str
    tokenizer_sha256: str


def load_clip(config: EncoderConfig) -> LoadedClip:
    """Build the model a configuration names and fill in every weight.

    `local-dir:PATH` is a folder with `open_clip_config.json`, one `.safetensors` file and, for a
    Hugging Face tokenizer, its files. Any other name is one of open_clip's with `pretrained` as a
    tag or as the path of a `.safetensors` file. Pickles are never opened.

    Raises:
        ModelLoadError: something is missing, incomplete, unsafe or does not fit together.
    """
    device = _device(config.device)
    if config.model.startswith(_LOCAL):
        folder = Path(config.model.removeprefix(_LOCAL))
        facts = _folder_config(folder)
        weights = _folder_weights(folder)
        extra: dict[str, Any] = {"load_weights": False}
    else:
        folder = None
        weights, tag = _named_weights(config)
        facts = {"name": config.model, "tag": tag}
        extra = _tag_options(config, tag)
    with _as_load_error(config.model):
        model: nn.Module = open_clip.create_model(
            config.model, precision="fp32", device="cpu", pretrained_image=False, **extra
        )
        open_clip.load_checkpoint(model, str(weights), strict=True)
        tokenizer = open_clip.get_tokenizer(config.model)
    if config.precision == "bf16":
        model = model.to(torch.bfloat16)
    model = model.to(device).eval().requires_grad_(False)
    preprocess = open_clip.get_model_preprocess_cfg(model)
    size = preprocess["size"]
    side = size if isinstance(size, int) else size[0]
    if not isinstance(size, int) and len(set(size)) != 1:
        raise ModelLoadError(f"{config.model} takes images of {size}; they should be square.")
    return LoadedClip(
        model=model,
        tokenizer=tokenizer,
        device=device,
        image_size=side,
        mean=tuple(map(float, preprocess["mean"])),
        std=tuple(map(float, preprocess["std"])),
        model_facts=facts,
        weights_sha256=_sha256(weights),
        tokenizer_sha256=_tokenizer_sha256(folder),
    )


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ModelLoadError(
            f"The device {name!r} cannot be used: {error}.", remedy="Use auto, cpu or cuda."
        ) from error
    return device


def _folder_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG_NAME
    if not folder.is_dir():
        raise ModelLoadError(
            f"There is no encoder folder {folder}.",
            remedy="Correct detection.encoder.model, or train the encoder first.",
        )
    if not path.is_file():
        raise ModelLoadError(
            f"The encoder folder {folder} has no {CONFIG_NAME}.",
            remedy="Save the model in open_clip's local-dir layout.",
        )
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        text = facts["model_cfg"]["text_cfg"]
        facts["model_cfg"]["vision_cfg"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelLoadError(
            f"{path} is no open_clip configuration: {error!r}.",
            remedy="It should hold model_cfg with vision_cfg and text_cfg.",
        ) from error
    if "trust_remote_code" in json.dumps(text):
        raise ModelLoadError(
            f"{path} asks for remote code, which is never run.",
            remedy="Remove trust_remote_code and keep the tokenizer in the folder.",
        )
    return {"model_cfg": facts["model_cfg"], "preprocess_cfg": facts.get("preprocess_cfg", {})}


def _folder_weights(folder: Path) -> Path:
    found = sorted(folder.glob("*.safetensors"))
    if len(found) == 1:
        return found[0]
    for name in _WEIGHT_NAMES:
        if folder / name in found:
            return folder / name
    if found:
        raise ModelLoadError(
            f"The encoder folder {folder} has several weight files: "
            f"{', '.join(path.name for path in found)}.",
            remedy=f"Keep one, or name it {_WEIGHT_NAMES[0]}.",
        )
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES)
    reason = f" ({', '.join(pickles)} could run code when opened)" if pickles else ""
    raise ModelLoadError(
        f"The encoder folder {folder} has no .safetensors weights{reason}.",
        remedy="Put the weights there as .safetensors; pickles are refused.",
    )


def _named_weights(config: EncoderConfig) -> tuple[Path, dict[str, Any]]:
    if open_clip.get_model_config(config.model) is None or ":" in config.model:
        raise ModelLoadError(
            f"open_clip has no model named {config.model!r}.",
            remedy="Use a name from open_clip.list_models(), or local-dir:PATH.",
        )
    if config.pretrained is None:
        raise ModelLoadError(
            f"{config.model} needs pretrained weights.",
            remedy="Set detection.encoder.pretrained to a tag or a .safetensors file.",
        )
    tag = dict(get_pretrained_cfg(config.model, config.pretrained))
    if not tag:
        path = Path(config.pretrained)
        if not path.is_file():
            tags = ", ".join(open_clip.list_pretrained_tags_by_model(config.model))
            raise ModelLoadError(
                f"{config.pretrained!r} is neither weights of {config.model} nor a file.",
                remedy=f"Use one of: {tags}; or the path of a .safetensors file.",
            )
    elif not tag.get("hf_hub"):
        raise ModelLoadError(
            f"The weights {config.pretrained!r} of {config.model} exist only as a pickle, which "
            "could run code when opened.",
            remedy="Choose another tag, or convert them to .safetensors and give their path.",
        )
    else:
        with _as_load_error(f"{config.model} ({config.pretrained})"):
            path = Path(download_pretrained(tag))
    if path.suffix != ".safetensors":
        raise ModelLoadError(
            f"The weights {path.name} are no .safetensors file; pickles are refused.",
            remedy="Convert them to .safetensors and give their path.",
        )
    return path, tag


def _tag_options(config: EncoderConfig, tag: dict[str, Any]) -> dict[str, Any]:
    """Activation and preprocessing that the weights were trained with."""
    built = open_clip.get_model_config(config.model) or {}
    if tag and built.get("quick_gelu", False) and not tag.get("quick_gelu", False):
        raise ModelLoadError(
            f"{config.model} has another activation than the weights {config.pretrained!r}.",
            remedy="Use the model name without -quickgelu.",
        )
    kept = ("mean", "std", "interpolation", "resize_mode")
    return {
        "force_quick_gelu": bool(tag.get("quick_gelu", False)),
        "force_preprocess_cfg": {key: tag[key] for key in kept if key in tag},
    }


@contextmanager
def _as_load_error(what: str) -> Iterator[None]:
    """Turn what the libraries raise on a bad model into one typed error."""
    try:
        yield
    except _LOAD_FAULTS as error:
        raise ModelLoadError(
            f"Cannot load the encoder {what}: {error}",
            remedy="Check that its files are complete and belong together.",
        ) from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tokenizer_sha256(folder: Path | None) -> str:
    if folder is None or not (folder / "tokenizer.json").is_file():
        return ""
    return _sha256(folder / "tokenizer.json")
