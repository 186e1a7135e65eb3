"""The int8 image tower: near to fp32, each picture for itself, and nothing taken on trust."""

from __future__ import annotations

import copy
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from onnx import TensorProto, helper

from guardalign_middleware.config import EncoderConfig, GuardAlignConfig
from guardalign_middleware.detection import AnchorBank, Detector, OpenClipEncoder, ThresholdProfile
from guardalign_middleware.detection import quantized as module
from guardalign_middleware.detection.patches import crop_patches, patch_boxes
from guardalign_middleware.detection.quantized import probe_pictures, quantized_tower
from guardalign_middleware.errors import ConfigError, DetectionError, ModelLoadError
from guardalign_middleware.mini.demo import demo_scenes
from guardalign_middleware.types import CanonicalImage

torch.set_num_threads(1)
MINI = GuardAlignConfig.load("mini").detection


def load(**changes: Any) -> OpenClipEncoder:
    return OpenClipEncoder.load(MINI.encoder.model_copy(update=changes))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("towers") / "made" / "here"


@pytest.fixture(scope="module")
def exact() -> OpenClipEncoder:
    return load()


@pytest.fixture(scope="module")
def encoder(folder: Path) -> OpenClipEncoder:
    return load(precision="int8", int8_cache=folder)


@pytest.fixture(scope="module")
def crops(exact: OpenClipEncoder) -> torch.Tensor:
    image = CanonicalImage(demo_scenes()[0].scene.pixels)
    boxes = patch_boxes(image.width, image.height, MINI.patches, 56)
    return crop_patches(image, boxes[::5], exact.image_size)


@pytest.fixture
def no_export(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Path:
        raise AssertionError("a tower was exported again")

    monkeypatch.setattr(module, "_quantize", fail)


@pytest.mark.slow
def test_embeddings_are_near_those_of_fp32(
    exact: OpenClipEncoder, encoder: OpenClipEncoder, crops: torch.Tensor
) -> None:
    rows, expected = encoder.encode_images(crops), exact.encode_images(crops)
    assert rows.dtype == torch.float32
    assert (rows * expected).sum(dim=1).min() > 0.998
    torch.testing.assert_close(rows, expected, atol=0.02, rtol=0)
    assert not torch.equal(rows, expected)
    torch.testing.assert_close(encoder.encode_texts(["gun"]), exact.encode_texts(["gun"]))


def test_company_changes_no_bit_of_a_row(encoder: OpenClipEncoder, crops: torch.Tensor) -> None:
    few = crops[:6]
    glaring = torch.cat([few, torch.ones_like(few[:1]), torch.zeros_like(few[:1])])
    together = encoder.encode_images(glaring)[: len(few)]
    alone = torch.cat([encoder.encode_images(row[None]) for row in few])
    assert torch.equal(together, alone)


def test_threads_share_a_tower(encoder: OpenClipEncoder, crops: torch.Tensor) -> None:
    expected = encoder.encode_images(crops[:8])
    with ThreadPoolExecutor(3) as pool:
        for rows in pool.map(lambda _: encoder.encode_images(crops[:8]), range(6)):
            assert torch.equal(rows, expected)


@pytest.mark.usefixtures("no_export")
def test_a_tower_that_lies_in_the_folder_is_taken(
    encoder: OpenClipEncoder, folder: Path, crops: torch.Tensor
) -> None:
    assert [file.name for file in folder.iterdir()] == [f"{encoder.fingerprint}.onnx"]
    again = load(precision="int8", int8_cache=folder)
    assert torch.equal(again.encode_images(crops[:4]), encoder.encode_images(crops[:4]))


def identity(side: int) -> bytes:
    """A model that is not a tower."""
    shape = [1, 3, side, side]
    first, last = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("pixels", "rows")
    )
    node = helper.make_node("Identity", ["pixels"], ["rows"])
    graph = helper.make_graph([node], "identity", [first], [last])
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()


@pytest.mark.parametrize("content", [b"\x08garbage", identity(8), identity(56)])
@pytest.mark.evidence
def test_what_is_no_tower_is_made_anew(
    content: bytes, tmp_path: Path, exact: OpenClipEncoder
) -> None:
    file = tmp_path / "tower.onnx"
    file.write_bytes(content)
    probes = exact.normalised(probe_pictures(exact.image_size))
    quantized_tower(exact._model, probes, tmp_path, "tower")
    assert file.stat().st_size > 100_000
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.slow
def test_a_foreign_tower_is_made_anew(
    tmp_path: Path, folder: Path, encoder: OpenClipEncoder, exact: OpenClipEncoder
) -> None:
    """What lies under the right name, and is a tower, but not of these weights."""
    file = tmp_path / "tower.onnx"
    file.write_bytes((folder / f"{encoder.fingerprint}.onnx").read_bytes())
    other = copy.deepcopy(exact._model)
    other.visual.proj.data.neg_()
    probes = exact.normalised(probe_pictures(exact.image_size))
    tower = quantized_tower(other, probes, tmp_path, "tower")
    expected = torch.nn.functional.normalize(other.encode_image(probes), dim=1)
    assert (torch.nn.functional.normalize(tower(probes), dim=1) * expected).sum(1).min() > 0.99


@pytest.mark.evidence
def test_a_tower_that_int8_spoils_is_refused(
    monkeypatch: pytest.MonkeyPatch, exact: OpenClipEncoder
) -> None:
    monkeypatch.setattr(module, "_LEAST_COSINE", 1.1)
    probes = exact.normalised(probe_pictures(exact.image_size))
    with pytest.raises(ModelLoadError, match=r"changes this encoder too much.*bf16"):
        quantized_tower(exact._model, probes, None, "tower")


@pytest.mark.usefixtures("no_export")
def test_nan_weights_are_refused(exact: OpenClipEncoder) -> None:
    """As integers they would be ordinary numbers."""
    broken = copy.deepcopy(exact._model)
    broken.visual.transformer.resblocks[0].mlp.c_fc.weight.data[0, 0] = float("nan")
    probes = exact.normalised(probe_pictures(exact.image_size))
    with pytest.raises(ModelLoadError, match="NaN"):
        quantized_tower(broken, probes, None, "tower")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_pixels_that_are_no_numbers_are_a_fault(
    value: float, encoder: OpenClipEncoder, crops: torch.Tensor
) -> None:
    broken = crops[:3].clone()
    broken[1, 0, 5, 5] = value
    with pytest.raises(DetectionError, match="NaN"):
        encoder.encode_images(broken)


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "onnxscript"])
def test_a_missing_extra_is_named_before_anything_is_loaded(
    package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"needs {package}\..*guardalign-core\[fast\]"):
        OpenClipEncoder.load(EncoderConfig(model=f"local-dir:{tmp_path}/none", precision="int8"))


def test_it_runs_on_the_cpu_only() -> None:
    with pytest.raises(ConfigError, match="int8 runs on the CPU"):
        load(precision="int8", device="cuda")


@pytest.mark.usefixtures("no_export")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="int8_cache"):
        load(precision="int8", int8_cache=tmp_path / "file")


def test_gradients_are_refused(encoder: OpenClipEncoder, crops: torch.Tensor) -> None:
    with pytest.raises(ConfigError, match=r"no gradient.*fp32 or bf16"):
        encoder.embed_images(crops[:1].requires_grad_(True))


def test_a_profile_of_fp32_is_refused(encoder: OpenClipEncoder, exact: OpenClipEncoder) -> None:
    assert MINI.profile is not None
    anchors, profile = AnchorBank.load(MINI.anchors), ThresholdProfile.load(MINI.profile)
    Detector.from_parts(exact, anchors, MINI, profile)
    for other in (encoder, load(precision="bf16")):
        with pytest.raises(ConfigError, match=r"different encoder.*calibrate"):
            Detector.from_parts(other, anchors, MINI, profile)


def test_a_relative_folder_is_relative_to_the_preset(tmp_path: Path) -> None:
    encoder = {"model": "ViT-B-32", "precision": "int8", "int8_cache": "towers"}
    data = {"name": "own", "detection": {"encoder": encoder, "anchors": "anchors.yaml"}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
    config = GuardAlignConfig.load(tmp_path / "own.yaml").detection.encoder
    assert config.int8_cache == (tmp_path / "towers").resolve()
