"""Shared by all commands: exit statuses, the two consoles, progress, and one-line errors."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final, TypeVar, cast

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from guardalign_middleware.bulk.records import ALLOWED as ALLOWED
from guardalign_middleware.bulk.records import CANNOT as CANNOT
from guardalign_middleware.bulk.records import UNSAFE as UNSAFE
from guardalign_middleware.bulk.records import to_json_line
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.types import Decision

T = TypeVar("T")

FAILED: Final = 3
INTERRUPTED: Final = 130

STYLES: dict[Decision, str] = {
    "allow": "green",
    "observe": "cyan",
    "mask": "dark_orange",
    "block": "bold red",
}


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Let the error through; rich would exit with the status that means "unsafe"."""
        raise  # noqa: PLE0704 (called while the error is handled)


class _Forgiving:
    """Standard error, which may be full or closed: there is nowhere left to say so."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return _attribute(self._stream, name)


class _Results:
    """Standard output as it is now: while a bar is shown, what prints above it."""

    def write(self, text: str) -> int:
        return sys.stdout.write(text)

    def flush(self) -> None:
        sys.stdout.flush()

    def __getattr__(self, name: str) -> Any:
        return _attribute(sys.stdout, name)


def _attribute(stream: IO[str], name: str) -> Any:
    if name == "rich_proxied_file":
        # With it, rich would look behind the stream that prints above a bar, and print into it.
        raise AttributeError(name)
    return getattr(stream, name)


def out(*, soft_wrap: bool = True) -> Console:
    """Standard output, for results only, so that they can be piped."""
    stream = cast("IO[str]", _Results())
    return _Console(file=stream, soft_wrap=soft_wrap, highlight=False, emoji=False)


def err() -> Console:
    """Standard error, for progress and errors."""
    stream = cast("IO[str]", _Forgiving(sys.stderr))
    return _Console(file=stream, soft_wrap=True, highlight=False, emoji=False)


def plain(text: str, *, lines: bool = False) -> str:
    """Text as rich markup that shows every character and interprets none.

    File names can hold anything: brackets, line ends, sequences that move the cursor, and bytes
    that are not UTF-8 and so cannot even be printed. So can the answers of a model.

    Args:
        text: to be shown.
        lines: whether line ends and tabs are what they are.
    """
    kept = "\n\t" if lines else ""
    shown = "".join(
        letter
        if letter.isprintable() or letter in kept
        else letter.encode("unicode_escape").decode()
        for letter in text
    )
    return escape(shown)


def print_error(message: str) -> None:
    """Print an error as exactly one line."""
    err().print(f"[bold red]error:[/] {plain(' '.join(message.split()))}")


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object on one line.

    Raises:
        OSError: it cannot be written.
    """
    sys.stdout.write(to_json_line(value, sys.stdout.encoding or "utf-8"))
    sys.stdout.flush()


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f}/s", style="cyan")


def tracked(items: Iterable[T], description: str, total: int | None) -> Iterator[T]:
    """Iterate with a bar, the rate and the time left, if on a terminal and there are several.

    Args:
        items: to iterate over.
        description: stands before the bar.
        total: how many there are; None = that is not known.
    """
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=err(),
        disable=total in {0, 1} or not sys.stderr.isatty(),
        # On the same terminal, results are printed above the bar. In a file or pipe they have
        # their own place, and redirecting them would send them to standard error.
        redirect_stdout=sys.stdout.isatty(),
    )
    with bar:
        yield from bar.track(items, total=total, description=description)


def without_loading_bars() -> None:
    """Silence the progress bars of transformers; the commands show a status line instead."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def make_folder(folder: Path) -> Path:
    """Create an output folder.

    Raises:
        ConfigError: it cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"Cannot write to the folder {folder}: {error.strerror}.",
            remedy="Choose a different folder.",
        ) from error
    return folder
