"""The local model: safety prefix, attention calibration and generation."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from guardalign_middleware.config.base import OFF, Count, FrozenModel, Sha256
from guardalign_middleware.preset_files import ModelName
from guardalign_middleware.safety_prefixes import OWN, PREFIXES

MAX_NEW_TOKENS = 1_000_000
MAX_TEMPERATURE = 1000.0
MAX_GAMMA = 1e6
"""All attention is at the prefix long before it; far beyond it, float32 scores overflow."""
SEEDS = (-(2**63), 2**64 - 1)
"""What torch takes as a seed, both ends included."""


class PrefixConfig(FrozenModel):
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
        name = data["name"]
        text = PREFIXES.get(name) if isinstance(name, str) else None
        if text is None:
            raise ValueError(f"name should be one of {', '.join(PREFIXES)}. Got {name!r}.")
        if data.get("text", text) != text:
            raise ValueError("Only one of name and text should be given.")
        return {**data, "text": text}


class CalibrationConfig(FrozenModel):
    """Cross-modal attentive calibration (paper eqs. 13, 14).

    `band` is a fraction of the decoder's depth: (0.3, 0.7) calibrates the middle 40% of its layers.
    """

    gamma: float = Field(0.5, ge=0.0, le=MAX_GAMMA)
    mode: Literal["positive", "paper"] = "positive"
    band: tuple[float, float] = (0.3, 0.7)
    rows: Literal["instruction", "instruction_and_generated"] = "instruction"
    unsupported: Annotated[Literal["refuse", "off"], OFF] = Field(
        "refuse",
        description="for a model or a prompt that cannot be calibrated: refuse it, or answer "
        "uncalibrated and report the state off",
    )

    @model_validator(mode="after")
    def _band_is_ordered(self) -> Self:
        low, high = self.band
        if not 0.0 <= low < high <= 1.0:
            raise ValueError(f"band should be 0 <= low < high <= 1. Received {self.band}.")
        return self


class RunnerConfig(FrozenModel):
    """A transformers image-text-to-text model and how it generates."""

    model: ModelName
    revision: str | None = Field(
        None, description="commit on the hub; branches and tags can be moved"
    )
    sha256: dict[str, Sha256] = Field(
        {},
        description="of each weight file, by file name; any other is refused. Other files of the "
        "model may be pinned as well",
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
    max_new_tokens: int = Field(256, gt=0, le=MAX_NEW_TOKENS)
    temperature: float = Field(
        0.0, ge=0.0, le=MAX_TEMPERATURE, description="0 = greedy; so is less than 1e-5"
    )
    seed: int = Field(0, ge=SEEDS[0], le=SEEDS[1])
    batch_size: Count = Field(16, description="maximum conversations per pass of the model")
    max_wait_ms: float = Field(
        2.0, ge=0.0, le=10_000.0, description="how long a request waits for others to join its pass"
    )
    max_queue: Count = Field(256, description="maximum waiting requests; more are refused")
    prefix: PrefixConfig = PrefixConfig()
    calibration: CalibrationConfig = CalibrationConfig()
