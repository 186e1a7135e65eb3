"""What a report says: figures, the paper's beside them, plots, settings, examples."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.evaluation.arms import ARMS
from guardalign_middleware.evaluation.experiment.figures import Row, wanted_of
from guardalign_middleware.evaluation.experiment.reading import Experiment
from guardalign_middleware.evaluation.judges import Outcome, counts, tells_refusals
from guardalign_middleware.evaluation.metrics import Estimate
from guardalign_middleware.evaluation.paired import mcnemar, paired_difference
from guardalign_middleware.evaluation.report.blocks import Report, Section, Table
from guardalign_middleware.evaluation.report.compared import compared
from guardalign_middleware.evaluation.report.drawings import drawings
from guardalign_middleware.evaluation.report.examples import examples
from guardalign_middleware.evaluation.report.settings import settings


def report_of(made: Experiment, judge: str | None = None) -> Report:
    """The report of an experiment.

    Args:
        made: with its answers and judgements.
        judge: folder of the judge whose figures are shown; None = the one that judged most, and of
            equals the first.

    Raises:
        ConfigError: there is no such judge, or nothing was judged.
    """
    chosen = made.chosen
    main = _main_judge(made, judge)
    rows = made.rows(main)
    shown = examples(made, main)
    sections = [
        Section("Figures", (*_notes(made, main), *_tables(rows), _LEGEND, _arms(made))),
        *_groups(rows),
        *_utility(made),
        *_paired(made, main),
        *_judges(made, main),
        compared(made, main, rows),
        *drawings(made, main, rows),
        settings(made),
    ]
    if shown.shown:
        told = "Pictures that the guard masked; what was found is covered with a margin."
        sections.append(Section("Masked pictures", (told, shown)))
    made_at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return Report(
        f"{chosen.manifest.title}: {made.folder.about['model']}",
        f"{len(chosen.items)} items, split {chosen.split}, judged by {made.judge_name(main)}. "
        f"Answered from {made.folder.about['made']}; page made {made_at} by GuardAlign Middleware.",
        tuple(sections),
    )


_LEGEND = (
    "Each rate with its 95% Wilson interval. Unsafe (USR) counts what the judge could not say as "
    "unsafe; beside it the rate over what it could say. Over-refusal is the share of harmless "
    "items that are refused, or of which the judge could not say it: a figure of safety says "
    "little without it. Seconds are of the machine named below, the scan included."
)


def _main_judge(made: Experiment, judge: str | None) -> str:
    if judge is not None and judge not in made.judged:
        raise ConfigError(
            f"Nothing here was judged by {judge!r}.",
            remedy=f"Judges are: {', '.join(made.judged) or 'none'}.",
        )
    counts = {name: sum(map(len, arms.values())) for name, arms in made.judged.items()}
    if not any(counts.values()):
        raise ConfigError(
            f"Nothing in {made.folder.path} was judged.",
            remedy="Run the command that made it again: it judges what is answered.",
        )
    return judge or max(counts, key=lambda name: counts[name])


def _notes(made: Experiment, judge: str) -> list[str]:
    """What a reader has to know before the figures."""
    chosen, notes = made.chosen, []
    if not chosen.whole:
        count = chosen.manifest.counts[chosen.split]
        notes.append(
            f"This is a part of the suite: {len(chosen.items)} of {count} items. Its figures are "
            "not those of the suite."
        )
    for arm, answers in made.answers.items():
        if len(answers) < len(chosen.items):
            notes.append(
                f"The arm {arm} has {len(answers)} of {len(chosen.items)} answers: its figures are "
                "of other items than the others'."
            )
        if open_ones := len(answers.keys() - made.judged[judge][arm].keys()):
            notes.append(f"{open_ones} answers of the arm {arm} are not judged.")
    if made.folder.about["preset"] == "mini" and chosen.manifest.name != "mini":
        notes.append(
            "The miniature models know pictographs only: these figures show that the software runs "
            "on this suite, and say nothing about safety."
        )
    return notes


def _tables(rows: Sequence[Row]) -> list[Table]:
    """A row for each arm: on harmful items, and on harmless ones with what an answer costs."""
    arms = dict.fromkeys(row.arm for row in rows)
    whole = {(row.arm, row.wanted): row for row in rows if row.group == "all"}
    harmful, rest = [], []
    for arm in arms:
        bad, good = whole.get((arm, "refuse")), whole.get((arm, "answer"))
        if bad is not None:
            unsafe = _both(bad.unsafe, bad.unsafe_with_echo)
            shown = (unsafe, _shown(bad.unsafe_parsed), str(bad.unparsed))
            harmful.append((arm, str(bad.answered), *shown, _shown(bad.refused)))
        both = [row for row in (bad, good) if row is not None]
        n = sum(row.answered for row in both)
        calls = sum(row.calls * row.answered for row in both) / n
        seconds = sum(row.seconds * row.answered for row in both) / n
        answers = ("",) * 4 if good is None else _answers(good)
        rest.append((arm, *answers, f"{calls:.2f}", f"{seconds:.2f}"))
    head = ("arm", "harmful items", "unsafe (USR)", "of the parsed", "unparsed", "refused")
    other = (
        "arm",
        "harmless items",
        "over-refusal",
        "unparsed",
        "right",
        "calls",
        "seconds",
    )
    return [_filled(*one) for one in ((head, harmful), (other, rest)) if one[1]]


def _answers(row: Row) -> tuple[str, ...]:
    refused = _both(row.refused, row.refused_with_echo)
    return str(row.answered), refused, str(row.unparsed or ""), _shown(row.right)


def _filled(head: tuple[str, ...], lines: Sequence[tuple[str, ...]]) -> Table:
    """A table without the columns in which nothing stands."""
    kept = [place for place in range(len(head)) if any(line[place] for line in lines)]
    return Table(
        tuple(head[place] for place in kept),
        tuple(tuple(line[place] for place in kept) for line in lines),
    )


def _arms(made: Experiment) -> Table:
    rows = [(arm, ARMS[arm.partition("@")[0]]) for arm in made.arms]
    return Table(("arm", "what it is"), tuple(rows))


def _groups(rows: Sequence[Row]) -> list[Section]:
    """Figures by split and category, arms side by side."""
    groups = dict.fromkeys((row.wanted, row.group) for row in rows if row.group != "all")
    arms = dict.fromkeys(row.arm for row in rows)
    found = {(row.arm, row.wanted, row.group): row for row in rows}
    if not groups:
        return []
    lines = []
    for wanted, group in groups:
        each = [found.get((arm, wanted, group)) for arm in arms]
        n = max(row.answered for row in each if row is not None)
        figure = "unsafe" if wanted == "refuse" else "over-refusal"
        shown = [
            "" if row is None else _short(row.unsafe if wanted == "refuse" else row.refused)
            for row in each
        ]
        lines.append((group, figure, str(n), *shown))
        if any(row is not None and row.right is not None for row in each):
            right = ["" if row is None else _short(row.right) for row in each]
            lines.append((group, "right", str(n), *right))
    return [Section("By category", (Table(("items", "figure", "n", *arms), tuple(lines)),))]


def _utility(made: Experiment) -> list[Section]:
    """The suite's own figures of each arm."""
    scores = made.utility()
    if not scores:
        return []
    names = list(next(iter(scores.values())).figures)
    lines = [
        (
            arm,
            *(_shown(score.figures.get(name)) for name in names),
            "" if score.unread is None else str(score.unread),
        )
        for arm, score in scores.items()
    ]
    told = "By the rule of the suite's authors; an answer that the rule cannot read is wrong."
    return [Section("Utility", (Table(("arm", *names, "unread"), tuple(lines)), told))]


def _paired(made: Experiment, judge: str) -> list[Section]:
    """Each arm against the first one, item by item."""
    first, *rest = made.arms
    kind = made.chosen.manifest.kind
    lines = []
    kinds: tuple[tuple[str, Outcome, str], ...] = (
        ("refuse", "unsafe", "unsafe"),
        ("answer", "over-refused", "refused"),
    )
    for wanted, outcome, figure in kinds:
        items = [item.id for item in made.chosen.items if wanted_of(item, kind) == wanted]
        judged = {
            arm: {key: said[key] for key in items if key in said}
            for arm, said in made.judged[judge].items()
        }
        if outcome != "unsafe" and not all(tells_refusals(one.values()) for one in judged.values()):
            continue
        marks = {
            arm: {key: counts(one.label, outcome) for key, one in said.items()}
            for arm, said in judged.items()
        }
        for arm in rest:
            both = marks[first].keys() & marks[arm].keys()
            if not both:
                continue
            one, other = (
                {key: marks[name][key] for key in items if key in both} for name in (first, arm)
            )
            difference, test = paired_difference(one, other), mcnemar(one, other)
            shown = f"{difference.value:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})"
            split = f"{test.only_first} / {test.only_second}"
            lines.append((arm, figure, str(test.n), shown, split, f"{test.p_value:.2g}"))
    if not lines:
        return []
    head = ("arm", "figure", "n", "difference", f"only {first} / only it", "p (McNemar)")
    told = (
        f"Each arm minus {first}, on the items that both answered: Newcombe's paired interval, 95%."
    )
    return [Section(f"Against {first}", (Table(head, tuple(lines)), told))]


def _judges(made: Experiment, main: str) -> list[Section]:
    """What other judges said of the same answers."""
    if len(made.judged) < 2:
        return []
    lines = []
    for judge in (main, *(name for name in made.judged if name != main)):
        whole = {(row.arm, row.wanted): row for row in made.rows(judge) if row.group == "all"}
        for wanted, figure in (("refuse", "unsafe"), ("answer", "over-refusal")):
            each = [whole.get((arm, wanted)) for arm in made.arms]  # type: ignore[arg-type]
            if any(row is not None for row in each):
                shown = [
                    "" if row is None else _shown(row.unsafe if wanted == "refuse" else row.refused)
                    for row in each
                ]
                unparsed = sum(0 if row is None else row.unparsed for row in each)
                lines.append((made.judge_name(judge), figure, *shown, str(unparsed)))
    table = Table(("judge", "figure", *made.arms, "unparsed"), tuple(lines))
    told = "The same stored answers. A judge often changes a figure more than a defence does."
    return [Section("Judges side by side", (told, table))]


def _both(one: Estimate | None, with_echo: Estimate | None) -> str:
    """A rate, and beside it the one with the safety prefix's echo where that differs."""
    beside = "" if with_echo is None else f"; with the prefix's echo {with_echo.value:.3f}"
    return f"{_shown(one)}{beside}"


def _shown(one: Estimate | None) -> str:
    return "" if one is None else f"{one.value:.3f} ({one.low:.3f}–{one.high:.3f})"


def _short(one: Estimate | None) -> str:
    return "" if one is None else f"{one.value:.3f}"
