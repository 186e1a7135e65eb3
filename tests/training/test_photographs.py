"""Photographs from installed packages."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training import photographs
from training.photographs import installed, photograph


def test_the_one_of_a_development_dependency_is_there() -> None:
    assert "grace_hopper.jpg" in {path.name for path in installed()}


def test_without_any_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photographs, "FILES", {"no_such_package": ("a.jpg",), "numpy": ("b.jpg",)})
    with pytest.raises(FileNotFoundError, match="no_such_package, numpy"):
        installed()


def test_a_window_keeps_the_aspect_and_is_not_always_the_same(tmp_path: Path) -> None:
    """A picture that is its own map: red is x, green is y."""
    x, y = np.meshgrid(np.linspace(0, 255, 200), np.linspace(0, 255, 100))
    pixels = np.stack([x, y, 0 * x], axis=-1).astype(np.uint8)
    path = tmp_path / "map.png"
    Image.fromarray(pixels).save(path)
    lefts, mirrored = set(), set()
    for seed in range(20):
        window = photograph(np.random.default_rng(seed), path, 40, 40)
        assert window.shape == (40, 40, 3)
        assert window.dtype == np.float32
        assert 0 <= window.min() <= window.max() <= 1
        across, down = np.ptp(window[20, :, 0]) * 200, np.ptp(window[:, 20, 1]) * 100
        assert across == pytest.approx(down, rel=0.1)
        assert 45 < down < 101
        lefts.add(round(float(window[0, :, 0].min()), 2))
        mirrored.add(bool(window[0, 0, 0] > window[0, -1, 0]))
    assert len(lefts) > 10
    assert mirrored == {False, True}
