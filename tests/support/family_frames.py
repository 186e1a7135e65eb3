"""What the guard sees of a photo for each family, at real sizes: the table in docs/models.md.

`python -m tests.support.family_frames` rewrites it; a test computes a part of it again. Sizes are
those of published checkpoints or, failing that, the defaults of the family's image processor.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import transformers as T

from guardalign_middleware.generation.frames import ProcessorForms
from tests.support.models_page import PageTable
from tests.support.tiny.families import MATRIX
from tests.support.tiny.processors import PROCESSORS

TABLE = PageTable(
    begin="<!-- frames: python -m tests.support.family_frames -->",
    end="<!-- end of frames -->",
    head="| family | a photo of 2000×1500 | a strip of 3000×300 |\n| --- | --- | --- |",
)
SIZES = ((2000, 1500), (3000, 300))


def _square(side: int) -> dict[str, int]:
    return {"height": side, "width": side}


def _got_ocr(side: int) -> Any:
    return T.GotOcr2ImageProcessor(size=_square(side), crop_to_patches=True, max_patches=12)


def _qwen(least: int, most: int, patch: int) -> Any:
    return T.Qwen2VLImageProcessor(
        patch_size=patch, size={"shortest_edge": least, "longest_edge": most}
    )


def _next() -> Any:
    pinpoints = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
    return T.LlavaNextImageProcessor(
        size={"shortest_edge": 336}, crop_size=_square(336), image_grid_pinpoints=pinpoints
    )


FULL_SIZE: dict[str, tuple[str, Callable[[], Any]]] = {
    "LLaVA-1.5, ViP-LLaVA 336": (
        "llava",
        lambda: T.CLIPImageProcessor(size={"shortest_edge": 336}, crop_size=_square(336)),
    ),
    "BLIP-2 224": ("paligemma", lambda: T.BlipImageProcessor(size=_square(224))),
    "PaliGemma 448": ("paligemma", lambda: T.SiglipImageProcessor(size=_square(448))),
    "Gemma 3": ("gemma3", lambda: T.Gemma3ImageProcessor(size=_square(896))),
    "Gemma 3n": ("gemma3n", lambda: T.SiglipImageProcessor(size=_square(768))),
    "DeepSeek-VL": ("deepseek_vl", T.DeepseekVLImageProcessor),
    "DeepSeek-VL, hybrid": ("deepseek_vl_hybrid", T.DeepseekVLHybridImageProcessor),
    "Janus": ("janus", T.JanusImageProcessor),
    "LLaVA-NeXT 336": ("llava_next", _next),
    "LLaVA-OneVision": ("llava_onevision", T.LlavaOnevisionImageProcessor),
    "InternVL3 448": ("internvl", lambda: _got_ocr(448)),
    "Aya Vision 364": ("aya_vision", lambda: _got_ocr(364)),
    "Idefics2, split": (
        "idefics2",
        lambda: T.Idefics2ImageProcessor(do_image_splitting=True),
    ),
    "Idefics3": (
        "idefics3",
        lambda: T.Idefics3ImageProcessor(
            size={"longest_edge": 1456}, max_image_size={"longest_edge": 364}
        ),
    ),
    "SmolVLM 500M": (
        "smolvlm",
        lambda: T.SmolVLMImageProcessor(
            size={"longest_edge": 2048}, max_image_size={"longest_edge": 512}
        ),
    ),
    "Command A Vision": ("cohere2_vision", T.Cohere2VisionImageProcessor),
    "Llama 3.2 Vision": (
        "mllama",
        lambda: T.MllamaImageProcessor(size=_square(560), max_image_tiles=4),
    ),
    "Llama 4": ("llama4", lambda: T.Llama4ImageProcessor(max_patches=16)),
    "Phi-4 multimodal": ("phi4_multimodal", T.Phi4MultimodalImageProcessor),
    "PerceptionLM 448": (
        "perception_lm",
        lambda: T.PerceptionLMImageProcessor(
            vision_input_type="thumb+tile", tile_size=448, max_num_tiles=36, size=_square(448)
        ),
    ),
    "Ovis2 448": (
        "ovis2",
        lambda: T.Ovis2ImageProcessor(
            size=_square(448), crop_to_patches=True, max_patches=9, use_covering_area_grid=True
        ),
    ),
    "Molmo2": ("molmo2", T.Molmo2ImageProcessor),
    "MiniCPM-V 4.6": ("minicpm_v", T.MiniCPMV4_6ImageProcessor),
    "LFM2-VL": ("lfm2_vl", T.Lfm2VlImageProcessor),
    "Pixtral": ("llava_pixtral", T.PixtralImageProcessor),
    "Mistral Small 3": (
        "mistral3",
        lambda: T.PixtralImageProcessor(size={"longest_edge": 1540}),
    ),
    "Qwen2-VL, Qwen2.5-VL": ("qwen2_vl", lambda: _qwen(3136, 12_845_056, 14)),
    "Qwen3-VL, Qwen3.5": ("qwen3_vl", lambda: _qwen(65_536, 16_777_216, 16)),
    "GLM-4.1V": ("glm4v", T.Glm4vImageProcessor),
    "ERNIE 4.5 VL": ("ernie4_5_vl", T.Ernie4_5_VLMoeImageProcessor),
    "Kimi K2.5": ("kimi_k25", T.Kimi_K25ImageProcessor),
    "Gemma 4": ("gemma4", T.Gemma4ImageProcessor),
}
"""Name on the page → the tiny family whose processor it has, and its image processor."""


def full_size(name: str) -> ProcessorForms:
    """The forms of a family at its real size."""
    family, images = FULL_SIZE[name]
    processor = PROCESSORS[family]() if family in PROCESSORS else MATRIX[family]()[1]
    processor.image_processor = images()
    return ProcessorForms(processor)


def row(name: str) -> str:
    """One line of the table."""
    forms = full_size(name)
    return f"| {name} | {' | '.join(_shown(forms, *size) for size in SIZES)} |"


def _shown(forms: ProcessorForms, width: int, height: int) -> str:
    """The frames of a picture; equal ones are named once."""
    found = []
    for layout in forms._layouts_of(width, height):
        for canvas in layout.canvases:
            (x0, y0, x1, y1), size = canvas.box, "×".join(map(str, canvas.size))
            shown = (min(x1, width) - max(x0, 0)) * (min(y1, height) - max(y0, 0))
            share = shown / (width * height)
            found.append(size if share > 0.99 else f"{size} of {share:.0%}")
    return ", ".join(dict.fromkeys(found))


def main() -> None:
    """Write the table."""
    lines = [row(name) for name in FULL_SIZE]
    TABLE.write(lines)
    sys.stdout.write(f"{len(lines)} families\n")


if __name__ == "__main__":
    main()
