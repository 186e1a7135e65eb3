"""An unsafe or incomplete model does not load, and the error says why."""

from __future__ import annotations

import json
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
from guardalign_middleware.generation.engine.loading import load_model, pick_device
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

    class Payload:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (marker,))

    torch.save({"x": Payload()}, copy_of_model / "pytorch_model.bin")
    (copy_of_model / "model.safetensors").unlink()
    with pytest.raises(ModelLoadError, match="pickled weights only"):
        load(copy_of_model)
    assert not marker.exists()


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
    with pytest.raises(ModelLoadError, match="not a device"):
        pick_device("abacus")


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
