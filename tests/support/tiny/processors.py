"""Processors that cut a picture into many frames, with tiny tiles, and those of further families.

They have no model: what they hand to one is all that is looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import transformers as T

from tests.support.tiny.families import MATRIX
from tests.support.tiny.models import make_tokenizer
from tests.support.tiny.parts import SIDE, template

GRIDS = [[28 * rows, 28 * columns] for rows in range(1, 7) for columns in range(1, 7)]


def _with(family: str, image_processor: Any) -> Any:
    """The processor of a tiny family with another image processor."""
    processor = MATRIX[family]()[1]
    processor.image_processor = image_processor
    return processor


def llava_next() -> Any:
    images = T.LlavaNextImageProcessor(
        size={"shortest_edge": 28},
        crop_size=SIDE,
        image_grid_pinpoints=[[28, 56], [56, 28], [56, 56], [84, 28], [28, 84]],
    )
    return _with("llava_next", images)


def llava_onevision() -> Any:
    images = T.LlavaOnevisionImageProcessor(size=SIDE, image_grid_pinpoints=GRIDS)
    return _with("llava_onevision", images)


def internvl() -> Any:
    images = T.GotOcr2ImageProcessor(size=SIDE, crop_to_patches=True, max_patches=12)
    return _with("internvl", images)


def idefics2() -> Any:
    images = T.Idefics2ImageProcessor(
        size={"longest_edge": 98, "shortest_edge": 38}, do_image_splitting=True
    )
    return _with("idefics2", images)


def idefics3() -> Any:
    images = T.Idefics3ImageProcessor(
        size={"longest_edge": 112}, max_image_size={"longest_edge": 28}
    )
    return _with("idefics3", images)


def smolvlm() -> Any:
    images = T.SmolVLMImageProcessor(
        size={"longest_edge": 112}, max_image_size={"longest_edge": 28}
    )
    return _with("smolvlm", images)


def gemma3_pan_and_scan() -> Any:
    images = T.Gemma3ImageProcessor(
        size=SIDE,
        do_pan_and_scan=True,
        pan_and_scan_min_crop_size=16,
        pan_and_scan_max_num_crops=4,
        pan_and_scan_min_ratio_to_activate=1.2,
    )
    return _with("gemma3", images)


def cohere2_vision() -> Any:
    images = T.Cohere2VisionImageProcessor(
        size=SIDE, crop_to_patches=True, max_patches=12, patch_size=2
    )
    return _with("cohere2_vision", images)


def llama4() -> Any:
    images = T.Llama4ImageProcessor(size=SIDE, max_patches=16, resize_to_max_canvas=False)
    return _with("llama4", images)


def mllama() -> Any:
    return _with("mllama", T.MllamaImageProcessor(size=SIDE, max_image_tiles=4))


def lfm2_vl() -> Any:
    images = T.Lfm2VlImageProcessor(
        min_image_tokens=4,
        max_image_tokens=16,
        encoder_patch_size=14,
        tile_size=56,
        max_num_patches=64,
    )
    return _with("lfm2_vl", images)


def qwen3_vl() -> Any:
    images = T.Qwen2VLImageProcessor(
        patch_size=16, size={"shortest_edge": 64 * 64, "longest_edge": 160 * 160}
    )
    return _with("qwen3_vl", images)


def glm46v() -> Any:
    images = T.Glm46VImageProcessor(size={"shortest_edge": 56 * 56, "longest_edge": 2 * 112 * 112})
    return _with("glm4v", images)


def gemma3n() -> Any:
    return _with("gemma3n", T.SiglipImageProcessor(size=SIDE))


def deepseek_vl_hybrid() -> Any:
    tokenizer = make_tokenizer(image_token="<image_placeholder>")
    return T.DeepseekVLHybridProcessor(
        T.DeepseekVLHybridImageProcessor(
            size=SIDE, high_res_size={"height": 84, "width": 84}, min_size=2
        ),
        tokenizer,
        num_image_tokens=4,
        chat_template=template("<image_placeholder>"),
    )


def perception_lm() -> Any:
    images = T.PerceptionLMImageProcessor(
        tile_size=28, max_num_tiles=12, vision_input_type="thumb+tile", size=SIDE
    )
    return _with("perception_lm", images)


def ovis2() -> Any:
    images = T.Ovis2ImageProcessor(
        size=SIDE, crop_to_patches=True, max_patches=9, use_covering_area_grid=True
    )
    return _with("ovis2", images)


def molmo2() -> Any:
    images = T.Molmo2ImageProcessor(
        size={"height": 84, "width": 84}, patch_size=14, max_crops=8, overlap_margins=[1, 1]
    )
    return _with("molmo2", images)


def minicpm_v() -> Any:
    images = T.MiniCPMV4_6ImageProcessor(max_slice_nums=9, scale_resolution=112, patch_size=14)
    return _with("minicpm_v", images)


def ernie4_5_vl() -> Any:
    images = T.Ernie4_5_VLMoeImageProcessor(
        size={"shortest_edge": 56 * 56, "longest_edge": 112 * 112}
    )
    return _with("ernie4_5_vl_moe", images)


PROCESSORS: dict[str, Callable[[], Any]] = {
    "cohere2_vision, 12 tiles": cohere2_vision,
    "deepseek_vl_hybrid": deepseek_vl_hybrid,
    "ernie4_5_vl": ernie4_5_vl,
    "gemma3, pan and scan": gemma3_pan_and_scan,
    "gemma3n": gemma3n,
    "glm46v": glm46v,
    "idefics2, split": idefics2,
    "idefics3, split": idefics3,
    "internvl, 12 tiles": internvl,
    "lfm2_vl, split": lfm2_vl,
    "llama4, 16 tiles": llama4,
    "llava_next, strips": llava_next,
    "llava_onevision, 36 tiles": llava_onevision,
    "minicpm_v": minicpm_v,
    "mllama, 4 tiles": mllama,
    "molmo2": molmo2,
    "ovis2": ovis2,
    "perception_lm": perception_lm,
    "qwen3_vl, large": qwen3_vl,
    "smolvlm, split": smolvlm,
}
"""Name → its processor."""
