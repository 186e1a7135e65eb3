"""Repositories of the double: the layouts of published models, with random weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from tests.hub.double import Hub, Repository
from tests.support.tiny.models import FAMILIES, make_tokenizer

CLIP = "timm/vit_base_patch32_clip_224.openai"
"""Where open_clip finds the weights of ViT-B-32-quickgelu, openai."""
FARE = "chs20/FARE4-ViT-B-16-laion2B-s34B-b88K"
SIGLIP, SIGLIP_NAME = "timm/ViT-B-16-SigLIP2", "ViT-B-16-SigLIP2"
"""Where open_clip finds the weights of this name, webli."""
WORDS = "timm/words"
"""For a tokenizer alone."""
LLAVA = "llava-hf/llava-1.5-7b-hf"

NARROW: dict[str, Any] = {
    "embed_dim": 16,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "patch_size": 8, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
"""Like ViT-B-32, and so small that a test has time for it."""
_OPENAI = {
    "mean": [0.48145466, 0.4578275, 0.40821073],
    "std": [0.26862954, 0.26130258, 0.27577711],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}


def write_encoder(folder: Path, settings: Mapping[str, Any], *, tokenizer: bool) -> None:
    """The files of an encoder's repository, as open_clip publishes them; pickles lie beside."""
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    config = {name: dict(part) for name, part in settings.items() if isinstance(part, dict)}
    kind = open_clip.CustomTextCLIP if settings.get("custom_text") else open_clip.CLIP
    plain = {k: v for k, v in settings.items() if k not in {*config, "custom_text"}}
    state = kind(**plain, **config).state_dict()
    save_file(
        {name: tensor.contiguous() for name, tensor in state.items()},
        folder / "open_clip_model.safetensors",
    )
    (folder / "open_clip_pytorch_model.bin").write_bytes(b"a pickle, which nobody opens")
    described = {"model_cfg": dict(settings), "preprocess_cfg": _OPENAI}
    (folder / "open_clip_config.json").write_text(json.dumps(described))
    (folder / "config.json").write_text(json.dumps({"architecture": "vit_base_patch32_clip_224"}))
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    (folder / ".gitattributes").write_text("*.safetensors filter=lfs\n")
    if tokenizer:
        tiny = make_tokenizer()
        tiny.model_max_length = settings["text_cfg"]["context_length"]
        tiny.save_pretrained(folder)


def publish_siglip(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch, *, tokenizer: str
) -> None:
    """Put an encoder of SigLIP's kind on the hub, with its tokenizer in `SIGLIP` or in `WORDS`."""
    text = {**NARROW["text_cfg"], "hf_tokenizer_name": tokenizer, "vocab_size": 400}
    settings = {
        **NARROW,
        "quick_gelu": False,
        "text_cfg": {**text, "tokenizer_kwargs": {"clean": "lower"}},
    }
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, SIGLIP_NAME, deepcopy(settings))
    own = folder / "siglip"
    write_encoder(own, settings, tokenizer=True)
    hub.repositories[SIGLIP] = Repository(own, "apache-2.0")
    if tokenizer == WORDS:
        apart = folder / "tokenizer"
        apart.mkdir()
        for path in [*own.glob("*token*"), *own.glob("vocab*")]:
            path.rename(apart / path.name)
        hub.repositories[WORDS] = Repository(apart, "apache-2.0")


def write_runner(folder: Path) -> None:
    """The files of a LLaVA, in several weight files with their index."""
    model, processor = FAMILIES["llava"]()
    model.save_pretrained(folder, max_shard_size="100KB")
    processor.save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: llama2\n---\n")
    (folder / "pytorch_model-00001-of-00002.bin").write_bytes(b"a pickle, which nobody opens")


def standard(folder: Path) -> dict[str, Repository]:
    """An encoder by open_clip's name, one by its place on the hub, and a runner."""
    write_encoder(folder / "clip", NARROW, tokenizer=False)
    write_encoder(folder / "fare", NARROW, tokenizer=False)
    write_runner(folder / "llava")
    return {
        CLIP: Repository(folder / "clip", "mit"),
        FARE: Repository(folder / "fare", "mit"),
        LLAVA: Repository(folder / "llava", "llama2"),
    }
