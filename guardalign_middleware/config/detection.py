"""Encoder, patches, concepts, transport and threshold profile."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from guardalign_middleware.config.base import MAX_COUNT, Count, FrozenModel, Sha256
from guardalign_middleware.preset_files import EncoderName, PresetPath, WeightsName

ViewName = Literal["as_is", "shifted", "mirrored", "softened"]
"""A way for the detector to look at a picture; see `DefenceConfig`."""

Precision = Literal["fp32", "bf16", "int8"]
"""Number format in which an encoder computes."""


class FormConfig(FrozenModel):
    """A form in which a model may get a picture.

    `squashed`: the whole picture, resized to a square of `side` pixels. `native`: in its own shape,
    made smaller to fit the caps, never larger; a cap that is not given does not bind.
    """

    kind: Literal["squashed", "native"]
    side: int | None = Field(
        None, gt=0, le=16_384, description="squashed: width and height, in pixels"
    )
    long_side: Count | None = Field(None, description="native: cap of the longer side")
    short_side: Count | None = Field(None, description="native: cap of the shorter side")
    pixels: Count | None = Field(None, description="native: cap of width times height")

    @model_validator(mode="after")
    def _only_its_own_fields(self) -> FormConfig:
        caps = (self.long_side, self.short_side, self.pixels)
        if self.kind == "squashed" and (self.side is None or any(caps)):
            raise ValueError("a squashed form should have a side and no caps.")
        if self.kind == "native" and self.side is not None:
            raise ValueError("a native form should have caps, and no side.")
        return self


Sight = Literal["model", "any", "openai", "anthropic", "gemini"]
"""What a model sees: `model` is the runner's own processor; the others are in `detection.forms`."""


class PatchConfig(FrozenModel):
    """Square crops of one or more sizes; together they cover every pixel of a form at every size.

    Without `sizes`, crops go from the whole form down to the encoder's input size: the whole form
    as one crop, then squares of E · 2^k pixels of the form, where E is the side of the encoder's
    input. Nothing is enlarged to be encoded, unless the form itself is smaller.

    With `sizes`, `unit="pixels"` takes them as pixels of the form, and `unit="short_side"` as
    fractions of its shorter side. A size that exceeds the shorter side becomes the shorter side.

    `layout="dense"` takes the tokens of a ViT as patches, many from each crop, and stops at crops
    of 2 E. That is several times as cheap as `crops`, and needs a profile of its own; see
    docs/detection.md.

    `max_crops` bounds the crops of all forms together, for each of the views. Crops are taken from
    coarse to fine, and the finest grow until they fit. What was looked at is in the evidence.
    """

    sizes: tuple[Annotated[float, Field(ge=0.001, le=MAX_COUNT)], ...] = ()
    unit: Literal["pixels", "short_side"] = "short_side"
    overlap: float = Field(0.5, ge=0.0, le=0.9)
    max_crops: Count = 256
    layout: Literal["crops", "dense"] = "crops"


class TokenizerPin(FrozenModel):
    """Which tokenizer an encoder loads where it has one from another repository, as SigLIP does."""

    revision: str | None = Field(
        None, description="commit on the hub; branches and tags can be moved"
    )
    sha256: dict[str, Sha256] = Field({}, description="of its files, by name")


class EncoderConfig(FrozenModel):
    """An open_clip model: a name with `pretrained`, `hf-hub:OWNER/NAME` or `local-dir:PATH`."""

    model: EncoderName
    pretrained: WeightsName | None = None
    revision: str | None = Field(
        None, description="commit on the hub; branches and tags can be moved"
    )
    sha256: Sha256 | dict[str, Sha256] | None = Field(
        None,
        description="of the weight file, or of each file by its name; any other weights are "
        "refused",
    )
    tokenizer: TokenizerPin | None = Field(
        None, description="pins of a tokenizer that lies in a repository of its own"
    )
    local_files_only: bool = Field(False, description="whether the hub is never asked")
    device: str = "auto"
    precision: Precision = Field(
        "fp32", description="int8 runs on a CPU in ONNX Runtime and needs the extra `fast`"
    )
    int8_cache: PresetPath | None = Field(
        None, description="folder for quantized towers; None = quantize at each start"
    )
    batch_size: int | None = Field(
        None, gt=0, le=1_000_000, description="crops in one pass; None = 64 on a CPU, 256 elsewhere"
    )
    templates: tuple[str, ...] = Field(("{}",), min_length=1)


class TransportConfig(FrozenModel):
    """How patches are compared with concepts (paper eqs. 5–9), and what a distance is.

    `contrast="softmax"`: the share of the neutral concepts in softmax(−d_i(m) / T), where d_i(m) is
    the cost of patch m's transport to concept i per unit of its mass, and T the contrast
    temperature. `contrast="none"`: the least d_i(m) of an unsafe category. `aggregation="paper"`:
    eq. 9 as printed, Σ_i Σ_n T_i(m,n) C_i(m,n), without contrast.
    """

    epsilon: float = Field(0.1, ge=1e-5, le=1e5, description="entropic regularisation")
    tolerance: float = Field(
        1e-6, ge=1e-12, le=1.0, description="largest marginal violation accepted"
    )
    max_iterations: int = Field(5_000, gt=0, le=1_000_000)
    solver: Literal["sinkhorn", "pot"] = "sinkhorn"
    aggregation: Literal["category", "paper"] = "category"
    patch_weights: Literal["entropy", "uniform"] = "entropy"
    entropy_temperature: float = Field(0.5, ge=1e-6, le=1e6)
    contrast: Literal["softmax", "none"] = "softmax"
    contrast_temperature: float = Field(0.03, ge=1e-6, le=1e6)


class SecondEncoderConfig(FrozenModel):
    """A second encoder that looks at the same patches and has its own threshold."""

    encoder: EncoderConfig
    anchors: PresetPath | None = Field(None, description="None = those of the first encoder")
    transport: TransportConfig | None = Field(None, description="None = that of the first encoder")


class DefenceConfig(FrozenModel):
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


class DetectionConfig(FrozenModel):
    """Encoder, patches, concepts, transport and threshold profile."""

    encoder: EncoderConfig
    anchors: PresetPath
    profile: PresetPath | None = None
    sees: tuple[Sight | FormConfig, ...] = Field(
        ("any",),
        min_length=1,
        description="the forms in which the guarded model gets a picture; one may stand alone",
    )
    patches: PatchConfig = PatchConfig()
    transport: TransportConfig = TransportConfig()
    anchor_cache: PresetPath | None = Field(
        None, description="folder for the embeddings of the anchors; None = memory only"
    )
    remembered_verdicts: int = Field(
        1024,
        ge=0,
        le=MAX_COUNT,
        description="verdicts cached for pictures that come again, and as many results of "
        "cleaning; 0 = no cache",
    )
    remembered_bytes: int = Field(
        64 * 2**20,
        ge=0,
        le=MAX_COUNT,
        description="most memory of the cached verdicts, and again of the cached results of "
        "cleaning; 72 bytes per patch, no pixels",
    )
    max_queue: Count = Field(
        1024, description="most callers that wait for a scan; more are refused"
    )
    defence: DefenceConfig = DefenceConfig()

    @field_validator("sees", mode="before")
    @classmethod
    def _one_may_stand_alone(cls, sees: object) -> object:
        return (sees,) if isinstance(sees, str | dict | FormConfig) else sees
