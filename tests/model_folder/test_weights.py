from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from guardalign_middleware.errors import ModelLoadError
from guardalign_middleware.model_folder import INDEX, all_weights, loaded_weights, weights


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes(b"x")


def put_index(folder: Path, *names: str) -> None:
    weight_map = {f"tensor {number}": name for number, name in enumerate(names)}
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def loaded(folder: Path) -> list[str]:
    return [path.name for path in loaded_weights(folder)]


def test_what_transformers_opens_is_listed_and_nothing_else(folder: Path) -> None:
    put(folder, "a.safetensors", "b.safetensors", "decoy.safetensors", "pytorch_model.bin")
    put_index(folder, "b.safetensors", "a.safetensors", "a.safetensors")
    assert loaded(folder) == ["a.safetensors", "b.safetensors"]
    assert [path.name for path in all_weights(folder)] == [
        "a.safetensors",
        "b.safetensors",
        "decoy.safetensors",
    ]
    # transformers prefers a whole file to an index.
    put(folder, "model.safetensors")
    assert loaded(folder) == ["model.safetensors"]


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "../outside/a.safetensors", "sub/a.safetensors", "/a.safetensors"]
)
def test_an_index_that_names_anything_else_is_refused(folder: Path, name: str) -> None:
    put(folder, "decoy.safetensors", "pytorch_model.bin")
    put_index(folder, "decoy.safetensors", name)
    for _ in range(2):
        with pytest.raises(
            ModelLoadError, match="The index .* is refused: weight_map names"
        ) as caught:
            loaded_weights(folder)
        assert caught.value.remedy
        put(folder, "model.safetensors")  # which transformers prefers


def test_a_file_that_the_index_names_is_missing(folder: Path) -> None:
    put(folder, "a.safetensors")
    put_index(folder, "a.safetensors", "b.safetensors")
    with pytest.raises(ModelLoadError, match=r"has no b\.safetensors, which its index names"):
        loaded_weights(folder)


def test_a_folder_under_the_name_of_a_file_is_not_that_file(folder: Path) -> None:
    (folder / "model.safetensors").mkdir()
    with pytest.raises(ModelLoadError, match="holds no weights"):
        loaded_weights(folder)


def test_weights_under_another_name_are_not_opened(folder: Path) -> None:
    put(folder, "consolidated.safetensors")
    with pytest.raises(ModelLoadError, match=r"does not open consolidated\.safetensors"):
        loaded_weights(folder)


def test_pickles_only(folder: Path) -> None:
    put(folder, "pytorch_model.bin")
    with pytest.raises(ModelLoadError, match="pickled weights only"):
        loaded_weights(folder)


def test_the_shards_of_a_distributed_run_are_refused(folder: Path) -> None:
    put(folder, "model.safetensors", "shard-00001-model-00001-of-00002.safetensors")
    with pytest.raises(ModelLoadError, match="distributed"):
        loaded_weights(folder)


class TestAdapter:
    @pytest.mark.skipif(find_spec("peft") is not None, reason="peft is installed")
    def test_an_adapter_is_never_left_out_in_silence(self, folder: Path) -> None:
        put(folder, "model.safetensors", "adapter_model.safetensors")
        (folder / "adapter_config.json").write_text("{}")
        with pytest.raises(ModelLoadError, match="peft") as caught:
            loaded_weights(folder)
        assert "merge" in caught.value.remedy

    @pytest.fixture
    def _peft(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(weights, "find_spec", lambda name: object())

    @pytest.mark.usefixtures("_peft")
    def test_its_weights_are_listed(self, folder: Path) -> None:
        put(folder, "model.safetensors", "adapter_model.safetensors")
        (folder / "adapter_config.json").write_text("{}")
        assert loaded(folder) == ["model.safetensors", "adapter_model.safetensors"]

    @pytest.mark.usefixtures("_peft")
    def test_a_pickled_one_is_refused(self, folder: Path) -> None:
        put(folder, "model.safetensors", "adapter_model.bin")
        (folder / "adapter_config.json").write_text("{}")
        with pytest.raises(ModelLoadError, match=r"no adapter_model\.safetensors.*pickled"):
            loaded_weights(folder)
