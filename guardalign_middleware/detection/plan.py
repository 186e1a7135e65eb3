"""The plan of a scan: the forms of a picture, and which crops of each are encoded.

All forms share one budget of crops. It is spent from coarse to fine: while the crops are too many,
the form that shows the most detail is looked at in a smaller frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guardalign_middleware.config import FormConfig, PatchConfig
from guardalign_middleware.detection.dense import cell_boxes
from guardalign_middleware.detection.forms import Form, ModelForms, form_of
from guardalign_middleware.detection.patches import crop_count, crop_sides, patch_boxes
from guardalign_middleware.detection.views import View
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.types import CanonicalImage, Level

_SHRINKING = 1 / 1.05


@dataclass(frozen=True)
class Look:
    """How the detector looks at pictures, with one encoder.

    Attributes:
        forms: those that are resampled from a picture.
        model_forms: those that the runner's processor makes; None = none.
        patches: sizes, overlap and budget of the crops.
        input_side: the side of the finest crops in pixels, E or with dense patches 2 E.
        cells: patches along each side of a crop; 1 = the crop is the patch.
    """

    forms: tuple[FormConfig, ...]
    model_forms: ModelForms | None
    patches: PatchConfig
    input_side: int
    cells: int = 1

    def resampled(self, width: int, height: int) -> list[Form]:
        """The resampled forms of a `width` × `height` picture, within the budget."""
        return self.within_budget([form_of(form, width, height) for form in self.forms])

    def forms_of(self, image: CanonicalImage) -> list[Form]:
        """All forms of a picture, within the budget.

        Raises:
            ConfigError: even the coarsest crops are more than the budget.
            DetectionError: the processor's frames cannot be found.
        """
        forms = [form_of(form, image.width, image.height) for form in self.forms]
        if self.model_forms is not None:
            forms += self.model_forms(image)
        return self.within_budget(forms)

    def within_budget(self, forms: Sequence[Form]) -> list[Form]:
        """The same forms, those with the most detail in smaller frames.

        Raises:
            ConfigError: even the coarsest crops are more than the budget.
        """
        kept = list(forms)
        counts = [self._count(form) for form in kept]
        while sum(counts) > self.patches.max_crops:
            shrinkable = [index for index, form in enumerate(kept) if self._can_shrink(form)]
            if not shrinkable:
                raise ConfigError(
                    f"The forms of a picture need {sum(counts)} crops, more than "
                    f"patches.max_crops = {self.patches.max_crops}.",
                    remedy="Raise patches.max_crops, or lower patches.overlap.",
                )
            finest = max(shrinkable, key=lambda index: max(kept[index].width, kept[index].height))
            kept[finest] = kept[finest].shrunk(_SHRINKING)
            counts[finest] = self._count(kept[finest])
        return kept

    def crops_of(self, form: Form) -> NDArray[np.int64]:
        """The crops of a form: int64 `[M, 4]` in pixels of its frame, from coarse to fine."""
        return patch_boxes(form.width, form.height, self.patches, self.input_side)

    def crop_count(self, width: int, height: int) -> int:
        """About how many crops one view of a `width` × `height` picture has.

        A processor's frames are not asked for; with any, it is as if the budget was spent.

        Raises:
            ConfigError: even the coarsest crops are more than the budget.
        """
        if self.model_forms is not None:
            return self.patches.max_crops
        return sum(map(self._count, self.resampled(width, height)))

    def finest_stride(self, width: int, height: int) -> int:
        """How far apart the finest crops start, in pixels of the picture, at least 1.

        Raises:
            ConfigError: even the coarsest crops are more than the budget.
            DetectionError: the processor's frames cannot be found.
        """
        blank = CanonicalImage(np.zeros((height, width, 3), dtype=np.uint8))
        finest = min(
            crop_sides(form.width, form.height, self.patches, self.input_side)[-1] * min(form.scale)
            for form in self.forms_of(blank)
        )
        return max(1, round(finest * (1.0 - self.patches.overlap)))

    def _count(self, form: Form) -> int:
        return crop_count(form.width, form.height, self.patches, self.input_side)

    def _can_shrink(self, form: Form) -> bool:
        # With fractions as sizes, a smaller frame has as many crops.
        fixed = bool(self.patches.sizes) and self.patches.unit == "short_side"
        return not fixed and max(form.width, form.height) > self.input_side


@dataclass(frozen=True, eq=False)
class FormPatches:
    """The patches of one form of one view of a picture.

    Attributes:
        view: the view, as an image.
        form: the form of the view.
        boxes: int64 `[W, 4]`, the crops in pixels of the frame, from coarse to fine.
        image_boxes: int64 `[M, 4]`, the patches in pixels of the picture: the crops, or with dense
            patches those cells of all crops that show something of the frame.
        patch_levels: int64 `[M]`, an index into `levels`.
        levels: the sizes of the patches.
        rows: int64 `[M]`, which of the `W * cells²` cells the patches are.
    """

    view: CanonicalImage
    form: Form
    boxes: NDArray[np.int64]
    image_boxes: NDArray[np.int64]
    patch_levels: NDArray[np.int64]
    levels: tuple[Level, ...]
    rows: NDArray[np.int64]

    def frame(self) -> CanonicalImage:
        """The frame that the crops are cut from."""
        return self.form.frame(self.view)


def view_patches(image: CanonicalImage, view: View, look: Look) -> list[FormPatches]:
    """Lay crops over each form of a view of a picture.

    Raises:
        ConfigError: even the coarsest crops are more than the budget.
        DetectionError: the processor's frames cannot be found.
    """
    seen = view.image_of(image)
    return [_form_patches(image, view, seen, form, look) for form in look.forms_of(seen)]


def _form_patches(
    image: CanonicalImage, view: View, seen: CanonicalImage, form: Form, look: Look
) -> FormPatches:
    crops = look.crops_of(form)
    cells = cell_boxes(crops, look.cells)
    shown = (cells[:, :2] < [form.width, form.height]).all(axis=1) & (cells[:, 2:] > 0).all(axis=1)
    rows = np.flatnonzero(shown)
    boxes = cells[rows]
    sides, patch_levels, counts = np.unique(
        boxes[:, 0] - boxes[:, 2], return_inverse=True, return_counts=True
    )
    across, down = form.scale
    levels = tuple(
        Level(form.name, (form.width, form.height), -side, (-side * across, -side * down), count)
        for side, count in zip(sides.tolist(), counts.tolist(), strict=True)
    )
    placed = view.to_image(form.to_image(boxes, seen.width, seen.height), image.width)
    return FormPatches(seen, form, crops, placed, patch_levels, levels, rows)
