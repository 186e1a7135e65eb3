"""The file `open_clip_config.json` of an encoder: its ranges, and that it names nothing elsewhere.

open_clip reads the file itself, by rules of its own: a number out of range would cost all memory,
and some fields load other models, files or code.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from guardalign_middleware.config.base import invalid_fields
from guardalign_middleware.strict import Malformed, is_folder, json_value

CONFIG = "open_clip_config.json"

_Size = Annotated[int, Field(strict=True, gt=0, le=65_536)]
_Layers = Annotated[int, Field(strict=True, gt=0, le=1_000)]
_Ratio = Annotated[float, Field(gt=0.0, le=64.0)]
_Side = Annotated[int, Field(strict=True, gt=0, le=8_192)]
_Sides = _Side | tuple[_Side, _Side] | None
# Of pixels in [0, 1].
_Mean = Annotated[float, Field(ge=-100.0, le=100.0)]
_Deviation = Annotated[float, Field(ge=1e-4, le=100.0)]

_ARCHITECTURE = re.compile(r"[A-Za-z0-9_.-]+")
_HUB_ID = re.compile(r"[A-Za-z0-9_][\w.-]*(/[A-Za-z0-9_][\w.-]*)?")
# Others open files or reach transformers, which could take a path or run code.
_TOKENIZER_OPTIONS = frozenset({"clean", "strip_sep_token", "language", "reduction_mask"})


class _Part(BaseModel):
    """Fields that are not listed are left to open_clip, which knows all of its own."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)


class _Vision(_Part):
    layers: _Layers | list[_Layers] | None = None
    width: _Size | None = None
    head_width: _Size | None = None
    mlp_ratio: _Ratio | None = None
    patch_size: _Sides = None
    image_size: _Sides = None
    timm_model_name: str | None = None

    @field_validator("timm_model_name")
    @classmethod
    def _no_address(cls, name: str | None) -> str | None:
        if name is not None and not _ARCHITECTURE.fullmatch(name):
            raise ValueError("should be the name of an architecture of timm")
        return name


class _Text(_Part):
    context_length: _Size | None = None
    vocab_size: Annotated[int, Field(strict=True, gt=0, le=10_000_000)] | None = None
    width: _Size | None = None
    heads: _Size | None = None
    layers: _Layers | None = None
    mlp_ratio: _Ratio | None = None
    hf_model_name: str | None = None
    hf_tokenizer_name: str | None = None
    tokenizer_kwargs: dict[str, str | bool | None] = {}

    @field_validator("tokenizer_kwargs")
    @classmethod
    def _known(cls, options: dict[str, Any]) -> dict[str, Any]:
        unknown = sorted(options.keys() - _TOKENIZER_OPTIONS)
        if unknown:
            raise ValueError(f"holds {unknown[0]!r}; {', '.join(_TOKENIZER_OPTIONS)} are accepted")
        return options


class _Model(_Part):
    embed_dim: _Size
    vision_cfg: _Vision
    text_cfg: _Text


class _Preprocess(_Part):
    size: _Sides = None
    mean: tuple[_Mean, _Mean, _Mean] | None = None
    std: tuple[_Deviation, _Deviation, _Deviation] | None = None


class _File(_Part):
    model_cfg: _Model
    preprocess_cfg: _Preprocess = _Preprocess()


def read_encoder_config(data: bytes, *, folder: bool) -> dict[str, Any]:
    """Parse the config of an encoder.

    Args:
        data: of `open_clip_config.json`.
        folder: whether it lies in a folder of its own, which then has to be complete; a repository
            of the hub may name others.

    Returns:
        Its `model_cfg`.

    Raises:
        Malformed: it is not JSON, a field is of another type or out of range, or names a file or
            a model elsewhere; the text names the field.
    """
    value = json_value(data)
    try:
        text = _File.model_validate(value).model_cfg.text_cfg
    except ValidationError as error:
        raise Malformed(invalid_fields(error)) from error
    if folder and text.hf_model_name:
        raise Malformed("model_cfg.text_cfg.hf_model_name names a model outside the folder")
    for field in ("hf_model_name", "hf_tokenizer_name"):
        name = getattr(text, field)
        # A folder's own tokenizer is taken whatever is named.
        if not folder and name and (not _HUB_ID.fullmatch(name) or is_folder(name)):
            raise Malformed(f"model_cfg.text_cfg.{field} names a folder of this computer")
    config: dict[str, Any] = value["model_cfg"]
    return config
