"""A stored experiment with the items that it asked, for reports and for judging again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.evaluation.arms import in_order
from guardalign_middleware.evaluation.choices import Chosen, choose_items
from guardalign_middleware.evaluation.experiment.digest import items_digest
from guardalign_middleware.evaluation.experiment.figures import Row, rows_of, tells_right
from guardalign_middleware.evaluation.experiment.folder import RunFolder, folder_name
from guardalign_middleware.evaluation.judges import BLOCKED, Judgement
from guardalign_middleware.evaluation.lines import Record
from guardalign_middleware.evaluation.mini_suite import MiniJudge
from guardalign_middleware.evaluation.utility import UtilityScore, utility


@dataclass(frozen=True)
class Experiment:
    """What was asked, answered and judged.

    Attributes:
        folder: of the run.
        chosen: the suite and its items.
        answers: by arm and item.
        judged: by the judge's folder, arm and item.
    """

    folder: RunFolder
    chosen: Chosen
    answers: Mapping[str, Mapping[str, Record]]
    judged: Mapping[str, Mapping[str, Mapping[str, Judgement]]]

    @classmethod
    def read(cls, path: Path, data: str | None = None) -> Self:
        """Read a run, and load its suite again.

        Args:
            path: the folder of the run.
            data: where the suite's files are now, as for `choose_items`; None = where they were.

        Raises:
            ConfigError: there is no run, or the suite is not the one it asked.
            SuiteError: the suite cannot be loaded.
            HubError: its files cannot be fetched.
        """
        folder = RunFolder.read(path)
        told = folder.identity
        place = folder.about["data"] if data is None else data
        chosen = choose_items(told["suite"], place, told["split"], told["limit"])
        if items_digest(chosen.items) != told["items_sha256"]:
            raise ConfigError(
                f"The files of the suite {told['suite']!r} are not those that {path} was made "
                "with.",
                remedy="Name the folder that holds those with --data.",
            )
        return cls.of(folder, chosen, in_order(folder.arms), folder.judges)

    @classmethod
    def of(
        cls, folder: RunFolder, chosen: Chosen, arms: Sequence[str], judges: Sequence[str]
    ) -> Self:
        """What these arms have answered so far, and these judges said of it.

        Args:
            folder: of the run.
            chosen: the items that it asks.
            arms: in the order of tables.
            judges: the folders of judges.
        """
        return cls(
            folder,
            chosen,
            {arm: folder.answers(arm) for arm in arms},
            {judge: {arm: folder.judgements(judge, arm) for arm in arms} for judge in judges},
        )

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms that have answers, in the order of tables."""
        return tuple(self.answers)

    def judge_name(self, judge: str) -> str:
        """The full name of a judge, from what it said; else that of its folder."""
        names = (one.judge for arm in self.judged[judge].values() for one in arm.values())
        return next((name for name in names if name != BLOCKED), judge)

    def utility(self) -> dict[str, UtilityScore]:
        """The score of each arm by the rule of the suite's authors, where it answered all of it.

        Empty for a suite that measures something else, and for a part of a suite.
        """
        if self.chosen.manifest.kind != "utility" or not self.chosen.whole:
            return {}
        texts = {
            arm: {key: record["text"] for key, record in answers.items()}
            for arm, answers in self.answers.items()
            if len(answers) == len(self.chosen.items)
        }
        return {
            arm: utility(self.chosen.manifest, self.chosen.items, answers)
            for arm, answers in texts.items()
        }

    def rows(self, judge: str) -> list[Row]:
        """The figures of all arms by one judge."""
        kind = self.chosen.manifest.kind
        judged = self.judged[judge]
        # An arm that only refuses does not show it, nor does one whose pictures were all blocked.
        graded = judge == folder_name(MiniJudge.name) or any(
            tells_right(said.values()) for said in judged.values()
        )
        return [
            row
            for arm in self.arms
            for row in rows_of(
                arm, self.chosen.items, kind, self.answers[arm], judged[arm], graded=graded
            )
        ]
