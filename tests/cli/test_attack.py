"""`guardalign attack`: which pictures are attacked, and on which false alarms are measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from guardalign_middleware.cli import attack
from guardalign_middleware.cli.attack import run_attack
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.testing import picture, png, red_detector
from guardalign_middleware.types import CanonicalImage


class _Stop(Exception):
    """The pictures are known; the attack itself is not of interest."""


@pytest.fixture
def harmless(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the pictures on which false alarms are measured."""
    names: list[str] = []

    def stop(_: object, targets: object, safe: Sequence[CanonicalImage], **__: object) -> None:
        names.extend(image.source for image in safe)
        raise _Stop

    monkeypatch.setattr(attack, "load_detector", lambda config: red_detector())
    monkeypatch.setattr(attack, "_drawn_targets", lambda *_: [])
    monkeypatch.setattr(attack, "run_attacks", stop)
    return names


def attacked(*, safe: Sequence[str] = (), unsafe: Sequence[str] = ()) -> None:
    with pytest.raises(_Stop):
        run_attack(
            unsafe,
            safe,
            n=2,
            levels=[2],
            steps=1,
            seed=0,
            results=None,
            plot=None,
            preset="mini",
            compare=False,
        )


def test_safe_pictures_that_are_given_are_those_measured(
    harmless: list[str], tmp_path: Path
) -> None:
    (tmp_path / "mine.png").write_bytes(png(picture()))
    (tmp_path / "red.png").write_bytes(png(picture(red=True)))
    mine, red = str(tmp_path / "mine.png"), str(tmp_path / "red.png")
    attacked(safe=[mine])
    attacked(safe=[mine], unsafe=[red])
    attacked(unsafe=[red])
    assert harmless == [mine, mine]
    harmless.clear()
    attacked()
    assert harmless == ["scene-0", "scene-1"]


def test_a_guard_that_finds_nothing_ends_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    found = red_detector().scan(CanonicalImage(picture().pixels))
    assert not found.flagged
    monkeypatch.setattr(attack, "_scanned", lambda *_: found)
    monkeypatch.setattr(attack, "_TRIES", 2)
    with pytest.raises(ConfigError, match="nothing is attacked"):
        attack._drawn_targets(red_detector(), 1, 0)
