"""The outer edge of the command: every way in which it can end has its exit status and one line.

Exit statuses: 0 all allowed or done, 1 unsafe or different, 2 an input could not be scanned, 3 the
program failed, 130 interrupted. A traceback is never shown, unless `GUARDALIGN_TRACEBACK` is set.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn, TextIO

from typer import Abort
from typer.core import TyperGroup

from guardalign_middleware.cli.console import CANNOT, FAILED, INTERRUPTED, print_error
from guardalign_middleware.errors import GuardAlignError, ImageRejected, MessageError

_TRACEBACK = "GUARDALIGN_TRACEBACK"


class Finished(SystemExit):
    """A command came to its end, and this is its status."""


class CommandGroup(TyperGroup):
    """The commands; wrong usage, and what fails outside a command, is status 3."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the command that the arguments name, and exit with its status."""
        if not options.get("standalone_mode", True):
            return super().main(*args, **options)
        status: object = FAILED

        def whole() -> int:
            super(CommandGroup, self).main(*args, **options)
            return 0

        try:
            status = guarded(whole)
        except Finished as done:
            status = done.code
        except SystemExit as done:
            # 2 for wrong usage would read as "an input could not be scanned".
            status = done.code or 0
            status = status if status in {0, INTERRUPTED} else FAILED
        # A command that failed has said why, and a failed write says it once.
        if not _flushed(sys.stdout, silent=status == FAILED):
            status = FAILED
        _flushed(sys.stderr, silent=True)
        raise SystemExit(status)


def run(command: Callable[[], int]) -> NoReturn:
    """Exit with the status of a command."""
    raise Finished(guarded(command))


def guarded(command: Callable[[], int]) -> int:
    """The status of a command, also if it fails; then there is one line on standard error."""
    try:
        status = command()
        sys.stdout.flush()
    except (ImageRejected, MessageError) as error:
        print_error(str(error))
        return CANNOT
    except GuardAlignError as error:
        print_error(str(error))
    except (KeyboardInterrupt, Abort):  # the second while a question is asked
        return INTERRUPTED
    except BrokenPipeError:
        # The reader closed the pipe, as in `guardalign scan … | head`; that needs no message.
        pass
    except OSError as error:
        print_error(_in_words(error))
    except MemoryError:
        print_error("Out of memory. Use fewer or smaller images.")
    except Exception as error:  # noqa: BLE001 (the last resort: the alternative is a traceback)
        if os.environ.get(_TRACEBACK):
            traceback.print_exc()
        print_error(
            f"Internal error: {type(error).__name__}: {error}. Please report it, with what "
            f"{_TRACEBACK}=1 shows."
        )
    else:
        return status
    return FAILED


def _in_words(error: OSError) -> str:
    what = error.strerror or str(error) or type(error).__name__
    if error.filename is None:
        return f"Cannot write the output: {what}."
    return f"{os.fsdecode(error.filename)}: {what}."


def _flushed(stream: TextIO, *, silent: bool) -> bool:
    """Write what is buffered; if that fails, discard it, or Python would complain at its end."""
    try:
        stream.flush()
    except BrokenPipeError:
        pass
    except OSError as error:
        if not silent:
            print_error(_in_words(error))
    else:
        return True
    # No file descriptor where a test captures the output.
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    return False
