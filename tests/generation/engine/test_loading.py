"""An unsafe or incomplete model does not load, and the error says why."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torchao.quantization import Int8WeightOnlyConfig
from transformers import TorchAoConfig

from guardalign_middleware.config import RunnerConfig
from guardalign_middleware.errors import ModelLoadError
from guardalign_middleware.generation import CalibratedRunner
from guardalign_middleware.generation.engine import loading
from guardalign_middleware.generation.engine.loading import (
    load_model,
    load_processor,
    pick_device,
)
from guardalign_middleware.provenance import digest_files
from tests.support.messages import conversations
from tests.support.tiny.decoders import paligemma2
from tests.support.tiny.models import save_built


@pytest.fixture
def copy_of_model(model_directory: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_directory("llava"), tmp_path / "model"))


def load(path: Path | str) -> None:
    load_model(RunnerConfig(model=str(path), device="cpu", local_files_only=True))


def change_weights(path: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    weights = load_file(path / "model.safetensors")
    change(weights)
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})


class Payload:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.marker,))


def test_a_complete_directory_loads(copy_of_model: Path) -> None:
    loaded = load_model(RunnerConfig(model=str(copy_of_model), device="cpu", dtype="bfloat16"))
    assert loaded.name == "model"
    assert loaded.model.dtype == torch.bfloat16
    assert not loaded.model.training
    assert type(loaded.model).__name__ == "LlavaForConditionalGeneration"


def test_a_missing_path(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="There is no model directory"):
        load(tmp_path / "nowhere")


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"")
    with pytest.raises(ModelLoadError, match="is a file"):
        load(tmp_path / "x.safetensors")


def test_a_directory_without_config(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"no config\.json"):
        load(tmp_path)


def test_a_directory_without_weights(copy_of_model: Path) -> None:
    (copy_of_model / "model.safetensors").unlink()
    with pytest.raises(ModelLoadError, match="holds no weights"):
        load(copy_of_model)


def test_pickled_weights_are_never_opened(copy_of_model: Path) -> None:
    marker = copy_of_model / "executed"
    torch.save({"x": Payload(marker)}, copy_of_model / "pytorch_model.bin")
    (copy_of_model / "model.safetensors").unlink()
    with pytest.raises(ModelLoadError, match="pickled weights only"):
        load(copy_of_model)
    assert not marker.exists()


def shard(path: Path) -> dict[str, str]:
    """Cut the weights of a model into two files with an index; returns tensor → file."""
    weights = load_file(path / "model.safetensors")
    names = sorted(weights)
    parts = {
        "model-00001-of-00002.safetensors": names[::2],
        "model-00002-of-00002.safetensors": names[1::2],
    }
    for file, own in parts.items():
        save_file({name: weights[name] for name in own}, path / file, metadata={"format": "pt"})
    (path / "model.safetensors").unlink()
    tensors = {name: file for file, own in parts.items() for name in own}
    write_index(path, tensors)
    return tensors


def write_index(path: Path, tensors: dict[str, str]) -> None:
    index = {"metadata": {"total_size": 1}, "weight_map": tensors}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))


class TestShards:
    def test_they_load_and_each_is_in_the_provenance(self, copy_of_model: Path) -> None:
        whole = load_file(copy_of_model / "model.safetensors")
        tensors = shard(copy_of_model)
        # A file beside them is not opened, so it is not listed.
        save_file({"x": torch.zeros(1)}, copy_of_model / "decoy.safetensors")
        loaded = load_model(RunnerConfig(model=str(copy_of_model), device="cpu", dtype="float32"))
        assert loaded.provenance is not None
        assert loaded.provenance.files == digest_files(
            {copy_of_model / file for file in tensors.values()}
        )
        first = min(whole)
        found = dict(loaded.model.state_dict())
        assert any(
            value.shape == whole[first].shape and torch.equal(value, whole[first])
            for value in found.values()
        )

    def test_pins_cover_every_file(self, copy_of_model: Path) -> None:
        tensors = shard(copy_of_model)
        pins = digest_files({copy_of_model / file for file in tensors.values()})
        load_model(RunnerConfig(model=str(copy_of_model), device="cpu", sha256=pins))
        first = min(pins)
        for changed, message in (
            ({**pins, first: "0" * 64}, "a different SHA-256"),
            ({first: pins[first]}, "is not pinned"),
        ):
            with pytest.raises(ModelLoadError, match=message):
                load_model(RunnerConfig(model=str(copy_of_model), device="cpu", sha256=changed))

    def test_a_pickled_shard_is_never_opened(self, copy_of_model: Path, tmp_path: Path) -> None:
        marker = tmp_path / "executed"
        tensors = shard(copy_of_model)
        pins = digest_files({copy_of_model / file for file in tensors.values()})
        torch.save({"x": Payload(marker)}, copy_of_model / "pytorch_model.bin")
        write_index(copy_of_model, {**tensors, min(tensors): "pytorch_model.bin"})
        with pytest.raises(ModelLoadError, match="weight_map names 'pytorch_model.bin'"):
            load_model(RunnerConfig(model=str(copy_of_model), device="cpu", sha256=pins))
        assert not marker.exists()

    @pytest.mark.parametrize("place", ["sub/{}", "../outside/{}", "{folder}/{}", "./{}"])
    @pytest.mark.usefixtures("unopened")
    def test_weights_elsewhere_are_never_opened(self, copy_of_model: Path, place: str) -> None:
        tensors = shard(copy_of_model)
        name = place.replace("{folder}", str(copy_of_model)).replace("{}", "w.safetensors")
        target = copy_of_model / name
        target.parent.mkdir(exist_ok=True)
        shutil.copy(copy_of_model / tensors[min(tensors)], target)
        write_index(copy_of_model, {**tensors, min(tensors): name})
        with pytest.raises(ModelLoadError, match="weight_map names"):
            load(copy_of_model)

    @pytest.mark.parametrize("linked", ["model-00001-of-00002.safetensors", "config.json"])
    @pytest.mark.usefixtures("unopened")
    def test_a_link_out_is_refused(self, copy_of_model: Path, tmp_path: Path, linked: str) -> None:
        shard(copy_of_model)
        (copy_of_model / linked).rename(tmp_path / linked)
        (copy_of_model / linked).symlink_to(tmp_path / linked)
        with pytest.raises(ModelLoadError, match="outside the model's folder"):
            load(copy_of_model)

    @pytest.mark.usefixtures("unopened")
    def test_a_doubled_tensor_is_refused(self, copy_of_model: Path) -> None:
        file = shard(copy_of_model)
        name = min(file)
        text = (copy_of_model / "model.safetensors.index.json").read_text()
        text = text.replace('"weight_map": {', f'"weight_map": {{"{name}": "x.safetensors", ', 1)
        (copy_of_model / "model.safetensors.index.json").write_text(text)
        with pytest.raises(ModelLoadError, match="appears twice"):
            load(copy_of_model)


@pytest.fixture
def unopened(monkeypatch: pytest.MonkeyPatch) -> None:
    """No library may open the model's files."""

    def opened(*args: object, **options: object) -> None:
        raise AssertionError("a file was opened")

    for name in ("_load_weights", "_load_processor"):
        monkeypatch.setattr(loading, name, opened)


def change_json(file: Path, **fields: object) -> None:
    read = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**read, **fields}))


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("config.json", {"transformers_weights": "adapter_model.bin"}),
        ("config.json", {"attn_implementation": "owner/kernel"}),
        ("processor_config.json", {"audio_tokenizer": {"audio_tokenizer_name_or_path": "../x"}}),
        ("audio_tokenizer_config.json", {"audio_tokenizer_name_or_path": "../x"}),
        ("tokenizer_config.json", {"fast_tokenizer_files": ["../outside/tokenizer.4.0.json"]}),
        ("adapter_config.json", {"peft_type": "LORA"}),
    ],
)
@pytest.mark.usefixtures("unopened")
def test_options_that_load_something_else_are_refused_unopened(
    copy_of_model: Path, name: str, fields: dict[str, object]
) -> None:
    change_json(copy_of_model / name, **fields)
    with pytest.raises(ModelLoadError) as caught:
        load(copy_of_model)
    assert caught.value.remedy


@pytest.mark.parametrize("processor_only", [True, False])
def test_a_tokenizer_that_is_a_pipe_does_not_block(
    copy_of_model: Path, processor_only: bool
) -> None:
    (copy_of_model / "tokenizer.json").unlink()
    os.mkfifo(copy_of_model / "tokenizer.json")
    read = load_processor if processor_only else load_model
    with pytest.raises(ModelLoadError, match="not a regular file"):
        read(RunnerConfig(model=str(copy_of_model), device="cpu"))


@pytest.mark.parametrize("model", ["a\0b", "~nobody-of-that-name/x", "x" * 5000, "/" + "x/" * 3000])
def test_a_name_that_no_file_system_takes(model: str) -> None:
    with pytest.raises(ModelLoadError):
        load(model)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config.json", "[]"),
        ("config.json", '{"model_type": ["llava"]}'),
        ("config.json", '{"model_type": "llava", "text_config": 3}'),
        ("config.json", '{"model_type": "llava", "text_config": {"model_type": "no such"}}'),
        ("generation_config.json", "{"),
        ("processor_config.json", '{"processor_class": 3}'),
        ("processor_config.json", '{"image_processor": []}'),
        ("tokenizer.json", "{}"),
        ("tokenizer.json", "[" * 100_000),
        (
            "tokenizer.json",
            '{"version": "1.0", "model": {"type": "BPE", "vocab": {}, "merges": 1}}',
        ),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"x": {"content": 3}}}'),
        ("chat_template.jinja", "{% for"),
        ("chat_template.jinja", "{{ 1 // 0 }}"),
        ("chat_template.json", '{"chat_template": 3}'),
    ],
)
def test_damaged_files_are_one_error(copy_of_model: Path, name: str, text: str) -> None:
    (copy_of_model / name).write_text(text)
    with pytest.raises(ModelLoadError) as caught:
        load(copy_of_model)
    assert caught.value.remedy


def test_a_template_of_the_tokenizer_alone_is_used(copy_of_model: Path) -> None:
    template = (copy_of_model / "chat_template.jinja").read_text()
    (copy_of_model / "chat_template.jinja").unlink()
    change_json(copy_of_model / "tokenizer_config.json", chat_template=template)
    processor = load_processor(RunnerConfig(model=str(copy_of_model)))
    assert processor.chat_template == template


def test_remote_code_is_never_run(copy_of_model: Path) -> None:
    marker = copy_of_model / "executed"
    (copy_of_model / "evil.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    config = json.loads((copy_of_model / "config.json").read_text())
    config["model_type"] = "evil"
    config["auto_map"] = {"AutoConfig": "evil.Config", "AutoModelForImageTextToText": "evil.Model"}
    (copy_of_model / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelLoadError):
        load(copy_of_model)
    assert not marker.exists()


def test_missing_weights(copy_of_model: Path) -> None:
    def shrink(weights: dict[str, torch.Tensor]) -> None:
        del weights[min(weights)]

    change_weights(copy_of_model, shrink)
    with pytest.raises(ModelLoadError, match="missing keys"):
        load(copy_of_model)


def test_weights_that_do_not_belong(copy_of_model: Path) -> None:
    change_weights(copy_of_model, lambda weights: weights.update(stranger=torch.zeros(2)))
    with pytest.raises(ModelLoadError, match="unexpected keys: stranger"):
        load(copy_of_model)


def test_weights_of_another_size(copy_of_model: Path) -> None:
    def grow(weights: dict[str, torch.Tensor]) -> None:
        name = min(weights)
        weights[name] = torch.zeros(3, 3, 3)

    change_weights(copy_of_model, grow)
    with pytest.raises(ModelLoadError):
        load(copy_of_model)


def test_half_a_file(copy_of_model: Path) -> None:
    path = copy_of_model / "model.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ModelLoadError, match="cannot be loaded"):
        load(copy_of_model)


def test_broken_json(copy_of_model: Path) -> None:
    (copy_of_model / "config.json").write_text("{")
    with pytest.raises(ModelLoadError):
        load(copy_of_model)


def test_without_a_processor(copy_of_model: Path) -> None:
    for name in ("processor_config.json", "preprocessor_config.json"):
        (copy_of_model / name).unlink(missing_ok=True)
    with pytest.raises(ModelLoadError, match="processor"):
        load(copy_of_model)


def test_without_a_chat_template(copy_of_model: Path) -> None:
    (copy_of_model / "chat_template.jinja").unlink()
    with pytest.raises(ModelLoadError, match="no chat template"):
        load(copy_of_model)


@pytest.mark.parametrize("name", ["owner/not-here", "not-here"])
def test_an_unknown_hub_id_offline(name: str) -> None:
    with pytest.raises(ModelLoadError):
        load(name)


def test_every_refusal_names_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError) as caught:
        load(tmp_path)
    assert caught.value.remedy


def test_unknown_device() -> None:
    for name, message in (("abacus", "not a device"), ("meta", "computes nothing")):
        with pytest.raises(ModelLoadError, match=message):
            pick_device(name)


def test_a_device_map_places_the_model_and_changes_no_answer(copy_of_model: Path) -> None:
    plain = CalibratedRunner.from_pretrained(str(copy_of_model), device="cpu", max_new_tokens=4)
    mapped = CalibratedRunner.from_pretrained(
        str(copy_of_model), device_map={"": "cpu"}, max_new_tokens=4
    )
    rows = conversations()
    assert mapped.generate_batch(rows) == plain.generate_batch(rows)


def test_quantized_weights_are_calibrated_as_well(copy_of_model: Path) -> None:
    runner = CalibratedRunner.from_pretrained(
        str(copy_of_model),
        device="cpu",
        dtype="bfloat16",
        max_new_tokens=4,
        quantization=TorchAoConfig(Int8WeightOnlyConfig()).to_dict(),
    )
    kinds = {type(parameter.data).__name__ for parameter in runner._model.parameters()}
    assert any("Int8" in kind or "Quantized" in kind for kind in kinds), kinds
    reply = runner.generate(conversations()[0])
    assert (reply.calibration.state, reply.calibration.layers) == ("on", (1, 2))


@pytest.mark.parametrize(
    "options", [{"quant_method": "nothing"}, {}, {"load_in_4bit": True, "sparkle": True}]
)
def test_an_unknown_quantization(copy_of_model: Path, options: dict[str, object]) -> None:
    with pytest.raises(ModelLoadError, match="quantization|cannot be loaded") as caught:
        load_model(RunnerConfig(model=str(copy_of_model), device="cpu", quantization=options))
    assert "quant_method" in caught.value.remedy or "quantization" in caught.value.remedy


def test_a_soft_cap_is_kept(tmp_path: Path) -> None:
    model = save_built(tmp_path / "model", paligemma2)
    loaded = load_model(RunnerConfig(model=str(model), device="cpu"))
    decoder = loaded.model.get_decoder()  # type: ignore[no-untyped-call]
    assert decoder.config._attn_implementation == "eager"
