"""Everything that can be configured, as frozen pydantic models; a preset is one YAML file.

`GuardAlignConfig.load("mini")` reads `presets/mini.yaml`; a path to a YAML file works the same way.
Relative paths inside a YAML file are relative to that file.
"""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.safety_prefixes import OWN, PREFIXES

ImageFormat = Literal["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF"]
"""What intake can be allowed to decode; readers that start other programs are not among it."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

ViewName = Literal["as_is", "shifted", "mirrored", "softened"]
"""Ways in which the detector can look at a picture; see `DefenceConfig`."""

Precision = Literal["fp32", "bf16", "int8"]
"""What an encoder computes in."""

ColourLevel = Annotated[int, Field(ge=0, le=255)]

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
# A last label of digits, or of hexadecimal ones, would be an address in one of its many spellings.
_NO_NUMBER = r"(?=[a-z0-9_-]*[a-z_])(?!0x[0-9a-f]*(?:$|:))"
_HOST = re.compile(rf"(?:{_LABEL}\.)*{_NO_NUMBER}{_LABEL}(?::\d{{1,5}})?")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class IntakePolicy(_Frozen):
    """What may become a picture. Caps are checked before pixels are decoded.

    With `frames="scan_all"`, every frame of an animation or a multi-page file is read, and the
    whole file is refused when a cap does not hold for all of them. In a message, each frame becomes
    an image of its own; `ImageGuard.scan` gives the verdict on the worst one. What can hold one
    picture only (`load_image`, `ImageGuard.sanitize`) refuses such files either way.

    Nothing is fetched from a network unless `allow_url_hosts` names the host. An entry is a host
    name for the scheme's own port ("images.example"), or a name with a port
    ("images.example:8443"); addresses and wildcards are no names. Each redirect must stay on it.
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
        False, description="whether a message part may name a local file; `scan(path)` always may"
    )
    allow_url_hosts: tuple[str, ...] = Field((), description="hosts to fetch from; empty = none")
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
                    "allow_url_hosts should hold ASCII host names, with a port where it is not the "
                    f"usual one: 'images.example' or 'images.example:8443'. Received {host!r}."
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

    model: str
    pretrained: str | None = None
    sha256: Sha256 | None = Field(None, description="of the weight file; any other is refused")
    device: str = "auto"
    precision: Precision = Field(
        "fp32", description="int8: on a CPU, by ONNX Runtime; needs the extra fast"
    )
    int8_cache: Path | None = Field(
        None, description="folder in which int8 towers are kept; None = made at each start"
    )
    batch_size: int = Field(256, gt=0)
    templates: tuple[str, ...] = ("{}",)


class TransportConfig(_Frozen):
    """How patches are measured against concepts (paper eqs. 5–9)."""

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
    """Another encoder that looks at the same patches, with a threshold of its own."""

    encoder: EncoderConfig
    anchors: Path | None = Field(None, description="None = the words of the first")
    transport: TransportConfig | None = Field(None, description="None = that of the first")


class DefenceConfig(_Frozen):
    """Counter-measures against somebody who attacks the detector; each costs time.

    An image is unsafe when any view of it is, to either encoder. So false alarms rise, and a
    threshold profile is bound to what it was calibrated with: `guardalign calibrate` looks as this
    says. `shifted` stands the crops at offsets that nobody can foresee, `mirrored` exchanges left
    and right, and `softened` takes fine noise away.
    """

    views: tuple[ViewName, ...] = Field(("as_is",), min_length=1)
    second: SecondEncoderConfig | None = None

    @field_validator("views")
    @classmethod
    def _no_view_twice(cls, views: tuple[ViewName, ...]) -> tuple[ViewName, ...]:
        again = sorted({view for view in views if views.count(view) > 1} - {"shifted"})
        if again:
            raise ValueError(f"views should hold {again[0]} once: again it shows nothing new.")
        return views


class DetectionConfig(_Frozen):
    """Encoder, patches, concepts, transport and the calibrated threshold."""

    encoder: EncoderConfig
    anchors: Path
    profile: Path | None = None
    patches: PatchConfig = PatchConfig()
    transport: TransportConfig = TransportConfig()
    anchor_cache: Path | None = Field(
        None, description="folder in which the words' embeddings are kept; None = in memory only"
    )
    remembered_verdicts: int = Field(
        0, ge=0, description="how many verdicts to keep for pictures that come again; 0 = none"
    )
    defence: DefenceConfig = DefenceConfig()


class SanitizeConfig(_Frozen):
    """What happens to unsafe regions."""

    method: Literal["mask", "blur", "block"] = "mask"
    fill: tuple[int, int, int] = (127, 127, 127)
    margin: float = Field(
        0.15,
        ge=0.0,
        le=1.0,
        description="hide this much around a region on every side, as a share of its longer side",
    )
    max_rounds: int = Field(3, ge=1, description="mask and re-score at most this often, then block")
    max_masked_fraction: float = Field(0.6, gt=0.0, le=1.0, description="above it, block")


class PrefixConfig(_Frozen):
    """The safety prefix: words put before the user's instruction, one's own or those of a name."""

    name: str | None = Field(None, description="of a text in safety_prefixes.py")
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
        description="a model that cannot be calibrated: refuse, or answer without and say so",
    )

    @model_validator(mode="after")
    def _band_is_ordered(self) -> Self:
        low, high = self.band
        if not 0.0 <= low < high <= 1.0:
            raise ValueError(f"band should be 0 <= low < high <= 1. Received {self.band}.")
        return self


class RunnerConfig(_Frozen):
    """A transformers image-text-to-text model and how it generates."""

    model: str
    revision: str | None = Field(
        None, description="a commit of the hub; a branch or tag can be moved"
    )
    sha256: dict[str, Sha256] = Field(
        {}, description="of each weight file by its name; any other file is refused"
    )
    local_files_only: bool = False
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device_map: str | dict[str, int | str] | None = Field(
        None, description="spread over devices, as in transformers; instead of device"
    )
    quantization: dict[str, Any] | None = Field(
        None, description="quantization_config of transformers: quant_method and its options"
    )
    max_new_tokens: int = Field(256, gt=0)
    temperature: float = Field(0.0, ge=0.0, description="0 = greedy")
    seed: int = 0
    batch_size: int = Field(16, gt=0, description="most conversations in one pass of the model")
    max_wait_ms: float = Field(
        2.0, ge=0.0, le=10_000.0, description="how long a request waits for others to join its pass"
    )
    max_queue: int = Field(256, gt=0, description="most requests that wait; more are refused")
    prefix: PrefixConfig = PrefixConfig()
    calibration: CalibrationConfig = CalibrationConfig()


class AuditConfig(_Frozen):
    """The log in which the guard records every verdict; see `guardalign_middleware.audit`.

    The key is read from a file or from an environment variable, exactly one of them: a preset,
    which is copied and committed, never holds it.
    """

    log: Path
    key_file: Path | None = None
    key_variable: str | None = Field(
        None, min_length=1, description="name of the environment variable that holds the key"
    )
    fsync: bool = Field(False, description="wait until each line is on the disk")
    include_source: bool = Field(
        False, description="also record where an image came from, which may be a path"
    )

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if (self.key_file is None) == (self.key_variable is None):
            raise ValueError("Exactly one of key_file and key_variable should be given.")
        return self


class GuardAlignConfig(_Frozen):
    """A whole guard: intake, detection, sanitizing, and (optionally) the runner behind it.

    With `on_fault="allow"` an image is forwarded unscanned when the detector fails on it, and its
    verdict says so in `fault`. Nothing else is let through: no image that cannot be decoded, none
    in which something was found, and none whose verdict cannot be recorded.
    """

    name: str
    verified: bool = Field(False, description="whether the figures of this preset were measured")
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
        path = _preset_path(preset)
        try:
            data = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError(f"Cannot read the preset {path}: {error}.") from error
        if not isinstance(data, dict):
            raise ConfigError(f"The preset {path} should be a mapping of fields.")
        try:
            return cls.model_validate(_resolve_paths(data, path.parent))
        except ValidationError as error:
            raise ConfigError(f"The preset {path} is invalid: {error}") from error


def available_presets() -> list[str]:
    """Names of the shipped presets."""
    folder = files("guardalign_middleware") / "presets"
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in folder.iterdir()
        if entry.name.endswith(".yaml")
    )


def _preset_path(preset: str | Path) -> Path:
    candidate = Path(preset)
    if candidate.suffix in {".yaml", ".yml"}:
        if not candidate.is_file():
            raise ConfigError(f"There is no preset file {candidate}.")
        return candidate
    shipped = Path(str(files("guardalign_middleware") / "presets" / f"{preset}.yaml"))
    if not shipped.is_file():
        names = ", ".join(available_presets())
        raise ConfigError(
            f"There is no preset named {str(preset)!r}.",
            remedy=f"Use one of: {names}; or the path of a .yaml file.",
        )
    return shipped


def _resolve_paths(data: dict[str, Any], base: Path) -> dict[str, Any]:
    """Make the paths of a preset absolute: anchors, caches, profile, audit log, model folders."""

    def absolute(value: str) -> str:
        return str((base / value).resolve())

    def encoding(part: dict[str, Any]) -> dict[str, Any]:
        part = dict(part)
        for key in ("anchors", "profile", "anchor_cache"):
            if isinstance(part.get(key), str):
                part[key] = absolute(part[key])
        encoder = part.get("encoder")
        if isinstance(encoder, dict):
            part["encoder"] = encoder = dict(encoder)
            if str(encoder.get("model", "")).startswith("local-dir:"):
                folder = absolute(encoder["model"].removeprefix("local-dir:"))
                encoder["model"] = f"local-dir:{folder}"
            if isinstance(encoder.get("int8_cache"), str):
                encoder["int8_cache"] = absolute(encoder["int8_cache"])
        return part

    # What is no mapping is left for the validation to name.
    resolved = dict(data)
    detection = data.get("detection")
    if isinstance(detection, dict):
        resolved["detection"] = detection = encoding(detection)
        defence = detection.get("defence")
        if isinstance(defence, dict) and isinstance(defence.get("second"), dict):
            detection["defence"] = {**defence, "second": encoding(defence["second"])}
    audit = data.get("audit")
    if isinstance(audit, dict):
        names = [key for key in ("log", "key_file") if isinstance(audit.get(key), str)]
        resolved["audit"] = {**audit, **{key: absolute(audit[key]) for key in names}}
    runner = data.get("runner")
    if isinstance(runner, dict) and str(runner.get("model", "")).startswith("."):
        resolved["runner"] = {**runner, "model": absolute(runner["model"])}
    return resolved
