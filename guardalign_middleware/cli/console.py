"""Shared by all commands: exit statuses, the two consoles, and one-line errors."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import track

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.types import Decision

T = TypeVar("T")

ALLOWED: Final = 0
UNSAFE: Final = 1
CANNOT: Final = 2

STYLES: dict[Decision, str] = {"allow": "green", "mask": "dark_orange", "block": "bold red"}


def out() -> Console:
    """Standard output, for results only, so that they can be piped."""
    return Console(soft_wrap=True, highlight=False, emoji=False)


def err() -> Console:
    """Standard error, for progress and errors."""
    return Console(stderr=True, soft_wrap=True, highlight=False, emoji=False)


def plain(text: str) -> str:
    """Text as rich markup that shows every character and interprets none.

    File names can hold anything: brackets, line ends, sequences that move the cursor, and bytes
    that are not UTF-8 and so cannot even be printed.
    """
    shown = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )
    return escape(shown)


def print_error(message: str) -> None:
    """Print an error as exactly one line."""
    err().print(f"[bold red]error:[/] {plain(' '.join(message.split()))}")


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object on one line, without NaN, which is not JSON."""
    line = json.dumps(value, ensure_ascii=False, allow_nan=False)
    # Bytes of a file name that are not UTF-8 become JSON escapes.
    out().print(line.encode("utf-8", "backslashreplace").decode(), markup=False)


def tracked(items: Sequence[T], description: str) -> Iterator[T]:
    """Iterate with a progress bar, if on a terminal and there are several items."""
    hidden = len(items) < 2 or not sys.stderr.isatty()
    yield from track(items, description=description, console=err(), disable=hidden)


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
