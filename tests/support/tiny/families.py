"""Every family that has been tested, as a tiny random model; docs/models.md is made from these."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.tiny import decoders, experts, others, poolers, rotary, shared_keys, towers
from tests.support.tiny.models import FAMILIES
from tests.support.tiny.parts import Built

MATRIX: dict[str, Callable[[], Built]] = {
    **FAMILIES,
    "vipllava": towers.vipllava,
    "llava_next": towers.llava_next,
    "llava_onevision": towers.llava_onevision,
    "llava_pixtral": towers.llava_pixtral,
    "mistral3": towers.mistral3,
    "idefics2": towers.idefics2,
    "idefics3": towers.idefics3,
    "smolvlm": towers.smolvlm,
    "internvl": towers.internvl,
    "deepseek_vl": towers.deepseek_vl,
    "blip2": towers.blip2,
    "qwen2_5_vl": rotary.qwen2_5_vl,
    "qwen3_vl": rotary.qwen3_vl,
    "qwen3_5": rotary.qwen3_5,
    "glm4v": rotary.glm4v,
    "qwen3_vl_moe": experts.qwen3_vl_moe,
    "qwen3_5_moe": experts.qwen3_5_moe,
    "glm4v_moe": experts.glm4v_moe,
    "ernie4_5_vl_moe": experts.ernie4_5_vl_moe,
    "janus": poolers.janus,
    "ovis2": poolers.ovis2,
    "perception_lm": poolers.perception_lm,
    "molmo2": poolers.molmo2,
    "minicpm_v": poolers.minicpm_v,
    "paligemma": decoders.paligemma,
    "paligemma2": decoders.paligemma2,
    "gemma4": decoders.gemma4,
    "gemma4_shared": shared_keys.gemma4_shared,
    "gemma3n": shared_keys.gemma3n,
    "aya_vision": decoders.aya_vision,
    "cohere2_vision": decoders.cohere2_vision,
    "mllama": decoders.mllama,
    "llama4": decoders.llama4,
    "lfm2_vl": decoders.lfm2_vl,
    "kimi_k25": others.kimi_k25,
    "phi4_multimodal": others.phi4_multimodal,
    "fuyu": others.fuyu,
    "florence2": others.florence2,
}
