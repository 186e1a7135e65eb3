"""SigLIP and other open_clip models: their structure, preprocessing and bias, on random weights."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from guardalign_middleware.config import EncoderConfig, GuardAlignConfig
from guardalign_middleware.detection.encoder import OpenClipEncoder
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.preset_files import available_presets

WORDS = ["</s>", "<unk>", "a", "photo", "of", "knife", "dog", "red"]
NORMAL = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "resize_mode": "squash"}


def small_siglip() -> dict[str, Any]:
    """The shipped configuration of ViT-B-16-SigLIP with fewer and narrower layers."""
    config = copy.deepcopy(open_clip.get_model_config("ViT-B-16-SigLIP"))
    config["embed_dim"] = 192
    config["vision_cfg"]["timm_model_name"] = "vit_tiny_patch16_224"
    config["text_cfg"] |= {
        "vocab_size": len(WORDS),
        "hf_tokenizer_name": ".",
        "width": 64,
        "heads": 2,
        "layers": 2,
    }
    return config


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("siglip")
    config = small_siglip()
    torch.manual_seed(0)
    model = open_clip.CustomTextCLIP(
        config["embed_dim"],
        dict(config["vision_cfg"]),
        dict(config["text_cfg"]),
        init_logit_bias=config["init_logit_bias"],
    )
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    assert float(weights["logit_bias"]) == -10.0
    save_file(weights, out / "open_clip_model.safetensors")
    facts = {"model_cfg": config, "preprocess_cfg": NORMAL}
    (out / "open_clip_config.json").write_text(json.dumps(facts))
    ids = {word: index for index, word in enumerate(WORDS)}
    fast = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    fast.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 0)]
    )
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=fast, pad_token="</s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(out)
    return out


def load(folder: Path) -> OpenClipEncoder:
    return OpenClipEncoder.load(
        EncoderConfig(model=f"local-dir:{folder}", templates=("{}", "a photo of {}"))
    )


def test_embeddings_are_open_clips_own(folder: Path) -> None:
    encoder = load(folder)
    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    assert encoder.image_size == 224
    pixels = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(["red dog", "a photo of red dog"])
    assert tokens.shape == (2, 64)
    with torch.no_grad():
        normal = preprocess.transforms[-1](pixels)
        expected = model.encode_image(normal, normalize=True)
        texts = model.encode_text(tokens, normalize=True).mean(dim=0)
    torch.testing.assert_close(normal, (pixels - 0.5) / 0.5)
    torch.testing.assert_close(encoder.encode_images(pixels), expected)
    mean = torch.nn.functional.normalize(texts, dim=0)
    torch.testing.assert_close(encoder.encode_texts(["red dog"])[0], mean)


def test_case_and_punctuation_are_cleaned_as_siglip_does(folder: Path) -> None:
    encoder = load(folder)
    rows = encoder.encode_texts(["Red dog!", "red dog"])
    torch.testing.assert_close(rows[0], rows[1])
    with pytest.raises(ConfigError, match="'gun'"):
        encoder.encode_texts(["a Gun."])


def test_the_logit_bias_shifts_no_distance(folder: Path, tmp_path: Path) -> None:
    """It is added to every logit: cosines, order and softmax do not change."""
    other = tmp_path / "other"
    other.mkdir()
    for file in folder.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    weights = load_file(other / "open_clip_model.safetensors")
    weights["logit_bias"] = torch.full_like(weights["logit_bias"], 3.0)
    save_file(weights, other / "open_clip_model.safetensors")
    pixels = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    first, second = load(folder), load(other)
    torch.testing.assert_close(first.encode_images(pixels), second.encode_images(pixels))
    # Yet it is another model, and a threshold profile is bound to one.
    assert first.fingerprint != second.fingerprint


@pytest.mark.parametrize("preset", available_presets())
def test_every_preset_names_a_model_that_open_clip_has(preset: str) -> None:
    encoder = GuardAlignConfig.load(preset).detection.encoder
    if encoder.model.startswith(("local-dir:", "hf-hub:")):
        return
    config = open_clip.get_model_config(encoder.model)
    assert config is not None
    assert isinstance(config["vision_cfg"]["image_size"], int)
    tag = open_clip.get_pretrained_cfg(encoder.model, encoder.pretrained)
    assert tag
    if "SigLIP" in encoder.model:
        assert tuple(tag["mean"]) == tuple(tag["std"]) == (0.5, 0.5, 0.5)
        assert config["init_logit_bias"] == -10


@pytest.mark.evidence
@pytest.mark.parametrize("name", ["ViT-B-32-quickgelu", "ViT-B-16-SigLIP", "RN50-quickgelu"])
def test_real_widths_on_random_weights(name: str) -> None:
    torch.manual_seed(0)
    model = open_clip.create_model(name, pretrained=None)
    config = EncoderConfig(model=name, batch_size=1)
    encoder = OpenClipEncoder(
        model, open_clip.get_tokenizer("ViT-B-32"), config, fingerprint="random"
    )
    assert encoder.image_size == 224
    pixels = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    rows = encoder.encode_images(pixels)
    assert rows.shape == (2, open_clip.get_model_config(name)["embed_dim"])
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(2))
    assert not torch.allclose(rows[0], rows[1])
