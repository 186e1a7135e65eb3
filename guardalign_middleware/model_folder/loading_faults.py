"""One error for whatever a library raises while it reads a model's files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from guardalign_middleware.errors import GuardAlignError, ModelLoadError


@contextmanager
def loading_faults(what: str, remedy: str) -> Iterator[None]:
    """Turn every fault inside into a `ModelLoadError`, except errors of this package.

    Files are foreign, and a damaged one can make a library raise anything: also a panic of a Rust
    library, which is no `Exception`.

    Args:
        what: what is loaded, as the subject of "cannot be loaded".
        remedy: what the caller can do about it.

    Raises:
        ModelLoadError: a fault.
    """
    try:
        yield
    except GuardAlignError:
        raise
    except Exception as error:
        raise ModelLoadError(f"{what} cannot be loaded: {short(error)}", remedy=remedy) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise ModelLoadError(f"{what} cannot be loaded: {short(error)}", remedy=remedy) from error


def short(error: BaseException) -> str:
    """The first paragraph of an error message; those of transformers can be pages long."""
    text = str(error).strip() or type(error).__name__
    return " ".join(text.split("\n\n")[0].split())[:400]
