"""`guardalign attack --words`: measure how easily words get past the reader."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from guardalign_middleware.bulk.folders import expand
from guardalign_middleware.cli.console import ALLOWED, err, out, tracked
from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.output import load_as_scanned
from guardalign_middleware.words_loading import load_words
from guardalign_middleware.writing import check_outputs, check_target, write_whole

if TYPE_CHECKING:
    from guardalign_middleware.evaluation.word_attacks import WordAttackReport, WordTarget
    from guardalign_middleware.words.judge import LineJudge
    from guardalign_middleware.words.reader import WordReader


def run_word_attack(
    unsafe: Sequence[str], *, n: int, seed: int, results: Path | None, preset: str
) -> int:
    """Attack pictures of words and print what is still read and flagged.

    They are judged as the mode `guard` does with the preset's settings for words, whatever its own
    mode is. Of pictures that are given, the first `n` are taken, and those in which nothing is
    found without an attack are left out. Without any, `n` of each kind are drawn, ten at most:
    orders that rules know, orders in other words, and empty lists.

    Returns:
        The exit status 0.

    Raises:
        ConfigError: there is nothing to attack, `n` is out of range, a file cannot be written, or
            the extra `words` is not installed.
        GuardAlignError: an image cannot be read, or a network cannot be loaded.
    """
    if n < 1:
        raise ConfigError("--n should be >= 1.")
    if results is not None:
        check_target(results)
    config = GuardAlignConfig.load(preset)
    pictures = (file for path in unsafe for file in expand(path, config.intake))
    check_outputs({"--json": results}, {"--preset": [preset], "a picture": pictures})
    words = config.words.model_copy(update={"mode": "guard"})
    with err().status("loading the reader"):
        policy = load_words(config.model_copy(update={"words": words}))
    if policy is None or policy.judge is None:
        raise AssertionError("The mode guard has a reader and a judge.")
    from guardalign_middleware.evaluation.word_attacks import run_word_attacks

    report = run_word_attacks(
        policy.reader,
        policy.judge,
        _targets(policy.reader, policy.judge, unsafe, config, n),
        seed=seed,
        progress=lambda items: tracked(items, "attacking", len(items)),
    )
    _show(report)
    if results is not None:
        _write(results, report)
    return ALLOWED


def _targets(
    reader: WordReader, judge: LineJudge, unsafe: Sequence[str], config: GuardAlignConfig, n: int
) -> list[WordTarget]:
    from guardalign_middleware.evaluation.word_attacks import drawn_targets, target_of

    if not unsafe:
        return drawn_targets(n)
    sources = [source for path in unsafe for source in expand(path, config.intake)][:n]
    found = []
    for source in sources:
        image = load_as_scanned(source, config.intake, config.output)
        lines = [line for line in reader.read(image) if line.text]
        if any(one.unsafe for one in judge.judge(lines)):
            found.append(target_of(image, lines))
    if len(found) < len(sources):
        err().print(f"{len(sources) - len(found)} of {len(sources)} pictures are not flagged")
    if not found:
        raise ConfigError("No words of these pictures are flagged, so nothing is attacked.")
    return found


def _show(report: WordAttackReport) -> None:
    table = Table(
        title=f"{report.pictures} pictures of words (95% intervals)", title_justify="left"
    )
    kinds = tuple(report.attacks[0].flagged)
    for column in ("attack", "words read", *(f"flagged: {kind}" for kind in kinds)):
        table.add_column(column)
    for row in report.attacks:
        shares = [str(row.flagged[kind]) if kind in row.flagged else "–" for kind in kinds]
        table.add_row(escape(row.attack), str(row.read), *shares)
    out().print(table)


def _write(path: Path, report: WordAttackReport) -> None:
    text = json.dumps(asdict(report), indent=1, ensure_ascii=False)
    write_whole(path, text.encode() + b"\n")
