"""Fitting the shipped profile: whichever process measures a scene, the numbers are the same."""

import pytest

from training.clip import fit_threshold
from training.clip.fit_threshold import measured


@pytest.mark.evidence
def test_processes_change_nothing() -> None:
    alone = list(measured("mini", unsafe=True, scenes=2))
    assert len(alone) == 2
    assert list(measured("mini", unsafe=True, scenes=2, processes=2)) == alone


def test_scenes_hold_strangers_of_the_fitted_split(monkeypatch: pytest.MonkeyPatch) -> None:
    splits = []

    def draw(rng: object, *, unsafe: bool, split: str) -> object:
        splits.append(split)
        raise LookupError

    monkeypatch.setattr(fit_threshold, "draw_mixed_scene", draw)
    with pytest.raises(LookupError):
        list(measured("mini", unsafe=False, scenes=1))
    assert splits == ["fitted"]
