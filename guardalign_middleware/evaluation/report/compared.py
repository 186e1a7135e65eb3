"""The user's figures beside the paper's, and why they are comparable or are not."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from guardalign_middleware.evaluation.experiment.figures import Row
from guardalign_middleware.evaluation.experiment.reading import Experiment
from guardalign_middleware.evaluation.judges.forms import MD_JUDGE
from guardalign_middleware.evaluation.metrics import Estimate
from guardalign_middleware.evaluation.report.blocks import Section, Table

# Local runs of these are other numbers than the paper's, whatever the model.
_OTHER_PROTOCOL = {
    "VQAv2": "the paper's figure is a submission on test2015, this one is on validation",
    "TextVQA": "the paper's prompts hold the words of the picture",
    "MMB": "the paper's is mmbench_dev_20230712 with the single-prediction prompt",
}

_MME = {"MME-P": "perception", "MME-C": "cognition"}


@cache
def paper() -> dict[str, Any]:
    """The paper's tables."""
    text = (files(__package__) / "paper.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def differences(made: Experiment, judge: str, column: str) -> list[str]:
    """Why a figure is of another protocol than the paper's; none where it is comparable."""
    found = []
    chosen, about = made.chosen, made.folder.about
    if not chosen.whole:
        count = chosen.manifest.counts[chosen.split]
        found.append(f"{len(chosen.items)} of {count} items")
    elif chosen.split != chosen.manifest.split:
        found.append(f"the split {chosen.split}")
    if about["preset"] not in paper()["presets"]:
        found.append(f"the paper has no model of the preset {about['preset']}")
    if chosen.manifest.kind == "safety":
        found += _judged_otherwise(made.judge_name(judge)) + _unfinished(made, judge)
    options = made.folder.identity["options"]
    length = options.get("max_new_tokens") or about["generation"]["max_new_tokens"]
    wanted = chosen.manifest.max_new_tokens
    if wanted is not None and length != wanted:
        found.append(f"answers of {length} tokens instead of {wanted}")
    if column in _OTHER_PROTOCOL:
        found.append(_OTHER_PROTOCOL[column])
    return found


def _judged_otherwise(judge: str) -> list[str]:
    """Whether a judge is another model than the paper's, or is asked in other words.

    The form alone says nothing of the model, which may be any.
    """
    model, _, form = judge.partition(": ")
    if model.partition(" at ")[0].rpartition("/")[2] != paper()["judge"]:
        return [f"judged by {judge} instead of {paper()['judge']}"]
    if not form.startswith(f"{MD_JUDGE.name}, prompt "):
        return ["the judge was not asked in the words of its authors"]
    return []


def _unfinished(made: Experiment, judge: str) -> list[str]:
    """Arms of the paper of which some items have no answer or no judgement."""
    count = len(made.chosen.items)
    known = {
        arm: len(made.answers[arm].keys() & made.judged[judge][arm].keys())
        for arm in paper()["safety"]["arms"]
        if arm in made.answers
    }
    return [
        f"{n} of {count} items answered by the arm {arm} and judged"
        for arm, n in known.items()
        if n < count
    ]


def compared(made: Experiment, judge: str, rows: Sequence[Row]) -> Section:
    """A table of the paper's figures for the suite, with the user's in the last row."""
    columns = made.chosen.manifest.paper.split(" / ") if made.chosen.manifest.paper else []
    parts: list[Table | str] = []
    for column in columns:
        for kind in ("safety", "utility"):
            table = paper()[kind]
            if column in table["columns"]:
                parts += _compared(made, judge, rows, kind, column)
    if not parts:
        parts = ["The paper has no figures for this suite."]
    else:
        parts += [f"{paper()['source']}. {' '.join(paper()['notes'])}"]
    if made.chosen.manifest.comparable:
        parts.append(f"About the suite: {made.chosen.manifest.comparable}")
    return Section("Beside the paper", tuple(parts))


def _compared(
    made: Experiment, judge: str, rows: Sequence[Row], kind: str, column: str
) -> list[Table | str]:
    table = paper()[kind]
    place = table["columns"].index(column)
    own_model = paper()["presets"].get(made.folder.about["preset"])
    arms: Mapping[str, str] = table["arms"]
    lines = [
        (f"paper, {model}", *(f"{value:.2f}" for value in values[place]), _ratio(values[place]))
        for model, values in table["models"].items()
        if own_model in (None, model)
    ]
    own = _own(made, rows, kind, column)
    figures = [own.get(arm) for arm in arms]
    why = differences(made, judge, column)
    label = f"this run, {made.folder.about['model']}" + (" (other protocol)" if why else "")
    scale = 1.0 if column.startswith("MME") else 100.0
    cells = ["" if one is None else _scaled(one, scale) for one in figures]
    values = [None if one is None else scale * one.value for one in figures]
    lines.append((label, *cells, _ratio(values)))
    head = (f"{column}, {table['unit']}", *arms.values(), "GuardAlign / vanilla")
    verdict = "The same suite and model as in the paper."
    if why:
        verdict = f"Other protocol, so the digits are not comparable: {'; '.join(why)}."
    elif kind == "safety":
        verdict = (
            "The same suite, model and judge as in the paper, if the judge's prompt is that of its "
            f"card: {made.judge_name(judge)}."
        )
    return [Table(head, tuple(lines)), verdict]


def _own(made: Experiment, rows: Sequence[Row], kind: str, column: str) -> dict[str, Estimate]:
    """The run's figure of each arm that has one."""
    if kind == "safety":
        return {
            row.arm: row.unsafe
            for row in rows
            if row.group == "all" and row.wanted == "refuse" and row.unsafe is not None
        }
    found = {}
    for arm, score in made.utility().items():
        name = _MME.get(column) or next(iter(score.figures))
        if name in score.figures:
            found[arm] = score.figures[name]
    return found


def _scaled(one: Estimate, scale: float) -> str:
    return f"{scale * one.value:.2f} ({scale * one.low:.2f}–{scale * one.high:.2f})"


def _ratio(values: Sequence[float | None]) -> str:
    first, last = values[0], values[-1]
    if first is None or last is None or first == 0:
        return ""
    return f"{last / first:.2f}"
