"""The forms in which the runner's model gets a picture, taken from its own processor."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from transformers import ProcessorMixin

from guardalign_middleware.cache import BoundedCache
from guardalign_middleware.config import RunnerConfig
from guardalign_middleware.detection.forms import Form
from guardalign_middleware.errors import ConfigError, DetectionError, GuardAlignError
from guardalign_middleware.generation.engine.loading import load_processor
from guardalign_middleware.generation.frames.placing import Misfit, gradient
from guardalign_middleware.generation.frames.reading import FrameReader
from guardalign_middleware.generation.frames.stitching import Canvas, stitch
from guardalign_middleware.generation.frames.unpatchify import UnknownLayout
from guardalign_middleware.types import CanonicalImage

# Sizes tried when loading: a small picture, a strip, and one that tilers cut.
_PROBES = ((64, 64), (640, 96), (1024, 768))
# Layouts kept, one for each size of a picture: a few KiB each.
_LAYOUTS = 512
_REMEDY = 'Set detection.sees to "any", which looks at what most models see.'


@dataclass(frozen=True)
class Layout:
    """The canvases of a picture of one size.

    Attributes:
        copies: how often the picture stood in the prompt.
        shapes: height and width of each frame.
        canvases: where the frames lie.
    """

    copies: int
    shapes: tuple[tuple[int, int], ...]
    canvases: tuple[Canvas, ...]


class ProcessorForms:
    """What a processor makes of a picture; a `ModelForms` of the detector.

    The frames come from the whole processor, called as the runner calls it. Where they lie is found
    with a gradient picture of the same size, once for each size. Tiles that adjoin are one form.
    Padding is cut away. Some processors treat a picture differently beside another one; then both
    forms are looked at.

    Threads may share it. Nothing else may use the processor's tokenizer at the same time.

    Args:
        processor: of the model.

    Attributes:
        fingerprint: of everything that changes a frame.

    Raises:
        ConfigError: it is not known how this processor shows pictures to its model.
    """

    def __init__(self, processor: ProcessorMixin) -> None:
        self._name = type(processor).__name__
        self._layouts: BoundedCache[tuple[Layout, ...]] = BoundedCache(_LAYOUTS)
        with self._refusing():
            self._reader = FrameReader(processor)
            self._copies: tuple[int, ...] = (1,)
            if self._differs_among_several():
                self._copies = (1, 2)
            probes = [self._layouts_of(width, height) for width, height in _PROBES]
        self.fingerprint = _fingerprint(processor, probes)

    @classmethod
    def load(cls, config: RunnerConfig) -> Self:
        """Load the processor of a runner, without its model.

        Raises:
            ModelLoadError: the processor cannot be loaded.
            ConfigError: as for the class.
        """
        return cls(load_processor(config))

    def __call__(self, image: CanonicalImage) -> tuple[Form, ...]:
        """The frames in which the model gets a picture, equal ones once.

        Raises:
            DetectionError: the processor refuses the picture, or gives frames that cannot be
                placed on it.
        """
        forms: list[Form] = []
        with self._faults():
            for layout in self._layouts_of(image.width, image.height):
                frames = self._reader.frames(image, layout.copies)
                if tuple(frame.shape[1:] for frame in frames) != layout.shapes:
                    raise Misfit("the frames of two pictures of one size differ in shape")
                for canvas in layout.canvases:
                    form = Form("model", *canvas.size, canvas.box, canvas.lay(frames))
                    if not any(_equal(form, other) for other in forms):
                        forms.append(form)
        return tuple(forms)

    def _layouts_of(self, width: int, height: int) -> tuple[Layout, ...]:
        def find(sizes: list[tuple[int, int]]) -> list[tuple[Layout, ...]]:
            return [tuple(self._layout(*size, copies) for copies in self._copies) for size in sizes]

        key = f"{width}x{height}"
        return self._layouts.get_many({key: (width, height)}, find)[key]

    def _layout(self, width: int, height: int, copies: int) -> Layout:
        frames = self._reader.frames(CanonicalImage(gradient(width, height)), copies)
        canvases = stitch(frames, width, height)
        if not canvases and copies == 1:
            raise Misfit("no frame shows anything of the picture")
        return Layout(copies, tuple(frame.shape[1:] for frame in frames), tuple(canvases))

    def _differs_among_several(self) -> bool:
        """Whether the frames of a picture beside another one are not those of it alone."""
        width, height = _PROBES[-1]
        picture = CanonicalImage(gradient(width, height))
        alone, beside = (
            {frame.tobytes() for frame in self._reader.frames(picture, copies)} for copies in (1, 2)
        )
        return alone != beside

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            raise ConfigError(
                f"The forms that {self._name} makes of a picture cannot be found: {_told(error)}.",
                remedy=_REMEDY,
            ) from error

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except MemoryError:
            raise
        except Exception as error:
            raise DetectionError(
                f"What {self._name} makes of this picture cannot be found: {_told(error)}.",
                stage="forms",
                remedy="The model may not take pictures of this shape; bring it into another one.",
            ) from error


def _told(error: Exception) -> str:
    """What went wrong, without content of a picture: foreign errors could hold any."""
    if isinstance(error, GuardAlignError):
        return error.message.rstrip(".")
    if isinstance(error, UnknownLayout | Misfit):
        return str(error)
    return f"it raised {type(error).__name__}"


def _equal(form: Form, other: Form) -> bool:
    pixels, others = form.pixels, other.pixels
    return pixels is not None and others is not None and np.array_equal(pixels, others)


def _fingerprint(processor: Any, probes: Sequence[Sequence[Layout]]) -> str:
    """Of the image processor, what the processor overrides, and the layout of some sizes."""
    images = processor.image_processor
    record = {
        "class": [type(processor).__name__, type(images).__name__],
        "backend": str(getattr(images, "backend", "")),
        "images": json.loads(images.to_json_string()),
        "overrides": {
            name: str(getattr(processor, name, None))
            for name in ("images_kwargs", "patch_size", "spatial_merge_size")
        },
        "layouts": [
            [layout.copies, layout.shapes, [canvas.size for canvas in layout.canvases]]
            for layouts in probes
            for layout in layouts
        ],
    }
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
