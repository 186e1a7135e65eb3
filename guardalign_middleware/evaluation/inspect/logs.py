"""Runs from Inspect's logs: the answers of our arms to one suite, in the folder of a run.

Inspect's own reader reads the logs, so `inspect-ai` must be installed where this is called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from pydantic import BaseModel, Field, JsonValue, ValidationError

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.evaluation.arms import arm_names
from guardalign_middleware.evaluation.choices import SUITE_NAMES, manifest_of
from guardalign_middleware.evaluation.experiment import RunFolder
from guardalign_middleware.evaluation.judges import BLOCKED, Judgement, Label, add_judgements
from guardalign_middleware.evaluation.lines import Record
from guardalign_middleware.local_extra import install
from guardalign_middleware.replies import FinishReason

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample

_Model = TypeVar("_Model", bound=BaseModel)
_ENDINGS = (".eval", ".json")
# Large parts of a sample that no figure needs.
_UNREAD = {"messages", "events", "store", "attachments"}


class AnsweredBy(BaseModel):
    """What the provider says of the model in each answer, since a log's header has no place for it.

    Attributes:
        preset: as the user named it.
        model: its full name.
        chain: what answers depend on.
        generation: how they are generated.
        versions: of the libraries.
        weights: digests of the models; empty in logs by earlier versions.
    """

    preset: str
    model: str
    chain: dict[str, JsonValue]
    generation: dict[str, JsonValue]
    versions: dict[str, str]
    weights: dict[str, JsonValue] = Field(default_factory=dict)


class Told(BaseModel):
    """What the provider says in the metadata of an answer; see `Answered` and `AnsweredBy`."""

    arm: str
    calls: int
    finish_reason: FinishReason
    detail: dict[str, JsonValue]
    run: AnsweredBy


class Asked(BaseModel):
    """What a task says in the metadata of a log."""

    split: str
    items: int
    items_sha256: str


@dataclass(frozen=True)
class _Log:
    """What one log says.

    Attributes:
        path: of the log.
        arm: that answered.
        same: what has to be the same in the logs of one run.
        about: what else a reader wants to know.
        answers: by item.
        judged: by judge and item.
        eta_threshold: that the arm was given.
    """

    path: Path
    arm: str
    same: Mapping[str, Any]
    about: Mapping[str, Any]
    answers: Mapping[str, Record]
    judged: Mapping[str, Mapping[str, Judgement]]
    eta_threshold: float | None


def logs_at(place: Path) -> tuple[Path, ...]:
    """The logs that a path names: it, or those in this folder; none where it is a run's folder."""
    if place.is_file():
        return (place,) if place.suffix in _ENDINGS else ()
    if (place / "run.json").exists():
        return ()
    found: tuple[Path, ...] = ()
    for ending in _ENDINGS:
        found = found or tuple(sorted(place.glob(f"*{ending}")))
    return found


def write_run(logs: Sequence[Path], target: Path) -> RunFolder:
    """Write the folder of a run from logs, one for each arm.

    Args:
        logs: of one suite, answered by arms of one preset and judged by our scorer.
        target: the new folder.

    Raises:
        ConfigError: inspect-ai is not installed, a file is no such log, or the logs are of
            different runs.
    """
    every = [_read(path) for path in logs]
    first = every[0]
    arms: dict[str, _Log] = {}
    for one in every:
        differs = sorted(name for name in first.same if one.same[name] != first.same[name])
        if differs:
            raise ConfigError(
                f"{one.path} was made with a different {', '.join(differs)} than {first.path}.",
                remedy="Keep the logs of one suite and preset in a folder of their own: --log-dir.",
            )
        if one.arm in arms:
            raise ConfigError(
                f"{arms[one.arm].path} and {one.path} are both of the arm {one.arm}.",
                remedy="Keep one log of each arm in the folder.",
            )
        arms[one.arm] = one
    eta = arms.get("eta")
    of_arms = {} if eta is None else {"eta": {"threshold": eta.eta_threshold}}
    with RunFolder.open(target, dict(first.same), dict(first.about), of_arms) as folder:
        for arm, one in arms.items():
            folder.add_answers(arm, list(one.answers.values()))
            texts = {key: record["text"] for key, record in one.answers.items()}
            for judge, judged in one.judged.items():
                add_judgements(folder.judgement_file(judge, arm), judged, texts)
    return folder


def _read(path: Path) -> _Log:
    log = _log(path)
    suite = log.eval.task.rpartition("/")[2]
    asked = _valid(Asked, log.eval.metadata)
    if suite not in SUITE_NAMES or asked is None:
        raise _foreign(path, f"is of the task {log.eval.task!r}, which is no suite of this package")
    answers: dict[str, Record] = {}
    judged: dict[str, dict[str, Judgement]] = {}
    told, run = None, None
    for sample in log.samples or ():
        if sample.error is not None:
            continue  # the page says how many answers there are
        key = str(sample.id)
        if key in answers:
            raise _foreign(path, f"has several answers to the item {key}")
        told = _valid(Told, sample.output.metadata)
        if told is None or arm_names(told.arm) != (told.arm,):
            raise _foreign(path, f"was answered by {log.eval.model}, which is no arm")
        run = run or told.run
        if told.run.model_copy(update={"versions": run.versions}) != run:
            raise _foreign(path, "has answers of several models or settings")
        answers[key] = _answer(key, sample, told)
        for name, judgement in _judgements(sample).items():
            judged.setdefault(name, {})[key] = judgement
    if told is None or run is None:
        raise _foreign(path, "has no answers")
    if not judged:
        raise ConfigError(
            f"The answers in {path} are not judged.",
            remedy=f"Judge them: inspect score {path}",
        )
    length = run.generation.get("max_new_tokens")
    same = {
        "suite": suite,
        "limit": log.eval.task_args.get("limit"),
        **asked.model_dump(),
        "chain": run.chain,
        "weights": run.weights,
        "options": {"max_new_tokens": length},
        "generation": {
            name: value for name, value in run.generation.items() if name != "max_new_tokens"
        },
    }
    about = {
        "made": log.eval.created,
        "preset": run.preset,
        "data": log.eval.dataset.location,
        "manifest": manifest_of(suite).to_record(),
        "model": run.model,
        "generation": run.generation,
        "versions": run.versions,
    }
    threshold = log.eval.model_args.get("eta_threshold")
    by_judge = {_name(one): one for one in judged.values()}
    return _Log(path, told.arm, same, about, answers, by_judge, threshold)


def _valid(kind: type[_Model], value: object) -> _Model | None:
    try:
        return kind.model_validate(value)
    except ValidationError:
        return None


def _log(path: Path) -> EvalLog:
    try:
        from inspect_ai.log import read_eval_log
    except ImportError as error:
        raise ConfigError(
            f"Reading {path} needs Inspect.",
            remedy=f"Install it with: {install('eval')}",
        ) from error
    try:
        return read_eval_log(str(path), exclude_fields=set(_UNREAD))
    except Exception as error:  # noqa: BLE001 (of the formats and of their compression)
        raise _foreign(path, f"cannot be read as a log ({type(error).__name__})") from error


def _answer(key: str, sample: EvalSample, told: Told) -> Record:
    output = sample.output
    usage = output.usage
    return {
        "id": key,
        "text": output.completion,
        "finish_reason": told.finish_reason,
        "calls": told.calls,
        "input_tokens": 0 if usage is None else usage.input_tokens,
        "output_tokens": 0 if usage is None else usage.output_tokens,
        "detail": told.detail,
        "seconds": output.time or 0.0,
    }


def _judgements(sample: EvalSample) -> dict[str, Judgement]:
    """What our scorers said, by the name that Inspect gave each of them."""
    found = {}
    for name, score in (sample.scores or {}).items():
        told = score.metadata or {}
        if told.get("label") in get_args(Label):
            found[name] = Judgement(
                told["label"], str(told.get("judge")), told.get("detail"), told.get("with_echo")
            )
    return found


def _name(judged: Mapping[str, Judgement]) -> str:
    """The judge's own name; blocked pictures do not tell it."""
    names = (one.judge for one in judged.values())
    return next((name for name in names if name != BLOCKED), BLOCKED)


def _foreign(path: Path, why: str) -> ConfigError:
    return ConfigError(
        f"{path} {why}.",
        remedy="A report is of suites of this package, answered by its arms: "
        "inspect eval guardalign_middleware/SUITE --model guardalign/PRESET",
    )
