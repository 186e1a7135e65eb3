"""A line fit of a gradient tells where any scaled, cropped or padded frame lies."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from guardalign_middleware.generation.frames.placing import (
    Box,
    Frame,
    Misfit,
    Placement,
    gradient,
    place,
)

FILTERS = [Image.Resampling.BICUBIC, Image.Resampling.BILINEAR, Image.Resampling.LANCZOS]


def frame_of(width: int, height: int, box: Box, size: tuple[int, int], how: int = 0) -> Frame:
    picture = Image.fromarray(gradient(width, height))
    resized = picture.resize(size, FILTERS[how], box=box)
    return np.ascontiguousarray(np.asarray(resized).transpose(2, 0, 1))


def padded(frame: Frame, left: int, top: int, right: int, bottom: int, colour: int) -> Frame:
    return np.pad(frame, ((0, 0), (top, bottom), (left, right)), constant_values=colour)


def placed(frame: NDArray[np.uint8], width: int, height: int) -> Placement:
    found = place(frame, width, height)
    assert found is not None
    return found


class TestPlace:
    @settings(max_examples=60, deadline=None)
    @given(data=st.data())
    def test_crops_squashes_and_paddings_to_a_pixel_of_the_frame(self, data: st.DataObject) -> None:
        width, height = (data.draw(st.integers(24, 900)) for _ in range(2))
        x0, x1 = sorted(data.draw(st.tuples(*[st.floats(0, width)] * 2)))
        y0, y1 = sorted(data.draw(st.tuples(*[st.floats(0, height)] * 2)))
        # A crop of a few pixels shows too little of a gradient.
        x1, y1 = max(x1, min(x0 + 16, width)), max(y1, min(y0 + 16, height))
        x0, y0 = min(x0, x1 - 16), min(y0, y1 - 16)
        size = data.draw(st.tuples(*[st.integers(16, 400)] * 2))
        frame = frame_of(width, height, (x0, y0, x1, y1), size, data.draw(st.integers(0, 2)))
        left, top, right, bottom = data.draw(st.tuples(*[st.integers(0, 20)] * 4))
        colour = data.draw(st.sampled_from([0, 104, 127, 255]))
        found = placed(padded(frame, left, top, right, bottom, colour), width, height)
        box = found.box(width, height)
        across, down = (x1 - x0) / size[0], (y1 - y0) / size[1]
        near = np.array([across, down, across, down])
        # Below a pixel of the picture nothing can be told, and at its edge little more.
        assert (np.abs(np.array(box) - (x0, y0, x1, y1)) <= np.maximum(near, 1.1)).all()
        assert (found.x.first, found.y.first) == (left, top)
        assert (found.x.last - found.x.first, found.y.last - found.y.first) == size

    def test_the_whole_picture_is_whole(self) -> None:
        for width, height in ((4000, 30), (30, 4000), (64, 64), (1, 1), (3, 200)):
            for size in ((28, 28), (336, 336), (56, 14)):
                frame = frame_of(width, height, (0, 0, width, height), size)
                assert placed(frame, width, height).box(width, height) == (0, 0, width, height)

    def test_padding_alone_shows_nothing(self) -> None:
        for colour in (0, 104, 127, 255):
            assert place(np.full((3, 28, 28), colour, dtype=np.uint8), 64, 64) is None

    def test_a_picture_that_was_tiny_on_the_way_is_bent_and_still_whole(self) -> None:
        picture = Image.fromarray(gradient(600, 60)).resize((28, 2), FILTERS[0])
        frame = np.asarray(picture.resize((28, 28), FILTERS[0])).transpose(2, 0, 1)
        box = placed(frame, 600, 60).box(600, 60)
        # Two and a half pixels of the frame, where each is 60 / 28 pixels of the picture.
        assert box == pytest.approx((0, 0, 600, 60), abs=5.4)

    def test_pixels_mixed_with_padding_belong_to_the_frame(self) -> None:
        frame = padded(frame_of(400, 300, (0, 0, 400, 300), (112, 84)), 0, 14, 0, 14, 127)
        small = Image.fromarray(frame.transpose(1, 2, 0)).resize((30, 30), FILTERS[0])
        found = placed(np.asarray(small).transpose(2, 0, 1), 400, 300)
        shown = found.y.last - found.y.first
        assert 84 * 30 / 112 <= shown <= 84 * 30 / 112 + 4
        x0, y0, x1, y1 = found.box(400, 300)
        assert (x0, x1) == (0, 400)
        assert -40 <= y0 <= 0
        assert 300 <= y1 <= 340

    @pytest.mark.parametrize("colour", [0, 127, 255])
    def test_scaling_after_padding_does_not_bend_it(self, colour: int) -> None:
        large = frame_of(336, 252, (0, 0, 336, 252), (1024, 768))
        square = Image.fromarray(padded(large, 0, 128, 0, 128, colour).transpose(1, 2, 0))
        small = np.asarray(square.resize((384, 384), FILTERS[0])).transpose(2, 0, 1)
        box = placed(small, 336, 252).box(336, 252)
        assert box == pytest.approx((0, 0, 336, 252), abs=4.0)


class TestMisfit:
    @pytest.mark.parametrize("change", ["swapped", "mirrored", "turned", "shuffled", "ring"])
    def test_what_is_no_part_of_the_picture(self, change: str) -> None:
        frame = frame_of(400, 300, (0, 0, 400, 300), (56, 56))
        if change == "swapped":
            frame = np.concatenate([frame[:, :, 28:], frame[:, :, :28]], axis=2)
        elif change == "mirrored":
            frame = frame[:, :, ::-1]
        elif change == "turned":
            frame = frame.transpose(0, 2, 1)
        elif change == "shuffled":
            patches = frame.reshape(3, 4, 14, 4, 14).transpose(1, 3, 0, 2, 4).reshape(16, 3, 14, 14)
            patches = patches[np.random.default_rng(0).permutation(16)].reshape(4, 4, 3, 14, 14)
            frame = patches.transpose(2, 0, 3, 1, 4).reshape(3, 56, 56)
        else:
            frame = frame.copy()
            frame[:, 20:30, 20:30] = 0
        with pytest.raises(Misfit):
            place(frame, 400, 300)
