"""Names of inputs: which of them mean a file, and what a line of JSON calls each."""

from __future__ import annotations

import os
from typing import Final

from guardalign_middleware.intake.data_url import is_data_url
from guardalign_middleware.writing import NameTooLong

STDIN: Final = "-"
DATA_URL: Final = "<data URL>"
"""What the lines call every data URL."""


def has_name(source: str) -> bool:
    """Whether an input is a file that can be known again.

    Standard input is another picture each time, and a data URL is the picture itself.
    """
    return source not in {STDIN, DATA_URL} and not is_data_url(source)


def label(source: str) -> str:
    """The name of an input in a line of JSON; a data URL holds the whole picture."""
    return DATA_URL if is_data_url(source) else source


def as_path(file: str) -> str:
    """The path of a file that was found, even if it is called like an input that is no file."""
    return file if has_name(file) else os.path.join(os.curdir, file)


def copy_too_long(error: NameTooLong) -> NameTooLong:
    """The error about a cleaned copy, which is named after its original."""
    return NameTooLong(error.message, remedy="Give its original a shorter name.")
