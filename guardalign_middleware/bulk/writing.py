"""Output files that are there completely or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from guardalign_middleware.errors import ConfigError


@contextmanager
def replaced(target: Path) -> Iterator[IO[bytes]]:
    """A file to write, which takes its name when the block ends without an error.

    Raises:
        ConfigError: it cannot be written.
    """
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as file:
            yield file
        os.replace(draft, target)
    except OSError as error:
        raise ConfigError(
            f"Cannot write {target}: {error.strerror or error}.",
            remedy="Make space, or name another folder.",
        ) from error
    finally:
        with suppress(OSError):
            draft.unlink()
