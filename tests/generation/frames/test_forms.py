"""The forms that a processor makes: faults, fingerprint, threads, loading."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BatchFeature, LlavaProcessor, Qwen2VLImageProcessor

from guardalign_middleware.config import RunnerConfig
from guardalign_middleware.errors import ConfigError, DetectionError, ModelLoadError
from guardalign_middleware.generation.frames import ProcessorForms
from guardalign_middleware.types import CanonicalImage
from tests.support.tiny.families import MATRIX
from tests.support.tiny.models import save_tiny_model
from tests.support.tiny.processors import PROCESSORS

# PaliGemma passes tensors to NumPy in a deprecated way.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")


def noise(width: int, height: int, seed: int = 0) -> CanonicalImage:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return CanonicalImage(pixels)


class _Changed(LlavaProcessor):
    """A processor whose output is changed by a function."""

    change: Any = None

    def __call__(self, *args: Any, **kwargs: Any) -> BatchFeature:
        outputs: BatchFeature = type(self).change(super().__call__(*args, **kwargs))
        return outputs


def changed(change: Any) -> Any:
    processor = MATRIX["llava"]()[1]
    processor.__class__ = type("MadeUpProcessor", (_Changed,), {"change": staticmethod(change)})
    return processor


def _with(outputs: BatchFeature, values: torch.Tensor) -> BatchFeature:
    return BatchFeature({**outputs, "pixel_values": values})


UNKNOWN = {
    "shape": lambda out: _with(out, out["pixel_values"].permute(0, 2, 3, 1)),
    "disorder": lambda out: _with(out, out["pixel_values"].roll(14, dims=-1)),
    "line": lambda out: _with(out, out["pixel_values"].exp()),
    "features": lambda out: BatchFeature({**out, "features": torch.rand(2, 3)}),
    "number": lambda out: _with(out, out["pixel_values"] * torch.nan),
    "nothing": lambda out: out["nothing"],
}


class TestRefused:
    @pytest.mark.parametrize("why", UNKNOWN)
    def test_a_processor_with_an_unknown_layout(self, why: str) -> None:
        with pytest.raises(ConfigError, match=rf"MadeUpProcessor.*{why}.*detection\.sees"):
            ProcessorForms(changed(UNKNOWN[why]))

    def test_frames_that_depend_on_more_than_the_size(self) -> None:
        def flat_is_small(outputs: BatchFeature) -> BatchFeature:
            values = outputs["pixel_values"]
            flat = values.std(dim=(-2, -1)).max() < 0.02
            return _with(outputs, values[..., :14, :] if flat else values)

        forms = ProcessorForms(changed(flat_is_small))
        assert forms(noise(64, 64))
        with pytest.raises(DetectionError, match="differ in shape") as caught:
            forms(CanonicalImage(np.full((64, 64, 3), 9, dtype=np.uint8)))
        assert caught.value.stage == "forms"

    def test_a_picture_that_the_processor_refuses(self) -> None:
        forms = ProcessorForms(MATRIX["qwen2_vl"]()[1])
        with pytest.raises(DetectionError, match="Qwen2VLProcessor") as caught:
            forms(noise(2100, 10))
        assert caught.value.stage == "forms"
        assert forms(noise(1990, 10))


class TestFingerprint:
    def test_it_is_the_same_each_time(self) -> None:
        first, second = (ProcessorForms(PROCESSORS["molmo2"]()).fingerprint for _ in range(2))
        assert first == second

    def test_anything_that_changes_frames_changes_it(self) -> None:
        def fingerprint(family: str, override: Any = None, **images: Any) -> str:
            processor = MATRIX[family]()[1]
            for name, value in images.items():
                setattr(processor.image_processor, name, value)
            if override is not None:
                processor.images_kwargs = override
            return ProcessorForms(processor).fingerprint

        found = [
            fingerprint("gemma3"),
            fingerprint("paligemma"),
            fingerprint("gemma3", resample=3),
            fingerprint("gemma3", size={"height": 56, "width": 28}),
            fingerprint(
                "gemma3",
                {
                    "do_pan_and_scan": True,
                    "pan_and_scan_min_crop_size": 16,
                    "pan_and_scan_max_num_crops": 4,
                    "pan_and_scan_min_ratio_to_activate": 1.2,
                },
            ),
            fingerprint("mistral3"),
            fingerprint("llava_pixtral"),
        ]
        assert len(set(found)) == len(found)


class TestThreads:
    def test_several_threads_get_what_one_gets(self) -> None:
        forms = ProcessorForms(PROCESSORS["internvl, 12 tiles"]())
        pictures = [noise(40 + 9 * number, 100, number) for number in range(8)]
        alone = [forms(picture) for picture in pictures]
        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(ProcessorForms.__call__, [forms] * 16, pictures * 2))
        for one, other in zip(alone * 2, together, strict=True):
            assert [form.box for form in one] == [form.box for form in other]
            for form, same in zip(one, other, strict=True):
                assert np.array_equal(form.pixels, same.pixels)  # type: ignore[arg-type]


class TestLoad:
    def test_the_processor_of_a_runner_is_loaded_without_its_weights(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from guardalign_middleware.generation.engine import loading

        directory = save_tiny_model(tmp_path / "llava", "llava")
        monkeypatch.setattr(loading, "_load_weights", None)
        forms = ProcessorForms.load(RunnerConfig(model=str(directory)))
        (form,) = forms(noise(37, 28))
        assert (form.width, form.height) == (28, 28)

    def test_a_missing_model_is_an_error_of_loading(self, tmp_path: Path) -> None:
        with pytest.raises(ModelLoadError, match="no model directory"):
            ProcessorForms.load(RunnerConfig(model=str(tmp_path / "none")))


class TestOverrides:
    def test_frames_are_those_of_the_whole_processor(self) -> None:
        """Its image processor alone would cut strips: the processor switches that off."""
        processor = MATRIX["gemma3"]()[1]
        processor.image_processor = type(processor.image_processor)(
            size={"height": 28, "width": 28},
            do_pan_and_scan=True,
            pan_and_scan_min_crop_size=16,
            pan_and_scan_max_num_crops=4,
            pan_and_scan_min_ratio_to_activate=1.2,
        )
        (form,) = ProcessorForms(processor)(noise(400, 100))
        assert form.box == (0, 0, 400, 100)

    def test_the_order_of_patches_is_found_and_not_assumed(self) -> None:
        processor = MATRIX["qwen2_vl"]()[1]

        class RowByRow(Qwen2VLImageProcessor):
            """As if the model merged no patches, whatever its processor says."""

            def _preprocess(self, *args: Any, **kwargs: Any) -> Any:
                kwargs["merge_size"] = 1
                return super()._preprocess(*args, **kwargs)

        processor.image_processor = RowByRow(min_pixels=56 * 56, max_pixels=56 * 56)
        picture = noise(56, 56)
        (form,) = ProcessorForms(processor)(picture)
        assert np.array_equal(form.pixels, picture.pixels)  # type: ignore[arg-type]
