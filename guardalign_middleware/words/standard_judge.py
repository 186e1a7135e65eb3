"""The judge of words that needs nothing but the package."""

from __future__ import annotations

from guardalign_middleware.types import Action
from guardalign_middleware.words.form import FormJudge
from guardalign_middleware.words.guards.builtin import HEADS, BuiltinGuard, shipped_profile
from guardalign_middleware.words.guards.passage_judge import PassageJudge
from guardalign_middleware.words.joined import JoinedJudge
from guardalign_middleware.words.judge import LineJudge


def standard_judge(
    *,
    carrier: Action | None = "mask",
    injection: Action | None = "mask",
    harm: Action | None = "mask",
    injection_classifier: Action | None = "mask",
) -> JoinedJudge:
    """Form, and the built-in classifiers with the thresholds that ship.

    None = what it is about is not looked for.

    Args:
        carrier: what an empty list that asks to be filled causes, by its form.
        injection: what an instruction addressed to a model causes, by rules.
        harm: what a harmful request causes, by a classifier.
        injection_classifier: what an instruction causes that a classifier finds.

    Raises:
        ModelLoadError: the classifiers' weights cannot be read.
        ConfigError: their thresholds cannot be read, or are for other weights.
    """
    judges: list[LineJudge] = [FormJudge(carrier=carrier, injection=injection)]
    actions: dict[str, Action | None] = {"harm": harm, "injection": injection_classifier}
    for head in HEADS:
        action = actions[head]
        if action is not None:
            guard, profile = BuiltinGuard.load(head), shipped_profile(head)
            judges.append(
                PassageJudge.fitted(
                    guard, profile, action=action, with_user_text=head != "injection"
                )
            )
    return JoinedJudge(judges)
