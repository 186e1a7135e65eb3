"""What becomes of words in pictures."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from guardalign_middleware.config.base import MAX_COUNT, OFF, FrozenModel

WordsMode = Literal["off", "report", "mask", "guard"]
"""What becomes of words; see `WordsConfig`."""


WordsAction = Literal["mask", "block", "flag", "off"]
"""What unsafe words cause: as `types.Action`, or they are not looked for."""


class WordsConfig(FrozenModel):
    """What becomes of words in pictures; all modes but `off` need the extra `words`.

    `report` reads them and says in the verdict how many lines there are. `mask` hides all of them,
    for applications that need none. `guard` asks guards of texts what they say, and does with
    unsafe lines as their category says. What was read stays in memory: verdicts, logs and metadata
    have counts and a digest only, unless `include_text` is set.
    """

    mode: Annotated[WordsMode, OFF] = "off"
    carrier: Annotated[WordsAction, OFF] = Field(
        "mask", description="in the mode guard: what an empty list that asks to be filled causes"
    )
    injection: Annotated[WordsAction, OFF] = Field(
        "mask", description="in the mode guard: what an instruction addressed to a model causes"
    )
    harm: Annotated[WordsAction, OFF] = Field(
        "mask",
        description="in the mode guard: what a harmful request causes, for the built-in classifier",
    )
    injection_classifier: Annotated[WordsAction, OFF] = Field(
        "mask",
        description="in the mode guard: what an instruction causes that the built-in classifier "
        "finds, which knows more wordings than the rules of `injection`",
    )
    max_pixels: int = Field(
        1_500_000,
        ge=102_400,
        le=MAX_COUNT,
        description="looked at in one picture, in all views together, to find lines; more find "
        "smaller type and take longer",
    )
    include_text: bool = Field(
        False, description="put what was read into verdicts, and so into records and metadata"
    )
