"""`guardalign concepts check`: how similar the words of an anchor file are to an encoder."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from guardalign_middleware.cli.console import ALLOWED, UNSAFE, err, out, plain, print_json
from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.detection.anchor_check import AnchorReport, check_anchors
from guardalign_middleware.detection.anchor_file import Entry, read_entries
from guardalign_middleware.detection.encoder import OpenClipEncoder
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.writing import check_outputs, check_target, write_whole


def run_check(
    file: Path, *, overlap: float, matrix: Path | None, as_json: bool, preset: str
) -> int:
    """Print the similarities of the categories, and the words that overlap.

    Returns:
        The exit status: 1 when two words overlap, else 0.

    Raises:
        ConfigError: the file is wrong or has a word unknown to the encoder, or the matrix cannot be
            written.
        ModelLoadError: the encoder cannot be loaded.
    """
    if not 0.0 < overlap <= 1.0:
        raise ConfigError(f"--overlap should be in (0, 1]. Received {overlap}.")
    if matrix is not None:
        check_target(matrix)
        check_outputs({"--matrix": matrix}, {"--preset": [preset], "the words": [file]})
    entries = read_entries(file)
    config = GuardAlignConfig.load(preset)
    with err().status("loading the encoder"):
        encoder = OpenClipEncoder.load(config.detection.encoder)
    report = check_anchors(encoder, entries, overlap=overlap)
    unsafe = [entry for entry in entries if entry.action != "allow"]
    if matrix is not None:
        _write(matrix, report)
    if as_json:
        print_json(_to_record(report, unsafe))
    else:
        out().print(_table(report, unsafe))
        for pair in report.overlaps:
            out().print(f"[dark_orange]warning[/] {plain(f'{file}: {pair.message}')}")
        out().print(
            f"{len(report.words)} words in {len(unsafe)} unsafe and "
            f"{len(entries) - len(unsafe)} neutral concepts, {len(report.overlaps)} warnings"
        )
    return UNSAFE if report.overlaps else ALLOWED


def _table(report: AnchorReport, unsafe: list[Entry]) -> Table:
    """Cosines between the categories' mean words; the diagonal (always 1) shows the action."""
    table = Table(title="similarity of the categories", title_justify="left")
    table.add_column("")
    for number in range(1, len(unsafe) + 1):
        table.add_column(str(number), justify="right")
    table.add_column("nearest neutral words")
    places = {name: place for place, name in enumerate(report.concepts)}
    for number, entry in enumerate(unsafe, start=1):
        row = report.concept_similarity[places[entry.name]]
        cells = [
            entry.action if other is entry else f"{row[places[other.name]]:.2f}" for other in unsafe
        ]
        near = report.nearest_neutral(entry.name)
        words = "-" if near is None else f"{near[0].text} ~ {near[1].text} {near[2]:.2f}"
        table.add_row(f"{number} {escape(entry.name)}", *cells, escape(words))
    return table


def _to_record(report: AnchorReport, unsafe: list[Entry]) -> dict[str, object]:
    places = {name: place for place, name in enumerate(report.concepts)}
    order = [places[entry.name] for entry in unsafe]
    part = report.concept_similarity[order][:, order]
    return {
        "categories": {entry.name: entry.action for entry in unsafe},
        "similarity": part.round(4).tolist(),
        "warnings": [
            {
                "first": pair.first.text,
                "first_line": pair.first.line,
                "second": pair.second.text,
                "second_line": pair.second.line,
                "similarity": round(pair.similarity, 4),
                "message": pair.message,
            }
            for pair in report.overlaps
        ],
    }


def _write(path: Path, report: AnchorReport) -> None:
    """Write the similarities of all words as CSV."""
    text = io.StringIO(newline="")
    rows = csv.writer(text)
    rows.writerow(["concept", "word", *(word.text for word in report.words)])
    for word, values in zip(report.words, report.similarity.tolist(), strict=True):
        rows.writerow([word.concept, word.text, *(f"{value:.4f}" for value in values)])
    write_whole(path, text.getvalue().encode())
