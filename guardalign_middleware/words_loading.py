"""Loading what reads and judges words, as a whole config says; nothing where words are off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardalign_middleware.config import GuardAlignConfig, WordsConfig
from guardalign_middleware.errors import ConfigError

if TYPE_CHECKING:
    from guardalign_middleware.words.judge import LineJudge
    from guardalign_middleware.words.policy import WordPolicy


def load_words(config: GuardAlignConfig, given: WordPolicy | None = None) -> WordPolicy | None:
    """Load the reader and the judge of words; None where words are off.

    Args:
        config: of the guard.
        given: is taken in place of what the config names.

    Raises:
        ConfigError: the extra `words` is not installed, there is nothing that judges words, or
            what was given was made for another config.
        ModelLoadError: a network or a classifier cannot be loaded.
    """
    if given is not None:
        if given.config != config.words:
            raise ConfigError(
                "The WordPolicy was made for another config of words than the guard's.",
                remedy="Make it by WordPolicy.load(config.words, config.detection, judge).",
            )
        return given
    if config.words.mode == "off":
        return None
    # Imported on use: other guards need no opencv.
    from guardalign_middleware.words.policy import WordPolicy

    judge = _judge(config.words) if config.words.mode == "guard" else None
    return WordPolicy.load(config.words, config.detection, judge)


def _judge(config: WordsConfig) -> LineJudge:
    from guardalign_middleware.words.standard_judge import standard_judge

    carrier, injection, harm, classifier = (
        None if action == "off" else action
        for action in (config.carrier, config.injection, config.harm, config.injection_classifier)
    )
    return standard_judge(
        carrier=carrier, injection=injection, harm=harm, injection_classifier=classifier
    )
