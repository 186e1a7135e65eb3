"""The files of an encoder: which weights it loads, what it refuses to open, its fingerprint."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.pretrained import download_pretrained_from_hf

from guardalign_middleware.config import EncoderConfig
from guardalign_middleware.detection.encoder_config import CONFIG, read_encoder_config
from guardalign_middleware.detection.quantized import RECIPE
from guardalign_middleware.errors import ConfigError, ModelLoadError
from guardalign_middleware.model_folder import checked_files
from guardalign_middleware.preset_files import LOCAL_DIR
from guardalign_middleware.strict import Malformed, is_folder, is_regular, read_bytes

_HUB = "hf-hub:"
_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors")
_PICKLES = (".bin", ".pt", ".pth", ".npz", ".npy")


def safetensors_file(config: EncoderConfig) -> Path:
    """The weight file of an encoder, without opening it.

    Raises:
        ModelLoadError: there is none, or the weights are a pickle.
    """
    if config.model.startswith(LOCAL_DIR):
        folder = Path(config.model.removeprefix(LOCAL_DIR))
        if not is_folder(folder):
            raise ModelLoadError(
                f"There is no model directory {folder}.",
                remedy="Check encoder.model; it should be local-dir:PATH.",
            )
        files = checked_files(folder)
        for name in _WEIGHTS:
            if folder / name in files:
                return folder / name
        pickles = sorted(p.name for p in files if p.suffix in _PICKLES)
        found = f" Only {', '.join(pickles)}, which can run code when opened." if pickles else ""
        raise ModelLoadError(
            f"{folder} has no {_WEIGHTS[0]}.{found}",
            remedy="Save the weights with safetensors.torch.save_file under that name.",
        )
    if config.model.startswith(_HUB):
        path = download_pretrained_from_hf(config.model.removeprefix(_HUB))
    elif config.pretrained is None:
        raise ModelLoadError(
            f"encoder.pretrained is missing for {config.model!r}; its weights would be random.",
            remedy="Name a pretrained tag or a .safetensors file.",
        )
    elif Path(config.pretrained).suffix:
        path = config.pretrained
    else:
        tag = open_clip.get_pretrained_cfg(config.model, config.pretrained)
        if not tag:
            raise ModelLoadError(
                f"open_clip has no weights {config.pretrained!r} for {config.model!r}.",
                remedy="See open_clip.list_pretrained().",
            )
        path = open_clip.download_pretrained(tag, prefer_hf_hub=True)
    if Path(path).suffix != ".safetensors" or not is_regular(path):
        raise ModelLoadError(
            f"The weights of {config.model!r} are {Path(path).name}, not a safetensors file.",
            remedy="Choose a pretrained tag that is published as safetensors.",
        )
    return Path(path)


def check_config(config: EncoderConfig) -> None:
    """Check the file that describes an encoder before open_clip reads it.

    open_clip's own descriptions, of encoders that are named without a folder or repository, are
    part of the package.

    Raises:
        ConfigError: the file is damaged, out of range, or names a file or a model elsewhere.
        ModelLoadError: it asks for remote code, which open_clip would pass on to transformers.
    """
    if config.model.startswith(LOCAL_DIR):
        path = Path(config.model.removeprefix(LOCAL_DIR)) / CONFIG
    elif config.model.startswith(_HUB):
        path = Path(download_pretrained_from_hf(config.model.removeprefix(_HUB), filename=CONFIG))
    else:
        return
    try:
        data = read_bytes(path)
        if b"trust_remote_code" in data:
            raise ModelLoadError(
                f"The configuration of {config.model!r} asks for remote code, which is never run.",
                remedy="Remove trust_remote_code and keep the tokenizer in the folder.",
            )
        read_encoder_config(data, folder=config.model.startswith(LOCAL_DIR))
    except Malformed as error:
        raise ConfigError(
            f"The encoder's {path} is refused: {error}.",
            remedy="Get the encoder's own file again.",
        ) from error


def fingerprint(model: torch.nn.Module, tokenizer: Any, config: EncoderConfig) -> str:
    """Digest of weights, preprocessing, vocabulary, templates and precision."""
    digest = hashlib.sha256()
    record = {
        "preprocess": open_clip.get_model_preprocess_cfg(model),
        "model_cfg": open_clip.get_model_config(config.model),
        "templates": config.templates,
        "precision": config.precision,
    }
    if config.precision == "int8":
        record["quantization"] = RECIPE
    digest.update(json.dumps(record, sort_keys=True).encode())
    inner = getattr(tokenizer, "tokenizer", None)
    if inner is not None:
        digest.update(json.dumps(inner.get_vocab(), sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
