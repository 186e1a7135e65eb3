"""Loading a model safely and completely.

Weights are read from safetensors only, and remote code is never executed. A checkpoint that does
not fit its architecture exactly is refused, because transformers fills gaps with random weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    PreTrainedModel,
    ProcessorMixin,
)
from transformers.quantizers.auto import AutoQuantizationConfig

from guardalign_middleware.config import RunnerConfig
from guardalign_middleware.errors import ModelLoadError
from guardalign_middleware.generation.prompt.template_check import (
    check_template,
    choose_template,
    special_tokens,
)
from guardalign_middleware.model_folder import loading_faults
from guardalign_middleware.model_folder.source import open_source, pinned_weights
from guardalign_middleware.provenance import Provenance

# Everything is in the folder by now, and its own code is never run.
_SAFE: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}


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
    source = open_source(config, weights=True)
    provenance = pinned_weights(source, config)
    processor = _load_processor(source.folder)
    model = _load_weights(source.folder, config)
    _keep_soft_cap(model)
    device = _place(model, config)
    model.eval()  # type: ignore[no-untyped-call]
    return LoadedModel(provenance.model, model, processor, device, provenance)


def load_processor(config: RunnerConfig) -> ProcessorMixin:
    """Load the processor of a model and nothing else of it, from where the model comes.

    Raises:
        ModelLoadError: the model is missing, or has no processor for chats about pictures.
    """
    return _load_processor(open_source(config, weights=False).folder)


def pick_device(name: str) -> torch.device:
    """The torch device of that name; `auto` prefers CUDA, then MPS, then the CPU.

    Raises:
        ModelLoadError: torch knows no such device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    remedy = "Use 'auto', 'cpu', 'cuda' or 'cuda:0'."
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelLoadError(f"{name!r} is not a device of torch.", remedy=remedy) from error
    if device.type == "meta":
        raise ModelLoadError("The device 'meta' computes nothing.", remedy=remedy)
    return device


def _load_processor(source: Path) -> ProcessorMixin:
    with loading_faults(
        f"The processor of {source}",
        "The model needs its processor, image processor and tokenizer files.",
    ):
        processor = AutoProcessor.from_pretrained(str(source), **_SAFE)  # type: ignore[no-untyped-call]
    parts = ("image_processor", "tokenizer")
    if not (isinstance(processor, ProcessorMixin) and all(hasattr(processor, p) for p in parts)):
        raise ModelLoadError(
            f"{source} has no processor for images and text; it gave {type(processor).__name__}.",
            remedy="Use an image-text-to-text model with its processor files.",
        )
    tokenizer = processor.tokenizer
    template = choose_template(processor, str(source))
    check_template(template, special_tokens(processor))
    if not processor.chat_template:
        processor.chat_template = template
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return processor


def _load_weights(source: Path, config: RunnerConfig) -> PreTrainedModel:
    options: dict[str, Any] = {
        "dtype": config.dtype if config.dtype == "auto" else getattr(torch, config.dtype),
        "device_map": config.device_map,
    }
    if config.quantization is not None:
        if config.device_map is None:
            # Quantized weights cannot be moved afterwards.
            options["device_map"] = {"": str(pick_device(config.device))}
        options["quantization_config"] = _quantization(config.quantization)
    with loading_faults(
        f"The model {source}",
        "Use an image-text-to-text model of transformers with safetensors weights; "
        "device_map and quantization need packages of their own, such as accelerate.",
    ):
        loaded: Any = AutoModelForImageTextToText.from_pretrained(
            str(source),
            **_SAFE,
            **options,
            use_safetensors=True,
            output_loading_info=True,
        )
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
    with loading_faults(
        f"The quantization {options}",
        "Give quant_method and its options, as in {quant_method: bitsandbytes, "
        "load_in_4bit: true}, and install the package behind it.",
    ):
        return AutoQuantizationConfig.from_dict(dict(options))


def _place(model: PreTrainedModel, config: RunnerConfig) -> torch.device:
    """Move the model to its device unless it was loaded there; returns its inputs' device."""
    if config.device_map is not None or config.quantization is not None:
        embeddings: Any = model.get_input_embeddings()
        return torch.device(embeddings.weight.device)
    device = pick_device(config.device)
    try:
        model.to(device)  # type: ignore[arg-type]
    except (RuntimeError, AssertionError) as error:  # a torch built without CUDA asserts
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
