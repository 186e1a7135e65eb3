"""Where an encoder comes from: its folder, its weights and its tokenizer, all of them on the disk.

open_clip's names lead to repositories of the hub: `hf-hub:OWNER/NAME` and most pairs of a name and
a pretrained tag. Their files are fetched first, at the revision that the config pins, and are then
loaded from there, so open_clip and transformers fetch nothing by themselves.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import open_clip
from open_clip.tokenizer import DEFAULT_CONTEXT_LENGTH, HFTokenizer
from open_clip.transform import PreprocessCfg, merge_preprocess_dict

from guardalign_middleware.config import EncoderConfig
from guardalign_middleware.detection.encoder_config import CONFIG, read_encoder_config
from guardalign_middleware.errors import ConfigError, ModelLoadError
from guardalign_middleware.model_folder import checked_files
from guardalign_middleware.model_folder.hub import fetch
from guardalign_middleware.preset_files import LOCAL_DIR, is_file_name
from guardalign_middleware.provenance import check_pins, digest_files
from guardalign_middleware.strict import Malformed, is_folder, is_regular, read_bytes

HUB = "hf-hub:"
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors")
TOKENIZER = (
    "added_tokens.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
    "*.model",
)
_PICKLES = (".bin", ".pt", ".pth", ".npz", ".npy")


@dataclass(frozen=True)
class HubPlace:
    """What an encoder needs of a repository of the hub.

    Attributes:
        repository: `owner/name`.
        patterns: its files that are needed.
    """

    repository: str
    patterns: tuple[str, ...]


@dataclass(frozen=True)
class EncoderSource:
    """An encoder on the disk, checked and ready to be loaded.

    Attributes:
        model: the name for open_clip: one of its own, or `local-dir:FOLDER`.
        weights: the weight file.
        settings: open_clip's settings of the towers.
        preprocess: settings of the input that open_clip would not find by `model`.
        tokenizer: the folder of its tokenizer; None = open_clip's own, or that of `model`.
    """

    model: str
    weights: Path
    settings: Mapping[str, Any]
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    tokenizer: Path | None = None

    def create(self) -> Any:
        """The model with its weights, by open_clip."""
        own_name = not self.model.startswith(LOCAL_DIR)
        return open_clip.create_model(
            self.model,
            pretrained=str(self.weights) if own_name else None,
            precision="fp32",
            device="cpu",
            force_preprocess_cfg=dict(self.preprocess) or None,
            require_pretrained=True,
        )

    def create_tokenizer(self) -> Any:
        """The tokenizer, by open_clip."""
        text = self.settings.get("text_cfg", {})
        if self.tokenizer is not None:
            # By its name, open_clip would ask the hub.
            return HFTokenizer(
                str(self.tokenizer),
                context_length=text.get("context_length", DEFAULT_CONTEXT_LENGTH),
                tokenizer_mode=text.get("tokenizer_mode"),
                trust_remote_code=False,
                local_files_only=True,
                **text.get("tokenizer_kwargs", {}),
            )
        # Otherwise transformers asks at the terminal whether to run a tokenizer's own code.
        safe = {"trust_remote_code": False} if text.get("hf_tokenizer_name") else {}
        return open_clip.get_tokenizer(self.model, **safe)


def hub_places(config: EncoderConfig) -> tuple[HubPlace, ...]:
    """The repositories of the hub that an encoder is loaded from, the one of the weights first.

    Raises:
        ModelLoadError: open_clip has no such weights.
    """
    if config.model.startswith(LOCAL_DIR):
        return ()
    if config.model.startswith(HUB):
        return (HubPlace(config.model.removeprefix(HUB), (*WEIGHTS, CONFIG, *TOKENIZER)),)
    if config.pretrained is not None and is_file_name(config.pretrained):
        return _tokenizer_place(config.model)
    repository, name = _repository(config)
    weights = (f"{os.path.splitext(name)[0]}.safetensors",) if name else WEIGHTS
    return (HubPlace(repository, weights), *_tokenizer_place(config.model))


def open_encoder(config: EncoderConfig) -> EncoderSource:
    """Find an encoder's files, fetch what is missing from the hub, and check them.

    Raises:
        ModelLoadError: there is no such encoder, its weights are pickled, or a file is refused or
            is not the pinned one.
        ConfigError: the file that describes it is damaged, or names a file or a model elsewhere.
    """
    if config.model.startswith(LOCAL_DIR):
        source = _of_folder(Path(config.model.removeprefix(LOCAL_DIR)), config.model)
    elif config.model.startswith(HUB):
        source = _of_repository(config)
    else:
        source = _of_open_clip(config)
    _check_pins(source, config)
    _check_tokenizer(source, config)
    return source


def _of_folder(folder: Path, name: str) -> EncoderSource:
    if not is_folder(folder):
        raise ModelLoadError(
            f"There is no model directory {folder}.",
            remedy="Check encoder.model; it should be local-dir:PATH.",
        )
    weights = _weights_in(folder, WEIGHTS)
    return EncoderSource(f"{LOCAL_DIR}{folder}", weights, _settings(folder, name, complete=True))


def _of_repository(config: EncoderConfig) -> EncoderSource:
    (place,) = hub_places(config)
    folder = _fetched(config, place, config.revision)
    weights = _weights_in(folder, WEIGHTS)
    settings = _settings(folder, config.model, complete=False)
    named = settings["text_cfg"].get("hf_tokenizer_name")
    tokenizer = None
    if named and not _has_tokenizer(folder):
        tokenizer = _fetched(config, HubPlace(named, TOKENIZER), tokenizer_revision(config))
    return EncoderSource(f"{LOCAL_DIR}{folder}", weights, settings, tokenizer=tokenizer)


def _of_open_clip(config: EncoderConfig) -> EncoderSource:
    settings = open_clip.get_model_config(config.model)
    if settings is None:
        raise ModelLoadError(
            f"open_clip has no encoder {config.model!r}.", remedy="See open_clip.list_models()."
        )
    places = list(hub_places(config))
    if config.pretrained is not None and is_file_name(config.pretrained):
        repository, preprocess = None, {}
        weights = _safetensors(Path(config.pretrained), config.model)
    else:
        place = places.pop(0)
        repository, preprocess = place.repository, _preprocess(config, settings)
        weights = _weights_in(_fetched(config, place, config.revision), place.patterns)
    tokenizer = None
    for place in places:
        own = place.repository != repository
        tokenizer = _fetched(config, place, tokenizer_revision(config) if own else config.revision)
    return EncoderSource(config.model, weights, settings, preprocess, tokenizer)


def tokenizer_revision(config: EncoderConfig) -> str | None:
    """The commit of a tokenizer that lies in a repository of its own; None = the newest."""
    return config.tokenizer.revision if config.tokenizer is not None else None


def _fetched(config: EncoderConfig, place: HubPlace, revision: str | None) -> Path:
    folder = fetch(
        place.repository, revision, place.patterns, local_files_only=config.local_files_only
    )
    checked_files(folder)
    return folder


def _repository(config: EncoderConfig) -> tuple[str, str]:
    """The repository of a pretrained tag, and the file in it where the tag names one."""
    if config.pretrained is None:
        raise ModelLoadError(
            f"encoder.pretrained is missing for {config.model!r}; its weights would be random.",
            remedy="Name a pretrained tag or a .safetensors file.",
        )
    tag = open_clip.get_pretrained_cfg(config.model, config.pretrained)
    if not tag:
        raise ModelLoadError(
            f"open_clip has no weights {config.pretrained!r} for {config.model!r}.",
            remedy="See open_clip.list_pretrained().",
        )
    if not tag.get("hf_hub"):
        raise ModelLoadError(
            f"The weights {config.pretrained!r} of {config.model!r} are published as a pickle "
            "only, which can run code when opened.",
            remedy="Choose a pretrained tag that is published as safetensors.",
        )
    repository, name = os.path.split(tag["hf_hub"])
    return repository, name


def _tokenizer_place(model: str) -> tuple[HubPlace, ...]:
    settings = open_clip.get_model_config(model) or {}
    named = settings.get("text_cfg", {}).get("hf_tokenizer_name")
    return (HubPlace(named, TOKENIZER),) if named else ()


def _preprocess(config: EncoderConfig, settings: Mapping[str, Any]) -> dict[str, Any]:
    """How the weights of a tag want their input, which open_clip knows by the tag only."""
    tag = open_clip.get_pretrained_cfg(config.model, config.pretrained)
    if bool(tag.get("quick_gelu")) != bool(settings.get("quick_gelu")):
        raise ModelLoadError(
            f"QuickGELU mismatch: the weights {config.pretrained!r} were trained with another "
            f"activation than {config.model!r} has.",
            remedy="Use the name with -quickgelu, or without it.",
        )
    own: dict[str, Any] = merge_preprocess_dict(PreprocessCfg(), tag)
    del own["size"]  # that of the tower
    return own


def _weights_in(folder: Path, names: Sequence[str]) -> Path:
    files = checked_files(folder)
    for name in names:
        if folder / name in files:
            return folder / name
    pickles = sorted(path.name for path in files if path.suffix in _PICKLES)
    found = f" Only {', '.join(pickles)}, which can run code when opened." if pickles else ""
    raise ModelLoadError(
        f"{folder} has no {names[0]}.{found}",
        remedy="Choose an encoder that is published as safetensors, or save its weights with "
        "safetensors.torch.save_file under that name.",
    )


def _safetensors(path: Path, model: str) -> Path:
    if path.suffix == ".safetensors" and not is_regular(path):
        raise ModelLoadError(
            f"The weights of {model!r} are missing: there is no file {path}.",
            remedy="Check encoder.pretrained; in a preset, it is relative to the preset's file.",
        )
    if path.suffix != ".safetensors":
        raise ModelLoadError(
            f"The weights of {model!r} are {path.name}, not a safetensors file.",
            remedy="Choose a pretrained tag that is published as safetensors.",
        )
    return path


def _has_tokenizer(folder: Path) -> bool:
    return any(is_regular(folder / name) for name in TOKENIZER)


def _settings(folder: Path, model: str, *, complete: bool) -> dict[str, Any]:
    """Check the file that describes an encoder before open_clip reads it.

    open_clip's own descriptions, of encoders that are named without a folder or repository, are
    part of the package.
    """
    path = folder / CONFIG
    try:
        data = read_bytes(path)
        if b"trust_remote_code" in data:
            raise ModelLoadError(
                f"The configuration of {model!r} asks for remote code, which is never run.",
                remedy="Remove trust_remote_code and keep the tokenizer in the folder.",
            )
        return read_encoder_config(data, folder=complete)
    except Malformed as error:
        raise ConfigError(
            f"The encoder's {path} is refused: {error}.",
            remedy="Get the encoder's own file again.",
        ) from error


def _check_pins(source: EncoderSource, config: EncoderConfig) -> None:
    pins = config.sha256
    if pins is None:
        return
    if isinstance(pins, str):
        pins = {source.weights.name: pins}
    folder = source.weights.parent
    others = filter(is_regular, (folder / name for name in pins))
    check_pins(digest_files({source.weights, *others}), pins, config.model)


def _check_tokenizer(source: EncoderSource, config: EncoderConfig) -> None:
    pin, folder = config.tokenizer, source.tokenizer
    if pin is None:
        return
    if folder is None or folder == source.weights.parent:
        raise ConfigError(
            f"encoder.tokenizer pins a repository that {config.model!r} has none of: its tokenizer "
            "comes with the weights or with open_clip.",
            remedy="Remove encoder.tokenizer; encoder.sha256 takes the files beside the weights.",
        )
    # transformers reads those in the folder itself; one of that name below it is another file.
    found = [path for path in checked_files(folder) if path.parent == folder]
    files = [path for path in found if any(map(path.match, TOKENIZER))]
    check_pins(digest_files(files), pin.sha256, f"the tokenizer of {config.model}")
