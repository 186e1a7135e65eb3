"""Promises 1 to 3: the model's processor receives what the detector scanned, all of it searched.

Shown for every family's image processor: by hash, by changing parts of a picture and watching which
of them reach the model, and with pictures that show something else once they are scaled down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from guardalign_middleware.detection.patches import crop_patches, patch_boxes
from guardalign_middleware.generation import CalibratedRunner
from guardalign_middleware.generation.prompt.encoder import PromptEncoder
from guardalign_middleware.guard import GuardAlign
from guardalign_middleware.testing import BOX, RED, red_chain, red_config, red_guard
from guardalign_middleware.types import CanonicalImage, ImagePart, Message, TextPart
from tests.support.pictures import encode
from tests.support.tiny.families import MATRIX
from tests.support.tiny.models import FAMILIES, save_tiny_model

# Two families pass tensors to NumPy in a deprecated way.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy"),
]
# No runner loads these: three have no chat template, and no auto class that it tries has Phi-4.
REFUSED = {"blip2", "florence2", "fuyu", "phi4_multimodal"}
EVERY_FAMILY = pytest.mark.parametrize("family", sorted(set(MATRIX) - REFUSED))


@cache
def processor(family: str) -> Any:
    return MATRIX[family]()[1]


def model_inputs(messages: tuple[Message, ...], family: str) -> dict[str, Any]:
    """The model's inputs, made by the runner's own encoder."""
    encoder = PromptEncoder(processor(family), prefix="Be safe.", placement="before_instruction")
    return encoder.encode([messages], prefix=[True], spans=False).inputs


@contextmanager
def watching(kind: type, seen: list[str]) -> Iterator[None]:
    """Record the digest of every picture passed to image processors of a class."""
    call = kind.__call__

    def watched(self: Any, images: Any, *args: Any, **kwargs: Any) -> Any:
        seen.extend(CanonicalImage(np.asarray(picture)).sha256 for picture in flat(images))
        return call(self, images, *args, **kwargs)

    kind.__call__ = watched  # type: ignore[method-assign]
    try:
        yield
    finally:
        kind.__call__ = call  # type: ignore[method-assign]


def flat(images: Any) -> list[Any]:
    if isinstance(images, list | tuple):
        return [picture for item in images for picture in flat(item)]
    return [images]


def question(*pictures: bytes) -> list[dict[str, Any]]:
    parts = [{"type": "image", "image": data} for data in pictures]
    return [{"role": "user", "content": [*parts, {"type": "text", "text": "What is it?"}]}]


def scene(red: tuple[int, int, int] = RED, width: int = 96, height: int = 64) -> Image.Image:
    """Blue, with a red block that is found and masked."""
    pixels = np.full((height, width, 3), (0, 0, 255), dtype=np.uint8)
    x0, y0, x1, y1 = BOX
    pixels[y0:y1, x0:x1] = red
    return Image.fromarray(pixels)


def turned(picture: Image.Image) -> bytes:
    """A JPEG stored sideways with an EXIF orientation, as phones write it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    sideways = picture.transpose(Image.Transpose.ROTATE_90)
    return encode(sideways, "JPEG", exif=exif, quality=95, subsampling=0)


def see_through(picture: Image.Image) -> bytes:
    """A PNG whose transparent lower half hides colours that a careless reader would show."""
    opacity = Image.new("L", picture.size, 255)
    opacity.paste(0, (0, picture.height // 2, picture.width, picture.height))
    layered = picture.convert("RGBA")
    layered.putalpha(opacity)
    return encode(layered)


FORMS: dict[str, Callable[[Image.Image], bytes]] = {
    "png": encode,
    "turned jpeg": turned,
    "transparent png": see_through,
    "palette gif": lambda picture: encode(picture.quantize(8), "GIF"),
    "webp": lambda picture: encode(picture, "WEBP", lossless=True),
    "grey tiff": lambda picture: encode(picture.convert("L"), "TIFF", compression="tiff_lzw"),
}


class TestSamePixels:
    @EVERY_FAMILY
    def test_the_processor_receives_the_array_that_passed_the_last_scan(
        self, family: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        chain = red_chain()
        scanned: list[str] = []
        measure = type(chain.guard.detector).scan_many

        def watched(detector: Any, images: Any) -> Any:
            scanned.extend(image.sha256 for image in images)
            return measure(detector, images)

        monkeypatch.setattr(type(chain.guard.detector), "scan_many", watched)
        prompt = chain.prepare(question(*(form(scene()) for form in FORMS.values())))
        assert not prompt.blocked
        assert "mask" in {verdict.decision for verdict in prompt.verdicts}
        received: list[str] = []
        with watching(type(processor(family).image_processor), received):
            for item in prompt.images:
                assert item.image is not None
                model_inputs(_asking(item.image), family)
        cleaned = [item.image.sha256 for item in prompt.images if item.image is not None]
        assert received == cleaned
        assert set(cleaned) <= set(scanned)

    @pytest.mark.parametrize("family", sorted(FAMILIES))
    def test_from_bytes_to_the_models_own_processor(self, family: str, tmp_path: Path) -> None:
        """The whole chain with a real model decodes the picture only once."""
        directory = save_tiny_model(tmp_path / family, family)
        runner = CalibratedRunner.from_pretrained(str(directory), device="cpu", max_new_tokens=2)
        chain = GuardAlign(red_guard(red_config(runner=runner.config)), runner)
        data = turned(scene())
        cleaned = chain.guard.sanitize(data).image
        assert cleaned is not None
        # The first question finds out, with black pictures, how many tokens a picture takes.
        chain.invoke(question(encode(Image.new("RGB", (64, 64)))))
        received: list[str] = []
        with watching(type(processor(family).image_processor), received):
            reply = chain.invoke(question(data))
        assert reply.verdicts[0].decision == "mask"
        assert received == [cleaned.sha256]

    @EVERY_FAMILY
    def test_what_is_masked_leaves_no_trace_in_the_models_inputs(self, family: str) -> None:
        inputs = []
        for red in (RED, (250, 8, 3)):
            prompt = red_chain().prepare(question(encode(scene(red))))
            assert prompt.verdicts[0].decision == "mask"
            inputs.append(model_inputs(prompt.messages, family))
        first, second = inputs
        assert first.keys() == second.keys()
        for name in first:
            assert torch.equal(torch.as_tensor(first[name]), torch.as_tensor(second[name])), name


def _asking(image: CanonicalImage) -> tuple[Message, ...]:
    return (Message("user", (ImagePart(image), TextPart("What is it?"))),)


STRIPS = 8


def visible_strips(family: str, width: int, height: int) -> list[bool]:
    """Which of eight strips along the longer side affect the model's input."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    before = pixel_values(family, pixels)
    along = max(width, height)
    visible = []
    for strip in range(STRIPS):
        changed = pixels.copy()
        part = slice(strip * along // STRIPS, (strip + 1) * along // STRIPS)
        view = changed[:, part] if width >= height else changed[part]
        view[:] = 255 - view
        visible.append(not np.array_equal(pixel_values(family, changed), before))
    return visible


@cache
def searched_strips(width: int, height: int) -> list[bool]:
    """In which of these strips the detector finds red."""
    guard = red_guard()
    found = []
    for strip in range(STRIPS):
        first, last = (part * max(width, height) // STRIPS for part in (strip, strip + 1))
        pixels = np.full((height, width, 3), (0, 0, 255), dtype=np.uint8)
        (pixels[:, first:last] if width > height else pixels[first:last])[:] = RED
        regions = guard.scan(CanonicalImage(pixels)).regions
        at = 0 if width > height else 1
        found.append(any(r.box[at] < last and r.box[at + 2] > first for r in regions))
    return found


def pixel_values(family: str, pixels: NDArray[np.uint8], **options: Any) -> NDArray[np.float32]:
    call = processor(family).image_processor
    values = call([Image.fromarray(pixels)], return_tensors="pt", **options)["pixel_values"]
    return torch.as_tensor(values).float().numpy()


class TestCoverage:
    @EVERY_FAMILY
    @pytest.mark.parametrize(("width", "height"), [(256, 64), (64, 256)])
    def test_whatever_part_the_model_sees_the_detector_searches(
        self, family: str, width: int, height: int
    ) -> None:
        visible = visible_strips(family, width, height)
        assert any(visible)
        searched = searched_strips(width, height)
        assert all(searched[strip] for strip in np.flatnonzero(visible).tolist())

    def test_families_differ_in_what_they_see(self) -> None:
        """Why one crop does not fit all: CLIP's own view lacks both ends, a tiled view has them."""
        clip = visible_strips("llava", 256, 64)
        assert clip[3:5] == [True, True]
        assert not any(clip[:2] + clip[6:])
        assert all(visible_strips("llava_onevision", 256, 64))
        assert all(visible_strips("qwen2_vl", 256, 64))

    @settings(max_examples=40, deadline=None)
    @given(data=st.data())
    def test_a_payload_anywhere_in_any_shape_is_found(self, data: st.DataObject) -> None:
        short = data.draw(st.integers(24, 64), "shorter side")
        long = data.draw(st.integers(short, min(short * 100, 1_200)), "longer side")
        width, height = data.draw(st.permutations([short, long]))
        x = data.draw(st.integers(0, width - 24))
        y = data.draw(st.integers(0, height - 24))
        pixels = np.full((height, width, 3), (0, 0, 255), dtype=np.uint8)
        pixels[y : y + 24, x : x + 24] = RED
        regions = red_guard().scan(CanonicalImage(pixels)).regions
        assert any(
            r.box[0] < x + 24 and r.box[2] > x and r.box[1] < y + 24 and r.box[3] > y
            for r in regions
        )


SIDE = 384


def hidden_in_scaling(target: int) -> NDArray[np.uint8]:
    """Black, except for the white pixels that nearest-neighbour scaling to `target` would pick."""
    picks = ((np.arange(target) + 0.5) * SIDE / target).astype(int)
    pixels = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
    pixels[np.ix_(picks, picks)] = 255
    return pixels


class TestScalingAttack:
    @pytest.mark.parametrize("target", [28, 48])
    @EVERY_FAMILY
    def test_no_family_shows_the_model_another_picture(self, family: str, target: int) -> None:
        pixels = hidden_in_scaling(target)
        careless = Image.fromarray(pixels).resize((target, target), Image.Resampling.NEAREST)
        assert (np.asarray(careless) == 255).all()
        share = float(pixels.mean()) / 255
        assert share < 0.03
        seen = pixel_values(family, pixels, do_normalize=False)
        assert float(seen.mean()) == pytest.approx(share, abs=0.02)

    @pytest.mark.parametrize("side", [28, 32, 224])
    def test_nor_the_detector(self, side: int) -> None:
        image = CanonicalImage(hidden_in_scaling(side))
        config = red_config().detection.patches.model_copy(update={"sizes": (96.0, 384.0)})
        crops = crop_patches(image, patch_boxes(SIDE, SIDE, config, side), side)
        share = float(image.pixels.mean()) / 255
        assert float(crops[0].mean()) == pytest.approx(share, abs=0.02)

    def test_a_picture_made_for_the_models_own_kernel_is_seen_by_the_detector_as_well(self) -> None:
        """The strongest form: the least change after which the model's view is all red.

        Against an antialiased kernel that least change is smooth, so it shows at every scale.
        """
        small, large = 28, 112
        kernel = torch.nn.functional.interpolate(
            torch.eye(large)[None, None],
            size=(small, large),
            mode="bicubic",
            antialias=True,
            align_corners=False,
        )[0, 0].double()
        inverse = torch.linalg.pinv(kernel)
        cover = torch.full((3, large, large), 0.5, dtype=torch.float64)
        wanted = torch.zeros((3, small, small), dtype=torch.float64)
        wanted[0] = 1.0
        change = inverse @ (wanted - kernel @ cover @ kernel.T) @ inverse.T
        attacked = ((cover + change).clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
        view = pixel_values("llava", attacked, do_normalize=False)[0]
        assert view[0].mean() > 0.9
        assert view[1:].mean() < 0.1
        assert red_guard().scan(CanonicalImage(attacked)).flagged
