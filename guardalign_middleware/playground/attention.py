"""How much attention the question pays to the safety prefix, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass

from guardalign_middleware.generation import CalibratedRunner, Runner
from guardalign_middleware.playground.answers import question
from guardalign_middleware.types import CanonicalImage


@dataclass(frozen=True)
class Attention:
    """The share of the question's attention that goes to the prefix, mean over heads.

    Attributes:
        layers: indices of the decoder layers.
        plain: share in each layer, 0 to 1, without calibration.
        calibrated: the same with it.
        active: the layers that were calibrated, as observed in the run.
        gamma: strength of the calibration.
    """

    layers: tuple[int, ...]
    plain: tuple[float, ...]
    calibrated: tuple[float, ...]
    active: tuple[int, ...]
    gamma: float

    @property
    def summary(self) -> str:
        """What the plot shows, in words."""
        if not self.active:
            return "No layer is calibrated: γ is 0."
        before, after = (
            sum(
                share
                for layer, share in zip(self.layers, shares, strict=True)
                if layer in self.active
            )
            / len(self.active)
            for shares in (self.plain, self.calibrated)
        )
        return (
            f"In the calibrated layers {self.active[0]} to {self.active[-1]}, the question pays "
            f"the prefix {after:.0%} of its attention; without calibration {before:.0%}."
        )


def attention_to_prefix(runner: Runner, image: CanonicalImage, text: str) -> Attention | None:
    """Read a question twice, without and with calibration, and make one token each.

    Args:
        runner: at the strength that is asked about.
        image: the picture as the model may see it.
        text: the question.

    Returns:
        None for a runner without attention that can be looked at.

    Raises:
        GuardAlignError: as `CalibratedRunner.generate`.
    """
    if not isinstance(runner, CalibratedRunner):
        return None
    bare, calibrated = (
        runner.generate(
            [question(image, text)], calibrate=on, explain=True, max_new_tokens=1
        ).calibration
        for on in (False, True)
    )
    return Attention(
        tuple(layer for layer, _ in bare.prefix_attention),
        tuple(share for _, share in bare.prefix_attention),
        tuple(share for _, share in calibrated.prefix_attention),
        calibrated.layers,
        calibrated.gamma,
    )
