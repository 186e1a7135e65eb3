"""Models come from the hub, by every kind of name that a preset may use, and only once."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import huggingface_hub
import open_clip
import pytest
import torch

from guardalign_middleware.config import EncoderConfig, RunnerConfig
from guardalign_middleware.detection.encoder import OpenClipEncoder
from guardalign_middleware.detection.encoder_source import open_encoder
from guardalign_middleware.errors import ConfigError, HubError, ModelLoadError
from guardalign_middleware.generation.engine.loading import load_model, load_processor
from tests.hub.double import HOSTS, Hub, Repository
from tests.hub.repositories import (
    CLIP,
    FARE,
    LLAVA,
    NARROW,
    SIGLIP,
    SIGLIP_NAME,
    WORDS,
    publish_siglip,
)

pytestmark = pytest.mark.allow_hosts([*HOSTS])
BY_NAME: dict[str, Any] = {"model": "ViT-B-32-quickgelu", "pretrained": "openai"}
BY_TAG: dict[str, Any] = {"model": SIGLIP_NAME, "pretrained": "webli"}
WEIGHTS = "open_clip_model.safetensors"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load(**fields: Any) -> OpenClipEncoder:
    return OpenClipEncoder.load(EncoderConfig.model_validate({"device": "cpu", **fields}))


class TestEncoders:
    def test_by_open_clips_name_and_by_the_place_on_the_hub(self, hub: Hub) -> None:
        named, placed = load(**BY_NAME), load(model=f"hf-hub:{FARE}")
        # The same weights and settings; the model's own folder is another way to name them.
        local = load(model=f"local-dir:{hub.repositories[CLIP].folder}")
        assert named.fingerprint == placed.fingerprint == local.fingerprint
        pixels = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(named.encode_images(pixels), local.encode_images(pixels))
        torch.testing.assert_close(
            named.encode_texts(["a knife"]), placed.encode_texts(["a knife"])
        )
        assert not [one for one in hub.requests if one.endswith((".bin", "/config.json"))]

    def test_a_pinned_encoder_asks_the_hub_once_only(self, hub: Hub) -> None:
        pin = hub.repositories[CLIP].commit
        digest = sha256(hub.repositories[CLIP].folder / WEIGHTS)
        load(**BY_NAME, revision=pin, sha256={WEIGHTS: digest})
        hub.requests.clear()
        load(**BY_NAME, revision=pin, sha256={WEIGHTS: digest})
        load(**BY_NAME, revision=pin, sha256=digest, local_files_only=True)
        assert not hub.requests

    def test_the_pinned_revision_is_the_one_that_loads(self, hub: Hub) -> None:
        with pytest.raises(HubError) as caught:
            load(**BY_NAME, revision="f" * 40)
        assert caught.value.reason == "no_revision"

    @pytest.mark.parametrize("name", [WEIGHTS, "open_clip_config.json"])
    def test_any_file_can_be_pinned(self, hub: Hub, name: str) -> None:
        folder = hub.repositories[FARE].folder
        pins = {one: sha256(folder / one) for one in (WEIGHTS, "open_clip_config.json")}
        load(model=f"hf-hub:{FARE}", sha256=pins)
        with pytest.raises(ModelLoadError, match=f"{name} has a different SHA-256"):
            load(model=f"hf-hub:{FARE}", sha256={**pins, name: "0" * 64})

    def test_pickles_alone_are_never_fetched(self, hub: Hub, tmp_path: Path) -> None:
        (tmp_path / "pickled").mkdir()
        for name in ("open_clip_pytorch_model.bin", "open_clip_config.json"):
            (tmp_path / "pickled" / name).write_bytes(
                (hub.repositories[FARE].folder / name).read_bytes()
            )
        hub.repositories[FARE] = Repository(tmp_path / "pickled")
        with pytest.raises(ModelLoadError, match="has no open_clip_model.safetensors"):
            load(model=f"hf-hub:{FARE}")
        assert not [one for one in hub.requests if one.endswith(".bin")]

    def test_a_tokenizer_beside_the_weights_comes_along(
        self, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        publish_siglip(hub, tmp_path, monkeypatch, tokenizer=SIGLIP)
        pin = hub.repositories[SIGLIP].commit
        config = EncoderConfig(**BY_TAG, revision=pin, device="cpu")
        source = open_encoder(config)
        assert source.tokenizer == source.weights.parent
        encoder = OpenClipEncoder.load(config)
        assert encoder.encode_texts(["a dog"]).shape == (1, 16)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        hub.requests.clear()
        assert OpenClipEncoder.load(config).fingerprint == encoder.fingerprint
        assert not hub.requests
        with pytest.raises(ConfigError, match=r"encoder\.tokenizer"):
            load(**BY_TAG, revision=pin, tokenizer={"revision": pin})

    def test_a_tokenizer_of_another_repository_has_pins_of_its_own(
        self, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        publish_siglip(hub, tmp_path, monkeypatch, tokenizer=WORDS)
        words = hub.repositories[WORDS]
        pins = {path.name: sha256(path) for path in words.folder.iterdir()}
        pinned = {
            **BY_TAG,
            "revision": hub.repositories[SIGLIP].commit,
            "tokenizer": {"revision": words.commit, "sha256": pins},
        }
        load(**pinned)
        hub.requests.clear()
        load(**pinned)
        assert not hub.requests
        wrong = {"revision": words.commit, "sha256": {**pins, "tokenizer.json": "0" * 64}}
        with pytest.raises(ModelLoadError, match=r"tokenizer\.json has a different SHA-256"):
            load(**{**pinned, "tokenizer": wrong})
        with pytest.raises(HubError) as caught:
            load(**{**pinned, "tokenizer": {"revision": "f" * 40}})
        assert caught.value.reason == "no_revision"

    def test_no_file_in_a_sub_folder_satisfies_a_tokenizer_s_pin(
        self, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        publish_siglip(hub, tmp_path, monkeypatch, tokenizer=WORDS)
        folder = hub.repositories[WORDS].folder
        (folder / "z").mkdir()
        (folder / "spiece.model").write_bytes(b"what is read")
        (folder / "z" / "spiece.model").write_bytes(b"what was pinned")
        hub.repositories[WORDS] = words = Repository(folder, "apache-2.0")
        own = {path.name: sha256(path) for path in folder.iterdir() if path.is_file()}
        pins = {**own, "spiece.model": sha256(folder / "z" / "spiece.model")}
        pinned = {"revision": words.commit, "sha256": pins}
        with pytest.raises(ModelLoadError, match=r"spiece\.model has a different SHA-256"):
            load(**BY_TAG, tokenizer=pinned)
        load(**BY_TAG, tokenizer={**pinned, "sha256": own})

    def test_weights_for_another_activation_are_refused(
        self, hub: Hub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plain = {**NARROW, "quick_gelu": False}
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "ViT-B-32", plain)
        with pytest.raises(ModelLoadError, match="QuickGELU mismatch"):
            load(model="ViT-B-32", pretrained="openai")
        assert not [one for one in hub.requests if WEIGHTS in one]


def runner(**fields: Any) -> RunnerConfig:
    return RunnerConfig.model_validate({"model": LLAVA, "device": "cpu", **fields})


class TestRunners:
    def test_a_model_in_several_files_loads_and_names_its_commit(self, hub: Hub) -> None:
        loaded = load_model(runner())
        assert loaded.provenance is not None
        assert loaded.provenance.revision == hub.repositories[LLAVA].commit
        assert len(loaded.provenance.weights) > 1
        assert not [one for one in hub.requests if one.endswith(".bin")]

    def test_every_file_can_be_pinned(self, hub: Hub) -> None:
        folder = hub.repositories[LLAVA].folder
        pins: Mapping[str, str] = {
            path.name: sha256(path)
            for path in folder.iterdir()
            if path.suffix in {".safetensors", ".json"}
        }
        pinned = runner(revision=hub.repositories[LLAVA].commit, sha256=pins)
        load_model(pinned)
        hub.requests.clear()
        load_model(pinned)
        assert not hub.requests
        for name in ("config.json", "tokenizer.json"):
            with pytest.raises(ModelLoadError, match=f"{name} has a different SHA-256"):
                load_model(runner(sha256={**pins, name: "0" * 64}))

    def test_the_processor_alone_needs_no_weights(self, hub: Hub) -> None:
        load_processor(runner())
        assert not [one for one in hub.requests if one.endswith(".safetensors")]

    def test_a_gated_model_says_where_to_accept_its_terms(self, hub: Hub) -> None:
        hub.repositories[LLAVA] = dataclasses.replace(hub.repositories[LLAVA], gated=True)
        with pytest.raises(HubError, match=f"{hub.endpoint}/{LLAVA}"):
            load_model(runner())

    def test_an_index_that_leads_elsewhere_is_refused_before_weights_are_fetched(
        self, hub: Hub, tmp_path: Path
    ) -> None:
        (tmp_path / "evil").mkdir()
        for path in hub.repositories[LLAVA].folder.iterdir():
            (tmp_path / "evil" / path.name).symlink_to(path)
        index = tmp_path / "evil" / "model.safetensors.index.json"
        value = json.loads(index.read_text())
        value["weight_map"] = dict.fromkeys(value["weight_map"], "pytorch_model.bin")
        index.unlink()
        index.write_text(json.dumps(value))
        hub.repositories[LLAVA] = Repository(tmp_path / "evil")
        with pytest.raises(ModelLoadError, match="not a safetensors file"):
            load_model(runner())
        assert not [one for one in hub.requests if one.endswith(".safetensors")]
