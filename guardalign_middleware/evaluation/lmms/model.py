"""One arm of a preset as a chat model of lmms-eval."""

from __future__ import annotations

from typing import Any

from lmms_eval.api.instance import GenerationResult, Instance, TokenCounts
from lmms_eval.api.model import lmms

from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.evaluation.arms import arm_names
from guardalign_middleware.evaluation.arms.build import ArmSettings, build_arm
from guardalign_middleware.evaluation.lmms.requests import asked_of, options_of
from guardalign_middleware.guard import GuardAlign


class GuardAlignModel(lmms):
    """Answers `generate_until` requests; the other kinds are refused.

    Args:
        preset: its name, or the path of a YAML file.
        arm: one of `ARMS`.
        eta_threshold: for the arm `eta`.
        batch_size, max_batch_size, device: of lmms-eval's command line; the preset decides.

    Raises:
        ConfigError: an unknown arm or preset.
        ModelLoadError: a model cannot be loaded safely and completely.
    """

    is_simple = False

    def __init__(
        self,
        preset: str = "mini",
        arm: str = "full",
        eta_threshold: float | None = None,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__()
        del batch_size, max_batch_size, device
        names = arm_names(arm)
        if len(names) != 1:
            raise ConfigError("A model is one arm.", remedy="Name one with arm=full.")
        self._arm = names[0]
        self._eta_threshold = eta_threshold
        self._chain = GuardAlign.from_config(GuardAlignConfig.load(preset))

    def generate_until(self, requests: list[Instance]) -> list[GenerationResult]:
        """Answer the requests, those with equal keywords together.

        Raises:
            GuardAlignError: one cannot be answered.
        """
        found: dict[int, GenerationResult] = {}
        groups: dict[str, list[int]] = {}
        for index, request in enumerate(requests):
            groups.setdefault(repr(request.args[2]), []).append(index)
        size = self._chain.runner.config.batch_size
        for places in groups.values():
            options = options_of(requests[places[0]].args[2])
            settings = ArmSettings(options, self._eta_threshold)
            arm = build_arm(self._arm, self._chain, settings)
            for start in range(0, len(places), size):
                part = places[start : start + size]
                answers = arm.answer([self._asked(requests[place]) for place in part])
                for place, answer in zip(part, answers, strict=True):
                    counts = TokenCounts(answer.input_tokens, answer.output_tokens)
                    found[place] = GenerationResult(answer.text, counts)
        return [found[index] for index in range(len(requests))]

    def loglikelihood(self, requests: list[Instance]) -> Any:
        """Not offered: an arm is a way to answer.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(
            "The arms answer, and give no likelihoods.",
            remedy="Use the variant of the task that generates.",
        )

    def generate_until_multi_round(self, requests: list[Instance]) -> Any:
        """Not offered: the suites have one round.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("The arms answer one round.", remedy="Use a task of one round.")

    def _asked(self, request: Instance) -> Any:
        _, to_messages, _, number, task, split = request.args
        return asked_of(self._chain, to_messages(self.task_dict[task][split][number]))
