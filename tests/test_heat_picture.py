"""The heat as a layer of its own, as strong as in the drawn overlay."""

import numpy as np

from guardalign_middleware.heat_picture import HEAT_OPACITY, heat_color, heat_layer, heat_strength
from guardalign_middleware.testing import picture, red_guard


def test_a_layer_is_clear_where_nothing_is_near_and_red_where_it_is() -> None:
    verdict = red_guard().scan(picture(red=True))
    layer = np.asarray(heat_layer(verdict)).astype(float)
    strength = np.asarray(heat_strength(verdict)) / 255.0
    assert np.abs(layer[..., 3] - 255.0 * HEAT_OPACITY * strength).max() <= 0.5
    hottest = np.unravel_index(strength.argmax(), strength.shape)
    assert strength[hottest] > 0.9
    assert layer[hottest][0] > 200 > 100 > layer[hottest][1]
    assert strength.min() < 0.1


def test_colours_go_from_yellow_to_red() -> None:
    yellow, orange, red = heat_color(np.array([0.0, 0.5, 1.0]))
    assert yellow[1] > orange[1] > red[1]
