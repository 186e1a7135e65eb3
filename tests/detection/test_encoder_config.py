from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from guardalign_middleware.detection.encoder_config import CONFIG, read_encoder_config
from guardalign_middleware.strict import Malformed

MINI = Path(str(files("guardalign_middleware") / "mini" / "clip" / CONFIG))
OWN = sorted(Path(str(files("open_clip") / "model_configs")).glob("*.json"))


def fields() -> dict[str, Any]:
    value: dict[str, Any] = json.loads(MINI.read_text())
    return value


def changed(path: str, value: Any) -> bytes:
    record = fields()
    *parents, name = path.split(".")
    place = record
    for parent in parents:
        place = place.setdefault(parent, {})
    place[name] = value
    return json.dumps(record).encode()


def test_the_miniature_is_read() -> None:
    assert read_encoder_config(MINI.read_bytes(), folder=True) == fields()["model_cfg"]


@pytest.mark.parametrize("file", OWN, ids=lambda file: file.stem)
def test_every_architecture_of_open_clip_passes(file: Path) -> None:
    """A repository of the hub holds such a description."""
    model = json.loads(file.read_text())
    data = json.dumps({"model_cfg": model, "preprocess_cfg": {"mean": [0, 0, 0], "std": [1, 1, 1]}})
    assert read_encoder_config(data.encode(), folder=False) == model


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("model_cfg", []),
        ("model_cfg.embed_dim", 0),
        ("model_cfg.embed_dim", -8),
        ("model_cfg.embed_dim", 10**12),
        ("model_cfg.embed_dim", "128"),
        ("model_cfg.embed_dim", True),
        ("model_cfg.vision_cfg", None),
        ("model_cfg.vision_cfg.layers", 10**9),
        ("model_cfg.vision_cfg.layers", [3, 4, 10**9, 3]),
        ("model_cfg.vision_cfg.image_size", 10**6),
        ("model_cfg.vision_cfg.image_size", -1),
        ("model_cfg.vision_cfg.patch_size", 0),
        ("model_cfg.vision_cfg.mlp_ratio", -3.0),
        ("model_cfg.vision_cfg.timm_model_name", "hf-hub:owner/name"),
        ("model_cfg.vision_cfg.timm_model_name", "local-dir:/tmp"),
        ("model_cfg.vision_cfg.timm_model_name", "../x"),
        ("model_cfg.text_cfg", "x"),
        ("model_cfg.text_cfg.context_length", 10**9),
        ("model_cfg.text_cfg.vocab_size", 10**12),
        ("model_cfg.text_cfg.heads", 0),
        ("model_cfg.text_cfg.hf_model_name", "roberta-base"),
        ("model_cfg.text_cfg.hf_model_name", "../outside"),
        ("model_cfg.text_cfg.tokenizer_kwargs", {"tokenizer_file": "../outside/tokenizer.json"}),
        ("model_cfg.text_cfg.tokenizer_kwargs", {"bpe_path": "/etc/passwd"}),
        ("model_cfg.text_cfg.tokenizer_kwargs", {"subfolder": "../x"}),
        ("model_cfg.text_cfg.tokenizer_kwargs", {"clean": ["x"]}),
        ("preprocess_cfg.std", [0.2, 0.0, 0.2]),
        ("preprocess_cfg.std", [0.2, -0.2, 0.2]),
        ("preprocess_cfg.std", [0.2, 0.2]),
        ("preprocess_cfg.mean", [1e30, 0, 0]),
        ("preprocess_cfg.mean", 0.5),
        ("preprocess_cfg.size", 10**9),
        ("preprocess_cfg.size", [1, 2, 3]),
    ],
)
def test_a_wrong_field_is_named(path: str, value: Any) -> None:
    with pytest.raises(Malformed) as caught:
        read_encoder_config(changed(path, value), folder=True)
    assert path in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "not JSON"),
        (b"[]", "the file"),
        (b"{}", "model_cfg"),
        (MINI.read_bytes().replace(b"0.25", b"NaN", 1), "NaN"),
        (MINI.read_bytes().replace(b"{", b'{"model_cfg": {}, ', 1), "appears twice"),
        (b"[" * 90_000, "levels"),
        (b"\xff", "UTF-8"),
    ],
)
def test_a_damaged_file(text: bytes, message: str) -> None:
    with pytest.raises(Malformed, match=message):
        read_encoder_config(text, folder=True)


@pytest.mark.parametrize("field", ["hf_model_name", "hf_tokenizer_name"])
@pytest.mark.parametrize("name", ["..", "../x", "/tmp", "./x", "a/b/c", "~", "file:x"])
def test_a_repository_names_no_folder_of_this_computer(field: str, name: str) -> None:
    data = changed(f"model_cfg.text_cfg.{field}", name)
    with pytest.raises(Malformed, match=field):
        read_encoder_config(data, folder=False)


def test_a_folder_that_is_there_is_no_name_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "owner" / "name").mkdir(parents=True)
    data = changed("model_cfg.text_cfg.hf_tokenizer_name", "owner/name")
    read_encoder_config(data, folder=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Malformed, match="hf_tokenizer_name"):
        read_encoder_config(data, folder=False)
