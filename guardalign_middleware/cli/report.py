"""`guardalign report`: a page about a stored evaluation."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from guardalign_middleware.cli.console import ALLOWED, err, out, plain
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.evaluation.experiment.reading import Experiment
from guardalign_middleware.evaluation.inspect.logs import logs_at, write_run
from guardalign_middleware.evaluation.report import report_of, to_html, to_markdown
from guardalign_middleware.writing import check_target, write_whole


def run_report(folder: Path, target: Path, *, data: str | None, judge: str | None) -> int:
    """Write the page, and its text and tables as Markdown beside it.

    Args:
        folder: of a run; or one of Inspect's logs, or the folder that holds them.
        target: of the page.
        data: the suite's files; None = where they were.
        judge: folder of the judge whose figures are shown; None = the one that judged most.

    Returns:
        The exit status 0.

    Raises:
        ConfigError: there is no evaluation, its suite has changed, or a file cannot be written.
    """
    if target.suffix != ".html":
        raise ConfigError(f"The page should be named FILE.html. Received {target}.")
    beside = target.with_suffix(".md")
    for path in (target, beside):
        check_target(path)
    with err().status("reading the answers and the suite"), TemporaryDirectory() as temporary:
        logs = logs_at(folder)
        path = write_run(logs, Path(temporary) / "run").path if logs else folder
        report = report_of(Experiment.read(path, data), judge)
    for path, text in ((target, to_html(report)), (beside, to_markdown(report))):
        write_whole(path, text.encode())
    out().print(plain(f"written: {target}, {beside}"))
    return ALLOWED
