"""The folder of a run: what it was made with, the scans, each arm's answers, and judgements.

```
run.json            what the answers depend on, and what else was noted
scans.jsonl         the guard's verdicts on each item's pictures, and how long they took
answers/ARM.jsonl   the answers of an arm
judgements/JUDGE/ARM.jsonl
attention.json      attention to the safety prefix by layer, where it was measured
```
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.evaluation.judges import Judgement, read_judgements
from guardalign_middleware.evaluation.lines import Record, append_lines, read_lines
from guardalign_middleware.writing import write_whole

_FORMAT = 1


class RunFolder:
    """One run, to be read or to go on with.

    Attributes:
        path: the folder.
        identity: what the answers of all arms depend on.
        about: what else was noted when it began.
        arm_settings: what the answers of one arm depend on besides, by its name.
    """

    def __init__(
        self,
        path: Path,
        identity: dict[str, Any],
        about: dict[str, Any],
        arm_settings: dict[str, Any] | None = None,
    ) -> None:
        self.path = path
        self.identity = identity
        self.about = about
        self.arm_settings = arm_settings or {}

    @classmethod
    def read(cls, path: Path) -> Self:
        """A run that was made before.

        Raises:
            ConfigError: there is none in this folder.
        """
        try:
            record = json.loads((path / "run.json").read_text(encoding="utf-8"))
            if record["format"] != _FORMAT:
                raise ConfigError(f"{path} is a run of another version of this program.")
            return cls(path, record["identity"], record["about"], _arm_settings(record))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{path} is no folder of a run.", remedy="Make one with: guardalign eval"
            ) from error

    @classmethod
    @contextmanager
    def open(
        cls,
        path: Path,
        identity: dict[str, Any],
        about: dict[str, Any],
        arm_settings: Mapping[str, Any] | None = None,
    ) -> Iterator[Self]:
        """Begin a run, or go on with one, and keep other processes away from it.

        Args:
            path: of the folder.
            identity: what the answers of all arms depend on.
            about: what else is noted when it begins.
            arm_settings: of the arms that are asked now; an arm that has answers keeps its own.

        Raises:
            ConfigError: the folder cannot be written or is in use, or holds a run of another suite
                or with other settings; the message names what differs.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock = os.open(path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise ConfigError(
                f"Cannot write to the folder {path}: {error.strerror}.",
                remedy="Choose a different folder.",
            ) from error
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise ConfigError(f"The run in {path} is going on in another process.") from error
            # As it will be read again: tuples become lists.
            wanted = json.loads(json.dumps(identity))
            of_arms = json.loads(json.dumps(dict(arm_settings or {})))
            if (path / "run.json").exists():
                found = cls.read(path)
                found._check_same(wanted, of_arms)
                changed = any(found.arm_settings.get(arm) != told for arm, told in of_arms.items())
            else:
                found, changed = cls(path, wanted, about), True
            found.arm_settings |= of_arms
            if changed:
                found._write_about()
            yield found
        finally:
            os.close(lock)

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms that have answers, in the order of their names."""
        return tuple(sorted(path.stem for path in (self.path / "answers").glob("*.jsonl")))

    @property
    def judges(self) -> tuple[str, ...]:
        """The names under which judgements are stored."""
        folder = self.path / "judgements"
        return tuple(sorted(path.name for path in folder.glob("*") if path.is_dir()))

    def answers(self, arm: str) -> dict[str, Record]:
        """The answers of an arm by item."""
        return read_lines(self._answers(arm))

    def add_answers(self, arm: str, records: Sequence[Mapping[str, Any]]) -> None:
        """Append answers of an arm."""
        append_lines(self._answers(arm), records)

    def scans(self) -> dict[str, Record]:
        """What the guard found, by item."""
        return read_lines(self.path / "scans.jsonl")

    def add_scans(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Append what the guard found."""
        append_lines(self.path / "scans.jsonl", records)

    def judgements(self, judge: str, arm: str) -> dict[str, Judgement]:
        """What a judge said of the answers that an arm has now, by item."""
        texts = {key: record["text"] for key, record in self.answers(arm).items()}
        return read_judgements(self.judgement_file(judge, arm), texts)

    def judgement_file(self, judge: str, arm: str) -> Path:
        """Where a judge's judgements of an arm are stored."""
        return self.path / "judgements" / folder_name(judge) / f"{arm}.jsonl"

    def attention(self) -> dict[str, Any] | None:
        """Attention to the safety prefix by layer; None if it was not measured."""
        path = self.path / "attention.json"
        if not path.exists():
            return None
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def write_attention(self, measured: Mapping[str, Any]) -> None:
        """Store the attention to the safety prefix by layer."""
        self._write("attention.json", measured)

    def _write_about(self) -> None:
        record = {"identity": self.identity, "arms": self.arm_settings, "about": self.about}
        self._write("run.json", {"format": _FORMAT, **record})

    def _write(self, name: str, record: Mapping[str, Any]) -> None:
        text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
        write_whole(self.path / name, f"{text}\n".encode())

    def _answers(self, arm: str) -> Path:
        return self.path / "answers" / f"{arm}.jsonl"

    def _check_same(self, wanted: Mapping[str, Any], of_arms: Mapping[str, Any]) -> None:
        differs = sorted(
            name
            for name in {*wanted, *self.identity}
            if wanted.get(name) != self.identity.get(name)
        )
        differs += [
            f"setting of the arm {arm}"
            for arm, told in of_arms.items()
            if self.answers(arm) and self.arm_settings.get(arm) != told
        ]
        if differs:
            raise ConfigError(
                f"The run in {self.path} was made with a different {', '.join(differs)}.",
                remedy="Name another folder with --out, or repeat the command that made it.",
            )


def _arm_settings(record: dict[str, Any]) -> dict[str, Any]:
    """The settings of single arms; earlier versions kept them with what all arms depend on."""
    known: dict[str, Any] = record.get("arms", {})
    identity = record["identity"]
    if "eta_threshold" in identity:
        known = {"eta": {"threshold": identity.pop("eta_threshold")}, **known}
    if "neutral" in identity:
        known = {"neutral": {"sentences": identity.pop("neutral")}, **known}
    return known


def folder_name(judge: str) -> str:
    """A judge's name as the name of a folder."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", judge).strip("-.") or "judge"
