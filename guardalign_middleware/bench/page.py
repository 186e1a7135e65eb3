"""One page of results in Markdown, to paste into an issue; nothing on it names a file."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import torch
import transformers

from guardalign_middleware import __version__
from guardalign_middleware.bench.measure import Found, Plan
from guardalign_middleware.bench.subject import Subject
from guardalign_middleware.bench.tables import interval, markdown

_UNVERIFIED = (
    "One run on one machine. A preset that is not verified stays so, and figures on the pages of "
    "the project that are computed stay computed, until this was looked at and put there."
)


def machine(subject: Subject) -> dict[str, str]:
    """What was measured, and on what."""
    return {
        "preset": subject.config.name,
        "verified": "yes" if subject.config.verified else "no",
        "encoder": subject.encoders,
        "patches": f"{subject.config.detection.patches.layout}, at most "
        f"{subject.config.detection.patches.max_crops} crops",
        "words": subject.config.words.mode,
        "model": subject.model,
        "device": subject.device.name,
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": f"GuardAlign {__version__}, torch {torch.__version__}, transformers "
        f"{transformers.__version__}",
        "day": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def page_of(subject: Subject, plan: Plan, found: Found, about: dict[str, str]) -> str:
    """The page.

    Args:
        subject: what was measured.
        plan: how much.
        found: the figures.
        about: from `machine`.
    """
    parts = [
        f"# guardalign bench: {about['preset']} on {about['device']}",
        _validity(found),
        markdown(["", ""], [[name, value] for name, value in about.items()]),
        "## Scans",
        markdown(
            ["pictures", "crops", "ms for one", "pictures/s", "crops/s"],
            [
                [
                    each.pictures,
                    str(each.crops),
                    f"{1000.0 * each.seconds:.1f}",
                    f"{1.0 / each.seconds:.3g}",
                    f"{each.crops / each.seconds:.3g}",
                ]
                for each in found.scans
            ],
        ),
        f"Medians of elapsed time over {plan.repeats} scans or more, one after another, of decoded "
        "pictures in which nothing is found.",
    ]
    if found.answers:
        parts += ["## Answers", *_answers(subject, plan, found)]
    parts += [
        "## Ratios",
        _ratios(found),
        _how(subject, plan),
        "## Memory",
        _memory(subject, found),
    ]
    return "\n\n".join([*parts, _UNVERIFIED]) + "\n"


def to_json(plan: Plan, found: Found, about: dict[str, str]) -> dict[str, Any]:
    """Plain JSON values of the same."""
    return {"about": about, "pairs": plan.pairs, **found.to_json()}


def _validity(found: Found) -> str:
    if not found.faults:
        return "**Valid**: calls that are timed twice differ from themselves by at most 2%."
    return f"**This run is void**: {'; '.join(found.faults)}."


def _answers(subject: Subject, plan: Plan, found: Found) -> Sequence[str]:
    rows = [
        [
            each.how,
            f"{each.seconds:.3g}",
            f"{each.tokens / each.seconds:.3g}",
            f"{each.answers / each.seconds:.3g}",
        ]
        for each in found.answers
    ]
    width, height = plan.asked
    return (
        markdown(["", "s for a call", "tokens/s", "answers/s"], rows),
        f"Medians of elapsed time over {plan.repeats} calls: a question about a picture of "
        f"{width} × {height}, answered with exactly {subject.tokens} tokens.",
    )


def _ratios(found: Found) -> str:
    rows = [[each.name, interval(each.ratio, each.low, each.high)] for each in found.ratios]
    return markdown(["of costs", "median (95% interval)"], rows)


def _how(subject: Subject, plan: Plan) -> str:
    clock = (
        "CPU time of all threads"
        if "allocator" not in subject.device.memory
        else ("elapsed time with the work of the device")
    )
    return f"{plan.pairs} pairs in one process, in turns of alternating direction, by {clock}."


def _memory(subject: Subject, found: Found) -> str:
    rows = [
        [what, "unknown" if peak is None else f"{peak / 2**30:.2f}"]
        for what, peak in found.peaks.items()
    ]
    return markdown([subject.device.memory, "GiB"], rows)
