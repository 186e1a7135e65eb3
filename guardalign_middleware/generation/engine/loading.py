"""Loading a model safely and completely.

Weights are read from safetensors only, and remote code is never executed. A checkpoint that does
not fit its architecture exactly is refused, because transformers fills gaps with random weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import hf_hub_download, snapshot_download
from safetensors import SafetensorError
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    PreTrainedModel,
    ProcessorMixin,
)
from transformers.quantizers.auto import AutoQuantizationConfig

from guardalign_middleware.config import RunnerConfig
from guardalign_middleware.errors import ModelLoadError
from guardalign_middleware.provenance import Provenance, WeightFile, check_pins, digests, note_files

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_FAULTS = (OSError, ValueError, RuntimeError, KeyError, TypeError, ImportError, SafetensorError)


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model in evaluation mode on its device, with the processor that belongs to it.

    `provenance` names the weight files; None for a model that was not loaded from files.
    """

    name: str
    model: PreTrainedModel
    processor: ProcessorMixin
    device: torch.device
    provenance: Provenance | None = None


def load_model(config: RunnerConfig) -> LoadedModel:
    """Load a local directory or a hub id.

    Pinned weight files are hashed and compared before they are opened. Others are only listed, and
    hashed when `provenance.files` is read.

    Raises:
        ModelLoadError: the model is missing, unsafe or incomplete; the error names the remedy.
    """
    directory, source, origin = _origin(config)
    weights: tuple[WeightFile, ...] = ()
    if directory is not None:
        weights = note_files(directory.glob("*.safetensors"))
    elif config.sha256:
        weights = note_files(_from_hub(config))
    _check_pins(weights, config)
    processor = _load_processor(source, origin)
    model = _load_weights(source, origin, config)
    _keep_soft_cap(model)
    device = _place(model, config)
    if directory is not None:
        provenance = Provenance(directory.name, None, weights)
    else:
        snapshot = _snapshot(config)
        weights = note_files(snapshot.glob("*.safetensors"), known=weights)
        _check_pins(weights, config)
        provenance = Provenance(config.model, snapshot.name, weights)
    model.eval()  # type: ignore[no-untyped-call]
    return LoadedModel(provenance.model, model, processor, device, provenance)


def load_processor(config: RunnerConfig) -> ProcessorMixin:
    """Load the processor of a model and nothing else of it, from where the model comes.

    Raises:
        ModelLoadError: the model is missing, or has no processor for chats about pictures.
    """
    _, source, origin = _origin(config)
    return _load_processor(source, origin)


def _origin(config: RunnerConfig) -> tuple[Path | None, str, dict[str, Any]]:
    """The model's directory if it has one, what to load, and options that keep loading safe."""
    directory = _local_directory(config.model)
    if directory is not None:
        _check_directory(directory)
    origin: dict[str, Any] = {
        "revision": config.revision,
        "local_files_only": config.local_files_only or directory is not None,
        "trust_remote_code": False,
    }
    return directory, config.model if directory is None else str(directory), origin


def _check_pins(weights: tuple[WeightFile, ...], config: RunnerConfig) -> None:
    if config.sha256:
        check_pins(digests(weights), config.sha256, config.model)


def pick_device(name: str) -> torch.device:
    """The torch device of that name; `auto` prefers CUDA, then MPS, then the CPU.

    Raises:
        ModelLoadError: torch knows no such device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise ModelLoadError(
            f"{name!r} is not a device of torch.", remedy="Use 'auto', 'cpu', 'cuda' or 'cuda:0'."
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


def _from_hub(config: RunnerConfig) -> list[Path]:
    """The pinned files, downloaded or cached, at the paths that transformers uses."""
    try:
        return [
            Path(
                hf_hub_download(
                    config.model,
                    name,
                    revision=config.revision,
                    local_files_only=config.local_files_only,
                )
            )
            for name in config.sha256
        ]
    except _FAULTS as error:
        raise ModelLoadError(
            f"The pinned weights of {config.model} cannot be fetched: {_short(error)}",
            remedy="Check runner.sha256, the revision and the network, or fill the cache.",
        ) from error


def _snapshot(config: RunnerConfig) -> Path:
    """The cache folder of a hub model that was just loaded; its name is the commit."""
    try:
        folder = snapshot_download(config.model, revision=config.revision, local_files_only=True)
    except _FAULTS as error:
        raise ModelLoadError(
            f"The files of {config.model} cannot be found again: {_short(error)}",
            remedy="Download the model into a directory and name that.",
        ) from error
    return Path(folder)


def _check_directory(directory: Path) -> None:
    if not (directory / "config.json").is_file():
        raise ModelLoadError(
            f"{directory} holds no config.json, so it is not a model directory.",
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


def _load_weights(source: str, origin: dict[str, Any], config: RunnerConfig) -> PreTrainedModel:
    options: dict[str, Any] = {
        "dtype": config.dtype if config.dtype == "auto" else getattr(torch, config.dtype),
        "device_map": config.device_map,
    }
    if config.quantization is not None:
        if config.device_map is None:
            # Quantized weights cannot be moved afterwards.
            options["device_map"] = {"": str(pick_device(config.device))}
        options["quantization_config"] = _quantization(config.quantization)
    try:
        loaded: Any = AutoModelForImageTextToText.from_pretrained(
            source,
            **origin,
            **options,
            use_safetensors=True,
            output_loading_info=True,
        )
    except _FAULTS as error:
        raise ModelLoadError(
            f"The model {source} cannot be loaded: {_short(error)}",
            remedy="Use an image-text-to-text model of transformers with safetensors weights; "
            "device_map and quantization need packages of their own, such as accelerate.",
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


def _quantization(options: dict[str, Any]) -> Any:
    try:
        return AutoQuantizationConfig.from_dict(dict(options))
    except _FAULTS as error:
        raise ModelLoadError(
            f"transformers does not know the quantization {options}: {_short(error)}",
            remedy="Give quant_method and its options, as in {quant_method: bitsandbytes, "
            "load_in_4bit: true}, and install the package behind it.",
        ) from error


def _place(model: PreTrainedModel, config: RunnerConfig) -> torch.device:
    """Move the model to its device unless it was loaded there; returns its inputs' device."""
    if config.device_map is not None or config.quantization is not None:
        embeddings: Any = model.get_input_embeddings()
        return torch.device(embeddings.weight.device)
    device = pick_device(config.device)
    try:
        model.to(device)  # type: ignore[arg-type]
    except RuntimeError as error:
        raise ModelLoadError(
            f"The model {config.model} cannot be moved to {device}: {error}.",
            remedy="Choose another device in the runner's config.",
        ) from error
    return device


def _keep_soft_cap(model: PreTrainedModel) -> None:
    """Run a decoder with a soft cap on its own eager attention, because SDPA ignores the cap."""
    text: Any = model.config.get_text_config()
    if getattr(text, "attn_logit_softcapping", None) is not None:
        decoder: Any = model.get_decoder()  # type: ignore[no-untyped-call]
        decoder.set_attn_implementation("eager")


def _short(error: BaseException) -> str:
    """The first paragraph of an error message; those of transformers can be pages long."""
    text = str(error).strip() or type(error).__name__
    return " ".join(text.split("\n\n")[0].split())[:400]
