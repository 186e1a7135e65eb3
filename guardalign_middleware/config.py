"""The whole configuration as frozen pydantic models; a preset is one YAML file.

`GuardAlignConfig.load("mini")` reads `presets/mini.yaml`; it also takes the path of a YAML file.
Relative paths inside a YAML file are relative to that file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.preset_files import (
    EncoderName,
    ModelName,
    PresetPath,
    find_preset,
    read_preset,
)
from guardalign_middleware.safety_prefixes import OWN, PREFIXES

ImageFormat = Literal["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF"]
"""Formats that intake can decode; readers that start other programs are not among them."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

ViewName = Literal["as_is", "shifted", "mirrored", "softened"]
"""A way for the detector to look at a picture; see `DefenceConfig`."""

Precision = Literal["fp32", "bf16", "int8"]
"""Number format in which an encoder computes."""

ColourLevel = Annotated[int, Field(ge=0, le=255)]

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
# A last label of decimal or hexadecimal digits would make the name an address in disguise.
_NO_NUMBER = r"(?=[a-z0-9_-]*[a-z_])(?!0x[0-9a-f]*(?:$|:))"
_HOST = re.compile(rf"(?:{_LABEL}\.)*{_NO_NUMBER}{_LABEL}(?::\d{{1,5}})?")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class IntakePolicy(_Frozen):
    """Which inputs are accepted as pictures. Caps are checked before pixels are decoded.

    With `frames="scan_all"`, every frame of an animation or a multi-page file is read; the whole
    file is refused if any frame exceeds a cap. In a message, each frame becomes an image of its
    own; `ImageGuard.scan` returns the verdict on the worst frame. `load_image` and
    `ImageGuard.sanitize`, which take a single picture, refuse such files either way.

    Nothing is fetched from a network unless `allow_url_hosts` names the host. An entry is a host
    name for the scheme's default port ("images.example") or a name with a port
    ("images.example:8443"), never an address or a wildcard. Redirects must lead to allowed hosts.
    """

    max_bytes: int = Field(20_000_000, gt=0)
    max_pixels: int = Field(40_000_000, gt=0, description="of one frame")
    max_aspect: float = Field(100.0, ge=1.0, description="longer side / shorter side")
    formats: tuple[ImageFormat, ...] = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP")
    background: tuple[ColourLevel, ColourLevel, ColourLevel] = (255, 255, 255)
    frames: Literal["reject", "scan_all"] = "reject"
    max_frames: int = Field(64, gt=0, description="in one file, with scan_all")
    max_total_pixels: int = Field(80_000_000, gt=0, description="of all frames of one file")
    allow_paths: bool = Field(
        False, description="whether message parts may name local files; `scan(path)` always may"
    )
    allow_url_hosts: tuple[str, ...] = Field((), description="hosts to fetch from; empty = no host")
    url_schemes: tuple[Literal["https", "http"], ...] = ("https",)
    max_url_redirects: int = Field(3, ge=0)
    max_url_seconds: float = Field(
        10.0, gt=0.0, allow_inf_nan=False, description="for one URL, redirects included"
    )

    @field_validator("allow_url_hosts")
    @classmethod
    def _hosts_are_names(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        lowered = tuple(host.lower() for host in hosts)
        for host in lowered:
            if not _HOST.fullmatch(host):
                raise ValueError(
                    "allow_url_hosts should hold ASCII host names, with any non-default port: "
                    f"'images.example' or 'images.example:8443'. Received {host!r}."
                )
        return lowered


class PatchConfig(_Frozen):
    """Square crops at one or more sizes; together they cover every pixel at every size.

    `unit="pixels"`: sizes are pixels. `unit="short_side"`: fractions of the image's shorter side.
    A size that exceeds the shorter side becomes the shorter side.
    """

    sizes: tuple[float, ...] = Field((0.25, 0.5, 1.0), min_length=1)
    unit: Literal["pixels", "short_side"] = "short_side"
    overlap: float = Field(0.5, ge=0.0, le=0.9)
    max_patches: int = Field(4096, gt=0)


class EncoderConfig(_Frozen):
    """An open_clip model: a name with `pretrained`, or `local-dir:PATH`."""

    model: EncoderName
    pretrained: str | None = None
    sha256: Sha256 | None = Field(None, description="of the weight file; any other file is refused")
    device: str = "auto"
    precision: Precision = Field(
        "fp32", description="int8 runs on a CPU in ONNX Runtime and needs the extra `fast`"
    )
    int8_cache: PresetPath | None = Field(
        None, description="folder for quantized towers; None = quantize at each start"
    )
    batch_size: int = Field(256, gt=0)
    templates: tuple[str, ...] = ("{}",)


class TransportConfig(_Frozen):
    """How patches are compared with concepts (paper eqs. 5–9)."""

    epsilon: float = Field(0.1, gt=0.0, description="entropic regularisation")
    tolerance: float = Field(1e-6, gt=0.0, description="largest marginal violation accepted")
    max_iterations: int = Field(500, gt=0)
    solver: Literal["sinkhorn", "pot"] = "sinkhorn"
    aggregation: Literal["category", "paper"] = "category"
    patch_weights: Literal["entropy", "uniform"] = "entropy"
    entropy_temperature: float = Field(0.5, gt=0.0)
    contrast: Literal["softmax", "none"] = "softmax"
    contrast_temperature: float = Field(0.03, gt=0.0)


class SecondEncoderConfig(_Frozen):
    """A second encoder that looks at the same patches and has its own threshold."""

    encoder: EncoderConfig
    anchors: PresetPath | None = Field(None, description="None = those of the first encoder")
    transport: TransportConfig | None = Field(None, description="None = that of the first encoder")


class DefenceConfig(_Frozen):
    """Counter-measures against attacks on the detector; each costs time.

    An image is unsafe if either encoder finds any view of it unsafe. That raises false alarms, so
    `guardalign calibrate` uses the same views and a threshold profile is bound to them. `shifted`
    moves the crops by unpredictable offsets, `mirrored` swaps left and right, and `softened`
    removes fine noise.
    """

    views: tuple[ViewName, ...] = Field(("as_is",), min_length=1)
    second: SecondEncoderConfig | None = None

    @field_validator("views")
    @classmethod
    def _no_view_twice(cls, views: tuple[ViewName, ...]) -> tuple[ViewName, ...]:
        again = sorted({view for view in views if views.count(view) > 1} - {"shifted"})
        if again:
            raise ValueError(f"views should hold {again[0]} only once.")
        return views


class DetectionConfig(_Frozen):
    """Encoder, patches, concepts, transport and threshold profile."""

    encoder: EncoderConfig
    anchors: PresetPath
    profile: PresetPath | None = None
    patches: PatchConfig = PatchConfig()
    transport: TransportConfig = TransportConfig()
    anchor_cache: PresetPath | None = Field(
        None, description="folder for the embeddings of the anchors; None = memory only"
    )
    remembered_verdicts: int = Field(
        0, ge=0, description="verdicts cached for pictures that come again; 0 = no cache"
    )
    defence: DefenceConfig = DefenceConfig()


class SanitizeConfig(_Frozen):
    """How unsafe regions are hidden."""

    method: Literal["mask", "blur", "block"] = "mask"
    fill: tuple[int, int, int] = (127, 127, 127)
    margin: float = Field(
        0.15,
        ge=0.0,
        le=1.0,
        description="hide this much around a region on every side, as a share of its longer side",
    )
    max_rounds: int = Field(3, ge=1, description="masking rounds with re-scoring before a block")
    max_masked_fraction: float = Field(0.6, gt=0.0, le=1.0, description="block above this share")


class PrefixConfig(_Frozen):
    """The safety prefix before the user's instruction, as a named text or as words of your own."""

    name: str | None = Field(None, description="name of a text in safety_prefixes.py")
    text: str = OWN
    policy: Literal["always", "when_flagged"] = "always"
    placement: Literal["before_instruction", "system"] = "before_instruction"

    @model_validator(mode="before")
    @classmethod
    def _text_of_the_name(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get("name") is None:
            return data
        text = PREFIXES.get(data["name"])
        if text is None:
            raise ValueError(f"name should be one of {', '.join(PREFIXES)}. Got {data['name']!r}.")
        if data.get("text", text) != text:
            raise ValueError("Only one of name and text should be given.")
        return {**data, "text": text}


class CalibrationConfig(_Frozen):
    """Cross-modal attentive calibration (paper eqs. 13, 14).

    `band` is a fraction of the decoder's depth: (0.3, 0.7) calibrates the middle 40% of its layers.
    """

    gamma: float = Field(0.5, ge=0.0)
    mode: Literal["positive", "paper"] = "positive"
    band: tuple[float, float] = (0.3, 0.7)
    rows: Literal["instruction", "instruction_and_generated"] = "instruction"
    unsupported: Literal["refuse", "off"] = Field(
        "refuse",
        description="for a model that cannot be calibrated: refuse it, or answer uncalibrated and "
        "report the state off",
    )

    @model_validator(mode="after")
    def _band_is_ordered(self) -> Self:
        low, high = self.band
        if not 0.0 <= low < high <= 1.0:
            raise ValueError(f"band should be 0 <= low < high <= 1. Received {self.band}.")
        return self


class RunnerConfig(_Frozen):
    """A transformers image-text-to-text model and how it generates."""

    model: ModelName
    revision: str | None = Field(
        None, description="commit on the hub; branches and tags can be moved"
    )
    sha256: dict[str, Sha256] = Field(
        {}, description="of each weight file, by file name; any other file is refused"
    )
    local_files_only: bool = False
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device_map: str | dict[str, int | str] | None = Field(
        None, description="device_map of transformers, instead of device"
    )
    quantization: dict[str, Any] | None = Field(
        None, description="quantization_config of transformers: quant_method and its options"
    )
    max_new_tokens: int = Field(256, gt=0)
    temperature: float = Field(0.0, ge=0.0, description="0 = greedy")
    seed: int = 0
    batch_size: int = Field(16, gt=0, description="maximum conversations per pass of the model")
    max_wait_ms: float = Field(
        2.0, ge=0.0, le=10_000.0, description="how long a request waits for others to join its pass"
    )
    max_queue: int = Field(256, gt=0, description="maximum waiting requests; more are refused")
    prefix: PrefixConfig = PrefixConfig()
    calibration: CalibrationConfig = CalibrationConfig()


class AuditConfig(_Frozen):
    """The log in which the guard records every verdict; see `guardalign_middleware.audit`.

    The key is read from either a file or an environment variable. It is never part of a preset,
    because presets are copied and committed.
    """

    log: PresetPath
    key_file: PresetPath | None = None
    key_variable: str | None = Field(
        None, min_length=1, description="name of the environment variable that holds the key"
    )
    fsync: bool = Field(False, description="wait until each line is on the disk")
    include_source: bool = Field(
        False, description="also record the source of an image, which may be a path"
    )

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if (self.key_file is None) == (self.key_variable is None):
            raise ValueError("Exactly one of key_file and key_variable should be given.")
        return self


class GuardAlignConfig(_Frozen):
    """A whole guard: intake, detection, sanitizing, and optionally the runner behind it.

    With `on_fault="allow"`, an image on which the detector fails is forwarded unscanned, and its
    verdict gives the reason in `fault`. Images that cannot be decoded, in which something was
    found, or whose verdict cannot be recorded are still stopped.
    """

    name: str
    verified: bool = Field(False, description="whether this preset's figures were measured")
    notes: str = ""
    intake: IntakePolicy = IntakePolicy()
    detection: DetectionConfig
    sanitize: SanitizeConfig = SanitizeConfig()
    on_fault: Literal["raise", "allow"] = Field(
        "raise", description="when the detector fails on an image; allow = fail open"
    )
    audit: AuditConfig | None = None
    runner: RunnerConfig | None = None
    blocked_reply: str = "I cannot help with this image."

    @classmethod
    def load(cls, preset: str | Path) -> GuardAlignConfig:
        """Read a shipped preset by name, or any YAML file by path.

        Raises:
            ConfigError: unknown preset, unreadable or invalid file; the message names the field.
        """
        path = find_preset(preset)
        fields = read_preset(path)
        try:
            return cls.model_validate(fields, context={"folder": path.parent})
        except ValidationError as error:
            raise ConfigError(f"The preset {path} is invalid: {error}") from error
