from __future__ import annotations

import json
import logging
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from guardalign_middleware.config import EncoderConfig
from guardalign_middleware.detection.encoder import OpenClipEncoder
from guardalign_middleware.errors import ConfigError, DetectionError, ModelLoadError

WORDS = ["<pad>", "<unk>", "<s>", "a", "picture", "of", "knife", "dog", "red", "</s>"]
MODEL: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {
        "image_size": 24,
        "patch_size": 8,
        "width": 32,
        "layers": 1,
        "head_width": 16,
    },
    "text_cfg": {
        "context_length": 8,
        "vocab_size": len(WORDS),
        "hf_tokenizer_name": ".",
        "tokenizer_kwargs": {"clean": "whitespace"},
        "width": 32,
        "heads": 2,
        "layers": 1,
        "pool_type": "argmax",
    },
}
PREPROCESS = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.25]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    model = open_clip.CLIP(16, dict(MODEL["vision_cfg"]), dict(MODEL["text_cfg"]))
    save_file(
        {k: v.contiguous() for k, v in model.state_dict().items()},
        out / "open_clip_model.safetensors",
    )
    (out / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": MODEL, "preprocess_cfg": PREPROCESS})
    )
    ids = {word: index for index, word in enumerate(WORDS)}
    fast = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    fast.normalizer = normalizers.Lowercase()
    fast.pre_tokenizer = pre_tokenizers.Whitespace()
    fast.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", ids["<s>"]), ("</s>", ids["</s>"])]
    )
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=fast,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        model_max_length=8,
    ).save_pretrained(out)
    return out


def load(folder: Path, **changes: Any) -> OpenClipEncoder:
    return OpenClipEncoder.load(EncoderConfig(model=f"local-dir:{folder}", **changes))


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.rand(7, 3, 24, 24, generator=torch.Generator().manual_seed(1))


def test_rows_are_open_clips_own_embeddings(folder: Path, pixels: torch.Tensor) -> None:
    encoder = load(folder)
    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    assert encoder.image_size == 24
    normal = preprocess.transforms[-1](pixels)
    with torch.no_grad():
        torch.testing.assert_close(
            encoder.encode_images(pixels), model.encode_image(normal, normalize=True)
        )
        tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(["a knife", "red dog"])
        torch.testing.assert_close(
            encoder.encode_texts(["a knife", "red dog"]), model.encode_text(tokens, normalize=True)
        )


def test_company_does_not_change_a_row(folder: Path, pixels: torch.Tensor) -> None:
    whole = load(folder).encode_images(pixels)
    chunked = load(folder, batch_size=2).encode_images(pixels)
    alone = torch.cat([load(folder).encode_images(row[None]) for row in pixels[:2]])
    torch.testing.assert_close(chunked, whole, atol=1e-6, rtol=0)
    torch.testing.assert_close(alone, whole[:2], atol=1e-6, rtol=0)


def test_the_device_decides_how_many_go_together_unless_configured(
    folder: Path, pixels: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (load(folder).batch_size, load(folder, batch_size=3).batch_size) == (64, 3)
    encoder = load(folder, batch_size=3)
    tower = encoder._model.encode_image
    lengths: list[int] = []

    def counted(chunk: torch.Tensor) -> torch.Tensor:
        lengths.append(len(chunk))
        return tower(chunk)  # type: ignore[no-any-return]

    monkeypatch.setattr(encoder._model, "encode_image", counted)
    encoder.encode_images(pixels)
    assert lengths == [3, 3, 1]


def test_templates_are_averaged(folder: Path) -> None:
    both = load(folder, templates=("{}", "a picture of a {}")).encode_texts(["knife"])[0]
    plain = load(folder)
    parts = plain.encode_texts(["knife", "a picture of a knife"])
    torch.testing.assert_close(both, torch.nn.functional.normalize(parts.mean(0), dim=0))


def test_unknown_words_are_named(folder: Path) -> None:
    with pytest.raises(ConfigError, match="'handgun'"):
        load(folder).encode_texts(["knife", "a red handgun"])


def test_long_texts_are_refused_not_cut(folder: Path) -> None:
    with pytest.raises(ConfigError, match="9 tokens"):
        load(folder).encode_texts(["a red dog a red dog dog"])


def test_template_without_a_place(folder: Path) -> None:
    with pytest.raises(ConfigError, match="template"):
        load(folder, templates=("a picture",))


def test_bfloat16_is_near(folder: Path, pixels: torch.Tensor) -> None:
    exact, rough = load(folder), load(folder, precision="bf16")
    images = (exact.encode_images(pixels) * rough.encode_images(pixels)).sum(-1)
    texts = (exact.encode_texts(["knife"]) * rough.encode_texts(["knife"])).sum(-1)
    assert images.min() > 0.99
    assert texts.min() > 0.99
    assert rough.encode_images(pixels).dtype == torch.float32
    # The weights themselves, not autocast: its speed is erratic on CPUs.
    assert {weight.dtype for weight in rough.visual.parameters()} == {torch.bfloat16}


def test_company_hardly_changes_a_row_in_bfloat16(folder: Path, pixels: torch.Tensor) -> None:
    rough = load(folder, precision="bf16")
    alone = torch.cat([rough.encode_images(row[None]) for row in pixels])
    torch.testing.assert_close(rough.encode_images(pixels), alone, atol=0.01, rtol=0)


def test_fingerprint_follows_whatever_changes_an_embedding(folder: Path, copy: Path) -> None:
    base = load(folder).fingerprint
    assert load(copy).fingerprint == base
    assert load(folder, batch_size=3).fingerprint == base
    assert load(folder, precision="bf16").fingerprint != base
    assert load(folder, templates=("a {}",)).fingerprint != base
    weights = load_file(copy / "open_clip_model.safetensors")
    weights["text_projection"][0, 0] += 1e-3
    save_file(weights, copy / "open_clip_model.safetensors")
    assert load(copy).fingerprint != base


def test_nan_weights_are_a_fault(copy: Path, pixels: torch.Tensor) -> None:
    weights = load_file(copy / "open_clip_model.safetensors")
    weights["visual.proj"][0, 0] = float("nan")
    save_file(weights, copy / "open_clip_model.safetensors")
    with pytest.raises(DetectionError, match="NaN"):
        load(copy).encode_images(pixels)


def test_wrong_shapes(folder: Path, pixels: torch.Tensor) -> None:
    encoder = load(folder)
    with pytest.raises(ValueError, match="shape"):
        encoder.encode_images(pixels[..., :20])
    with pytest.raises(ValueError, match="empty"):
        encoder.encode_texts([])


def test_threads_share_an_encoder(folder: Path, pixels: torch.Tensor) -> None:
    encoder = load(folder)
    expected = encoder.encode_images(pixels)
    with ThreadPoolExecutor(3) as pool:
        for rows in pool.map(lambda _: encoder.encode_images(pixels), range(6)):
            torch.testing.assert_close(rows, expected)


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="no model directory"):
        load(tmp_path / "none")


def test_missing_weights(copy: Path) -> None:
    (copy / "open_clip_model.safetensors").unlink()
    with pytest.raises(ModelLoadError, match="safetensors"):
        load(copy)


def test_pickles_are_refused_unopened(copy: Path) -> None:
    (copy / "open_clip_model.safetensors").rename(copy / "open_clip_pytorch_model.bin")
    with pytest.raises(ModelLoadError, match="can run code"):
        load(copy)


def test_damaged_weights(copy: Path) -> None:
    (copy / "open_clip_model.safetensors").write_bytes(b"\x10garbage")
    with pytest.raises(ModelLoadError, match="cannot be loaded"):
        load(copy)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\x10garbage", "not JSON"),
        ('{"model_cfg": {}}', r"model_cfg\.embed_dim"),
        (
            json.dumps({"model_cfg": MODEL, "preprocess_cfg": {"std": [0, 1, 1]}}),
            r"preprocess_cfg\.std",
        ),
        (json.dumps({"model_cfg": MODEL, "preprocess_cfg": {"mean": [float("nan")] * 3}}), "NaN"),
        (json.dumps({"model_cfg": {**MODEL, "embed_dim": 10**12}}), r"model_cfg\.embed_dim"),
        (json.dumps({"model_cfg": MODEL})[:-1] + ', "model_cfg": {}}', "appears twice"),
    ],
)
def test_a_damaged_config_names_the_field(copy: Path, text: str, message: str) -> None:
    (copy / "open_clip_config.json").write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load(copy)
    assert "open_clip_config.json" in str(caught.value)


@pytest.mark.parametrize("name", ["open_clip_model.safetensors", "tokenizer.json"])
def test_a_link_out_of_the_folder_is_refused(copy: Path, tmp_path: Path, name: str) -> None:
    (copy / name).rename(tmp_path / name)
    (copy / name).symlink_to(tmp_path / name)
    with pytest.raises(ModelLoadError, match="outside the model's folder"):
        load(copy)


@pytest.mark.parametrize(
    ("name", "text"),
    [("tokenizer.json", "{}"), ("tokenizer.json", "[" * 99_999), ("tokenizer_config.json", "[]")],
)
def test_a_damaged_tokenizer(copy: Path, name: str, text: str) -> None:
    (copy / name).write_text(text)
    with pytest.raises(ModelLoadError):
        load(copy)


@pytest.mark.parametrize("device", ["cuda:7", "meta:x", "meta", ""])
def test_a_device_that_is_not_there(copy: Path, device: str) -> None:
    with pytest.raises((ConfigError, ModelLoadError)):
        load(copy, device=device)


def test_incomplete_weights(copy: Path) -> None:
    weights = load_file(copy / "open_clip_model.safetensors")
    del weights["visual.proj"]
    save_file(weights, copy / "open_clip_model.safetensors")
    with pytest.raises(ModelLoadError, match=r"visual\.proj"):
        load(copy)


def test_a_name_needs_known_safe_weights() -> None:
    with pytest.raises(ModelLoadError, match="pretrained is missing"):
        OpenClipEncoder.load(EncoderConfig(model="ViT-B-32"))
    with pytest.raises(ModelLoadError, match="has no weights"):
        OpenClipEncoder.load(EncoderConfig(model="ViT-B-32", pretrained="nonsense"))
    with pytest.raises(ModelLoadError, match="not a safetensors"):
        OpenClipEncoder.load(EncoderConfig(model="ViT-B-32", pretrained="weights.bin"))
    with pytest.raises(ModelLoadError, match=r"there is no file w\.safetensors"):
        OpenClipEncoder.load(EncoderConfig(model="ViT-B-32", pretrained="w.safetensors"))


def test_unknown_device(folder: Path) -> None:
    with pytest.raises(ConfigError, match="not a device"):
        load(folder, device="toaster")


def test_remote_code_is_refused(copy: Path) -> None:
    file = copy / "open_clip_config.json"
    data = json.loads(file.read_text())
    data["model_cfg"]["text_cfg"]["tokenizer_kwargs"]["trust_remote_code"] = True
    file.write_text(json.dumps(data))
    with pytest.raises(ModelLoadError, match="remote code"):
        load(copy)


def test_a_tokenizers_own_code_is_neither_run_nor_offered(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = copy / "executed"
    (copy / "evil.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    file = copy / "tokenizer_config.json"
    own = {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}}
    file.write_text(json.dumps({**json.loads(file.read_text()), **own}))
    asked: list[object] = []
    monkeypatch.setattr("builtins.input", lambda *text: (asked.append(text), "y")[1])
    with suppress(ModelLoadError):
        load(copy)
    assert not asked
    assert not marker.exists()


def test_the_applications_logging_is_left_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """open_clip logs while it loads, by functions that configure the root logger."""
    root = logging.getLogger()
    own = logging.NullHandler()
    for handlers in ([], [own]):
        monkeypatch.setattr(root, "handlers", list(handlers))
        load(folder)
        assert root.handlers == handlers
