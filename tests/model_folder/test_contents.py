from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from guardalign_middleware.errors import ModelLoadError
from guardalign_middleware.model_folder import checked_files
from guardalign_middleware.model_folder.counts import too_many
from guardalign_middleware.model_folder.foreign_names import foreign_name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"x")
    (folder / "sub" / "vocab.txt").write_text("a")
    return folder


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    file = tmp_path / "outside" / "file.safetensors"
    file.write_bytes(b"y")
    return file


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in checked_files(folder)}


def test_files_of_the_folder_are_listed_and_hidden_ones_left_out(folder: Path) -> None:
    (folder / ".git").mkdir()
    (folder / ".git" / "link").symlink_to("/etc/passwd")
    (folder / "alias.json").symlink_to("config.json")
    (folder / "again").symlink_to(".")
    (folder / "dangling").symlink_to("nothing")
    assert names(folder) == {"config.json", "model.safetensors", "sub/vocab.txt", "alias.json"}


def test_a_link_to_the_folder_itself_is_no_link_out(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(folder)
    assert "config.json" in names(tmp_path / "alias")


@pytest.mark.parametrize(
    "name", ["model.safetensors", "tokenizer.json", "vocab.txt", "extra", "sub/vocab.json"]
)
@pytest.mark.parametrize("relative", [True, False])
def test_a_link_out_is_refused(folder: Path, outside: Path, name: str, relative: bool) -> None:
    link = folder / name
    link.unlink(missing_ok=True)
    link.symlink_to(os.path.relpath(outside, link.parent) if relative else outside)
    with pytest.raises(ModelLoadError, match="outside the model's folder"):
        checked_files(folder)


def test_a_folder_or_a_chain_that_leads_out_is_refused(folder: Path, outside: Path) -> None:
    (folder / "templates").symlink_to(outside.parent)
    with pytest.raises(ModelLoadError, match="outside"):
        checked_files(folder)
    (folder / "templates").unlink()
    (folder / "first").symlink_to("second")
    (folder / "second").symlink_to(outside)
    with pytest.raises(ModelLoadError, match="outside"):
        checked_files(folder)


def test_a_neighbour_whose_name_starts_alike_is_outside(folder: Path) -> None:
    other = folder.with_name("model-2")
    other.mkdir()
    (other / "x.json").write_text("{}")
    (folder / "x.json").symlink_to("../model-2/x.json")
    with pytest.raises(ModelLoadError, match="outside"):
        checked_files(folder)


def test_the_hubs_cache_links_into_its_own_blobs_only(tmp_path: Path) -> None:
    root = tmp_path / "models--owner--name"
    snapshot = root / "snapshots" / "abc"
    (root / "blobs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    (root / "blobs" / "1").write_text("{}")
    (snapshot / "config.json").symlink_to("../../blobs/1")
    assert names(snapshot) == {"config.json"}
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text("abc")
    (snapshot / "vocab.json").symlink_to("../../refs/main")
    with pytest.raises(ModelLoadError, match="outside"):
        checked_files(snapshot)


def test_a_pipe_is_refused_and_does_not_block(folder: Path) -> None:
    os.mkfifo(folder / "tokenizer.json")
    with pytest.raises(ModelLoadError, match="not a regular file"):
        checked_files(folder)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("config.json", "{", "not JSON"),
        ("config.json", "[]", "mapping"),
        ("config.json", '{"a":' * 90, "levels"),
        ("tokenizer_config.json", "[" * 200_000, "levels"),
        ("adapter_config.json", '{"r": 1, "r": 2}', "appears twice"),
        ("sub/tokenizer_config.json", '{"tokenizer_file": 1, "x": "hf-hub:a/b"}', "elsewhere"),
        ("generation_config.json", "\ud800", "UTF-8"),
    ],
)
def test_damaged_options_are_refused(folder: Path, name: str, text: str, message: str) -> None:
    (folder / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ModelLoadError, match=message) as caught:
        checked_files(folder)
    assert name.split("/")[-1] in str(caught.value)


def test_options_have_a_cap(folder: Path) -> None:
    with (folder / "processor_config.json").open("wb") as file:
        file.truncate((16 << 20) + 1)
    with pytest.raises(ModelLoadError, match="more than"):
        checked_files(folder)
    os.truncate(folder / "processor_config.json", 0)
    (folder / "processor_config.json").unlink()
    with (folder / "tokenizer.json").open("wb") as file:
        file.truncate((1 << 30) + 1)
    with pytest.raises(ModelLoadError, match="more than"):
        checked_files(folder)


@pytest.mark.parametrize(
    "options",
    [
        {"transformers_weights": "adapter_model.bin"},
        {"text_config": {"transformers_weights": "x.safetensors"}},
        {"audio_tokenizer": {"audio_tokenizer_name_or_path": "../outside"}},
        {"audio_tokenizer_name_or_path": "x", "audio_tokenizer_class": "DacModel"},
        {"attn_implementation": "owner/kernel"},
        {"_attn_implementation": {"text_config": "owner/kernel:name"}},
        {"vision_config": {"experts_implementation": "owner/kernel@main"}},
        {"vision_config": {"backbone": "owner/model", "use_pretrained_backbone": False}},
        {"use_pretrained_backbone": True},
        {"vision_config": {"architecture": "local-dir:/tmp/x"}},
        {"fast_tokenizer_files": ["tokenizer.json", "../tokenizer.4.0.json"]},
        {"configuration_files": ["/etc/config.4.0.json"]},
        {"model": "hf-hub:owner/name"},
        {"list": [[{"deep": "file:///etc/passwd"}]]},
        {"vocab_file": "../outside/file.safetensors"},
        {"nested": {"emoji_path": "{outside}"}},
    ],
)
def test_options_that_name_something_elsewhere(
    folder: Path, outside: Path, options: dict[str, Any]
) -> None:
    text = json.dumps(options).replace("{outside}", str(outside))
    assert foreign_name(json.loads(text), folder) is not None
    (folder / "tokenizer_config.json").write_text(text)
    with pytest.raises(ModelLoadError, match="tokenizer_config.json is refused"):
        checked_files(folder)


@pytest.mark.parametrize(
    "options",
    [
        {"text_config": {"num_hidden_layers": 10**9}},
        {"vision_config": {"depths": [2, 2, 10**12, 2]}},
        {"num_experts": 1e300},
        {"num_attention_heads": -(10**9)},
    ],
)
def test_options_that_ask_for_more_than_any_model_has(
    folder: Path, options: dict[str, Any]
) -> None:
    (folder / "config.json").write_text(json.dumps(options))
    with pytest.raises(ModelLoadError, match="at most 10,000"):
        checked_files(folder)


@pytest.mark.parametrize(
    "options",
    [
        {"num_hidden_layers": 32, "layers": ["a", 3], "num_heads": None, "max_length": 10**30},
        {"transformers_weights": None, "use_pretrained_backbone": False, "audio_tokenizer": {}},
        {"attn_implementation": "flash_attention_2", "_attn_implementation_autoset": True},
        {
            "_name_or_path": "/home/author/model",
            "name_or_path": "../x",
            "base_model_name_or_path": "/",
        },
        {"special_tokens_map_file": "/etc/passwd", "tokenizer_file": "/etc/passwd"},
        {"vocab_file": "/home/author/of/this/vocab.json", "vocab_path": "vocab.txt"},
        {"auto_map": {"AutoConfig": "owner/name--module.Class"}, "backbone": "resnet50"},
        {"fast_tokenizer_files": ["tokenizer.json", "tokenizer.4.0.json"]},
        {"chat_template": "{{ 'file:' }} hf-hub:", "architectures": ["a/b"]},
        {"rope_scaling": {"type": None, "factor": 1e30}, "backbone": 3, "vocab_file": "../sub"},
    ],
)
def test_ordinary_options_pass(folder: Path, options: dict[str, Any]) -> None:
    assert foreign_name(options, folder) is None
    assert too_many(options) is None
