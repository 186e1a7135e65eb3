"""What no distances can be enough for is said before anything is measured."""

from __future__ import annotations

import pytest

from guardalign_middleware.detection.fit import check_groups, fit_profile
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.testing import red_detector

DETECTOR = red_detector()


@pytest.mark.parametrize(
    ("safe", "unsafe", "bounds", "message"),
    [
        (8, {}, {"max_false_alarm": 0.1}, "8 safe images cannot guarantee 0.1 false alarms"),
        (9, {"unsafe": 8}, {"max_miss": 0.1}, "8 unsafe images cannot guarantee 0.1 misses"),
        (9, {}, {"max_false_alarm": 1.5}, "max_false_alarm should be in"),
        (9, {"wepon": 9}, {"per_category": True, "max_false_alarm": 0.1}, "no category 'wepon'"),
        (9, {"weapon": 1}, {"per_category": True, "max_miss": 0.1}, "weapon: 1 unsafe images"),
    ],
)
def test_it_is_refused_as_the_fit_does(
    safe: int, unsafe: dict[str, int], bounds: dict[str, float], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        check_groups(DETECTOR, safe, unsafe, **{"max_false_alarm": 0.5, **bounds})  # type: ignore[arg-type]
    image = ({"native": {"weapon": 0.5}},)
    groups = {name: [image] * count for name, count in unsafe.items()}
    with pytest.raises(ConfigError, match=message):
        fit_profile(DETECTOR, [image] * safe, groups, **{"max_false_alarm": 0.5, **bounds})  # type: ignore[arg-type]


def test_the_number_that_is_enough_counts_those_held_out() -> None:
    with pytest.raises(ConfigError, match="Use at least 13 safe images .4 of them are held out"):
        check_groups(DETECTOR, 6, {}, 0.1, held_out=0.3)
    with pytest.raises(ConfigError, match="Use at least 13 unsafe images") as caught:
        check_groups(DETECTOR, 9, {"unsafe": 6}, 0.1, max_miss=0.1, held_out=0.3)
    assert "--max-miss" in caught.value.remedy
    assert 13 - round(0.3 * 13) == 9


def test_numbers_that_can_be_enough_pass() -> None:
    check_groups(DETECTOR, 9, {"weapon": 9}, 0.1, max_miss=0.1, per_category=True)
    images = [({"native": {"weapon": 0.1 * n}},) for n in range(1, 10)]
    near = ({"native": {"weapon": 0.01}},)
    fit_profile(DETECTOR, images, {"weapon": [near] * 9}, 0.1, max_miss=0.1, per_category=True)
