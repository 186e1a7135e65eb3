"""Output files that are there completely or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from guardalign_middleware.errors import ConfigError

DRAFT: Final = re.compile(r"\.[0-9a-f]{16}\.[0-9]+")
"""The name of a file that is being written: of a digest, since its own name may be of any length
that the file system takes, and of the process."""

_MOST_LINKS = 40


class NameTooLong(ConfigError):
    """A file cannot be written because its name or path is too long; others can."""


@contextmanager
def replaced(target: Path) -> Iterator[IO[bytes]]:
    """A file to write, which takes its name when the block ends without an error.

    It keeps the mode, and where possible the owner, of the file that was there. A link keeps
    pointing to its file, which is replaced. What cannot be replaced is written as it is: a pipe, a
    device, a file that the process holds open, such as /dev/stdout, or one that is mounted.

    Raises:
        NameTooLong: the file system does not take its name.
        ConfigError: it cannot be written.
    """
    with unwritable(target):
        if _is_in_place(target):
            with _opened(target) as file:
                yield file
            return
        target = Path(os.path.realpath(target)) if target.is_symlink() else target
        _check_file(target)
        digest = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]
        draft = target.with_name(f".{digest}.{os.getpid()}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as file:
                _copy_rights(target, draft)
                yield file
            try:
                os.replace(draft, target)
            except OSError as error:
                # Mounted from the same file system, which only this tells.
                if error.errno != errno.EBUSY:
                    raise
                shutil.copyfile(draft, target)
        finally:
            with suppress(OSError):
                draft.unlink()


def write_whole(target: Path, data: bytes) -> None:
    """Write a file at once, as `replaced` does.

    Raises:
        NameTooLong, ConfigError: as `replaced`.
    """
    with replaced(target) as file:
        file.write(data)


def check_target(target: Path) -> None:
    """Find out before long work whether a file can be written, and make its folder.

    Raises:
        ConfigError: it cannot.
    """
    with unwritable(target):
        if target.is_dir():
            raise IsADirectoryError(None, "it is a folder")
        if _is_special(target) or _is_open(target):
            return
        _check_file(target)
        if _is_in_place(target):
            return
        folder = Path(os.path.realpath(target)).parent
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass


def check_outputs(
    outputs: Mapping[str, Path | None], inputs: Mapping[str, Iterable[str | Path]]
) -> None:
    """Refuse an output that would be written over another one, or over an input.

    Args:
        outputs: by their options; None = not asked for.
        inputs: by what they are; only read if an output is there.

    Raises:
        ConfigError: two of them are the same file.
    """
    files = {
        option: path
        for option, path in outputs.items()
        if path is not None and not _is_special(path) and not _is_open(path)
    }
    options: dict[str | tuple[int, int], str] = {}
    for option, path in files.items():
        known: list[str | tuple[int, int]] = [os.path.realpath(path), *_identity(path)]
        for key in known:
            if key in options:
                raise _same(option, path, options[key])
        options |= dict.fromkeys(known, option)
    if not any(isinstance(key, tuple) for key in options):
        return
    for what, paths in inputs.items():
        for one in paths:
            for identity in _identity(one):
                if identity in options:
                    raise _same(options[identity], files[options[identity]], what)


def _identity(path: str | Path) -> list[tuple[int, int]]:
    """What tells a file whatever it is called; nothing if there is none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # an input may be a data URL
        return []
    return [(found.st_dev, found.st_ino)]


def _same(option: str, path: Path, other: str) -> ConfigError:
    return ConfigError(
        f"{option} names {path}, which is the file of {other} and would be lost.",
        remedy=f"Name another file with {option}.",
    )


def _is_special(target: Path) -> bool:
    return target.exists() and not target.is_file() and not target.is_dir()


def _is_in_place(target: Path) -> bool:
    """Whether a file can only be written as it is."""
    return _is_special(target) or _is_open(target) or os.path.ismount(os.path.realpath(target))


def _is_open(target: Path) -> bool:
    """Whether a name, or what it links to, stands for a file that a process holds open."""
    return _descriptor(target) is not None


def _descriptor(target: Path) -> Path | None:
    for _ in range(_MOST_LINKS):
        folder = os.path.realpath(target.parent)
        if folder.startswith("/proc/") or folder == "/dev/fd":
            return Path(folder, target.name)
        if not target.is_symlink():
            break
        target = target.parent / os.readlink(target)
    return None


def _opened(target: Path) -> IO[bytes]:
    found = _descriptor(target)
    if found is not None and found.name.isdigit() and str(found.parent) == _own_descriptors():
        # Opened by its name, a file would be written over what was printed to it.
        return os.fdopen(os.dup(int(found.name)), "wb")
    return target.open("wb")


def _own_descriptors() -> str:
    return os.path.realpath("/dev/fd")


def _check_file(target: Path) -> None:
    """Replacing takes no right to write a file; its owner has taken that away for a reason."""
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "it is read-only")


def _copy_rights(old: Path, new: Path) -> None:
    try:
        rights = old.stat()
    except FileNotFoundError:
        return
    if hasattr(os, "chown"):
        # To give a file away takes root; in the group of another it would be read by others.
        with suppress(OSError):
            os.chown(new, rights.st_uid, rights.st_gid)
    os.chmod(new, stat.S_IMODE(rights.st_mode))


@contextmanager
def unwritable(target: Path) -> Iterator[None]:
    """Around what only writes: an error of the system is about the target.

    Raises:
        NameTooLong, ConfigError: in place of an `OSError`.
    """
    try:
        yield
    except OSError as error:
        why = f"Cannot write {target}: {error.strerror or error}."
        if error.errno == errno.ENAMETOOLONG:
            raise NameTooLong(why, remedy="Name a shorter file.") from error
        raise ConfigError(why, remedy="Make space, or name another file or folder.") from error
