"""The icons that are trained on as something else."""

import numpy as np
import pytest

from guardalign_middleware.mini.world import CONCEPTS
from guardalign_middleware.mini.world.strangers import STRANGERS
from training import icon_strangers
from training.icon_strangers import icon_stranger

KEPT_OUT = {each.name for each in STRANGERS if each.split != "trained"}
UNSAFE = {each.name for each in CONCEPTS if each.unsafe}


def test_every_icon_has_a_drawing_of_its_own() -> None:
    names = icon_strangers.icon_strangers()
    assert len(names) == len(set(names)) > 600
    drawn = [np.asarray(icon_stranger(name).getchannel("A")) for name in names]
    assert min(int(each.max()) for each in drawn) > 200
    assert len({each.tobytes() for each in drawn}) > 0.98 * len(names)


def test_no_icon_is_unsafe_or_kept_for_fitting_and_reports() -> None:
    for name in icon_strangers.icon_strangers():
        package, icon = name.split("/")
        assert package in icon_strangers.PACKAGES
        assert icon not in KEPT_OUT | UNSAFE
        assert not set(icon.split("-")) & UNSAFE


def test_an_unknown_icon_is_an_error() -> None:
    with pytest.raises(KeyError):
        icon_stranger("mdi/nothing")
