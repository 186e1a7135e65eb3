"""`guardalign eval`: answer a suite by several arms, and print what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from guardalign_middleware.cli.console import (
    ALLOWED,
    CANNOT,
    err,
    out,
    plain,
    print_error,
    print_json,
    tracked,
    without_loading_bars,
)
from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.evaluation.arm_settings import choose_settings
from guardalign_middleware.evaluation.arms import arm_names
from guardalign_middleware.evaluation.arms.build import build_arm
from guardalign_middleware.evaluation.choices import (
    Chosen,
    choose_items,
    choose_judge,
)
from guardalign_middleware.evaluation.experiment import Experiment, Failure, RunFolder, run_arms
from guardalign_middleware.evaluation.experiment.about import arm_settings, identity_of, noted
from guardalign_middleware.evaluation.experiment.attention import attention_to_prefix
from guardalign_middleware.evaluation.experiment.figures import Row
from guardalign_middleware.evaluation.experiment.folder import folder_name
from guardalign_middleware.evaluation.experiment.judging import judge_answers, unjudged
from guardalign_middleware.evaluation.experiment.running import missing
from guardalign_middleware.evaluation.judges import Judge
from guardalign_middleware.evaluation.metrics import Estimate
from guardalign_middleware.guard import GuardAlign

_SHOWN = 5


@dataclass(frozen=True)
class EvalOptions:
    """The options of the command; see `eval_command`."""

    suite: str
    arms: str
    target: Path
    data: str | None
    split: str | None
    limit: int | None
    judge: str | None
    max_new_tokens: int | None
    eta_threshold: float | None
    as_json: bool
    preset: str


def run_eval(options: EvalOptions) -> int:
    """Make the answers that are missing, judge those that are not judged, and print the figures.

    Returns:
        The exit status: 0, or 2 if an item could not be answered.

    Raises:
        GuardAlignError: nothing can be answered or judged; what was answered is stored.
    """
    without_loading_bars()
    names = arm_names(options.arms)
    config = GuardAlignConfig.load(options.preset)
    with err().status("reading the suite"):
        chosen = choose_items(options.suite, options.data, options.split, options.limit)
        prefix = "" if config.runner is None else config.runner.prefix.text
        judge = choose_judge(chosen.manifest, options.judge, prefix)
    with err().status("loading the models"):
        chain = GuardAlign.from_config(config)
        settings = choose_settings(
            chosen.manifest,
            chain,
            names,
            max_new_tokens=options.max_new_tokens,
            eta_threshold=options.eta_threshold,
        )
        arms = {name: build_arm(name, chain, settings) for name in names}
    identity = identity_of(
        chosen.manifest, chosen.split, chosen.items, chain, settings, chosen.limit
    )
    about = noted(chosen.manifest, chain, options.preset, chosen.data)
    of_arms = arm_settings(settings, names)
    with RunFolder.open(options.target, identity, about, of_arms) as folder:
        failures: list[Failure] = []
        total = missing(folder, chosen.items, names)

        def asked() -> Iterator[int]:
            for step in run_arms(folder, chosen.items, chain, arms):
                failures.extend(step.failures)
                yield from range(step.answered + len(step.failures))

        for _ in tracked(asked(), "answering", total):
            pass
        judge_all(folder, chosen, judge, names)
        if folder.attention() is None and {"prefix", "calibration", "full"} & set(names):
            with err().status("measuring attention to the prefix"):
                measured = attention_to_prefix(chain, chosen.items)
            if measured is not None:
                folder.write_attention(measured)
        made = Experiment.of(folder, chosen, names, (folder_name(judge.name),))
        rows = made.rows(folder_name(judge.name))
        scores = [
            (arm, f"{name} {figure}")
            for arm, score in made.utility().items()
            for name, figure in score.figures.items()
        ]
    _show(options, chosen, judge, rows, scores)
    for failure in failures[:_SHOWN]:
        print_error(f"{failure.arm}, item {failure.item}: {failure.error}")
    if len(failures) > _SHOWN:
        print_error(f"and {len(failures) - _SHOWN} more items that could not be answered.")
    return CANNOT if failures else ALLOWED


def judge_all(folder: RunFolder, chosen: Chosen, judge: Judge, arms: Sequence[str]) -> None:
    """Judge what is answered and not yet judged, with a bar."""

    def judged() -> Iterator[int]:
        for count in judge_answers(folder, chosen.items, judge, arms):
            yield from range(count)

    for _ in tracked(judged(), "judging", unjudged(folder, judge.name, arms)):
        pass


def _show(
    options: EvalOptions,
    chosen: Chosen,
    judge: Judge,
    rows: Sequence[Row],
    scores: Sequence[tuple[str, str]],
) -> None:
    if options.as_json:
        print_json(
            {
                "suite": chosen.manifest.name,
                "split": chosen.split,
                "items": len(chosen.items),
                "whole": chosen.whole,
                "judge": judge.name,
                "rows": [row.to_json() for row in rows],
                "utility": [list(one) for one in scores],
            }
        )
        return
    title = f"{chosen.manifest.title}, {len(chosen.items)} items, judged by {judge.name}"
    if not chosen.whole:
        title += f" (of {chosen.manifest.counts[chosen.split]} published: no published protocol)"
    table = Table(title=plain(title))
    for column in ("arm", "items", "n", "unsafe (USR)", "refused", "right", "unparsed", "calls"):
        table.add_column(column)
    table.add_column("s")
    for row in rows:
        if row.group != "all":
            continue
        table.add_row(
            row.arm,
            "harmful" if row.wanted == "refuse" else "harmless",
            str(row.answered),
            _figure(row.unsafe),
            _figure(row.refused),
            _figure(row.right),
            str(row.unparsed) if row.unparsed else "",
            f"{row.calls:.1f}",
            f"{row.seconds:.2f}",
        )
    out(soft_wrap=False).print(table)
    for arm, shown in scores:
        out().print(plain(f"{arm}: {shown}"))
    out().print(plain(f"Rate [95% Wilson interval]. Stored in {options.target}."))


def _figure(estimate: Estimate | None) -> str:
    return "" if estimate is None else str(estimate)
