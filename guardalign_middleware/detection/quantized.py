"""An image tower in 8-bit integers, run by ONNX Runtime on a CPU (extra `fast`).

Weights are quantized once. Activations are quantized at every step by their own range ("dynamic"),
so no calibration pictures are needed. Two choices keep the contract of an encoder:

- ONNX Runtime uses one range for a whole batch. Pictures therefore pass one by one; otherwise a
  picture's embedding would depend on its neighbours.
- Weights have 7 bits. With 8, sums overflow on x86 processors without VNNI, and one fingerprint
  would cover two different encoders.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from guardalign_middleware.errors import ConfigError, ModelLoadError

RECIPE = "dynamic int8, 7-bit weights by channel in MatMul, one picture at a time, 1"
"""Part of the encoder's fingerprint: change it whenever embeddings change."""

_INPUT = "pixels"
# Well below the effect of quantization on a healthy tower, and well above a damaged tower.
_LEAST_COSINE = 0.95


class QuantizedTower:
    """Embeds pictures with ONNX Runtime; threads may share it.

    It uses as many threads as torch has at load time.

    Args:
        model: an ONNX model of one picture, `[1, 3, S, S]` to `[1, D]`.

    Raises:
        ModelLoadError: ONNX Runtime cannot read it.
    """

    def __init__(self, model: bytes) -> None:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as faults

        # Windows builds send telemetry by default.
        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors; its warnings concern the export
        try:
            self._session = onnxruntime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"]
            )
        except (
            faults.Fail,
            faults.InvalidProtobuf,
            faults.InvalidGraph,
            faults.NotImplemented,
            faults.InvalidArgument,
            faults.RuntimeException,
        ) as error:
            raise ModelLoadError(f"ONNX Runtime cannot read the int8 tower: {error}") from error

    def takes(self, pixels: Tensor) -> bool:
        """Whether the model accepts pictures of this size."""
        inputs = [(one.name, one.type, one.shape) for one in self._session.get_inputs()]
        return inputs == [(_INPUT, "tensor(float)", [1, *pixels.shape[1:]])]

    def __call__(self, pixels: Tensor) -> Tensor:
        """Embed normalised pictures one by one.

        Args:
            pixels: float32 `[M, 3, S, S]` on the CPU.

        Returns:
            float32 `[M, D]`, not normalised; NaN for a picture with NaN or infinity, which integer
            arithmetic would turn into ordinary numbers.
        """
        rows = [
            self._session.run(None, {_INPUT: picture[None]})[0]
            for picture in pixels.contiguous().numpy()
        ]
        embedded = torch.from_numpy(np.concatenate(rows))
        embedded[~torch.isfinite(pixels).flatten(1).all(dim=1)] = torch.nan
        return embedded


def probe_pictures(side: int) -> Tensor:
    """Four fixed pictures of coloured clouds: `[4, 3, side, side]` in [0, 1]."""
    seeds = torch.rand(4, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    return functional.interpolate(seeds, size=(side, side), mode="bilinear")


def quantized_tower(
    model: torch.nn.Module, probes: Tensor, folder: Path | None, name: str
) -> QuantizedTower:
    """The image tower of an open_clip model in int8, read from the folder, or exported anew.

    Either way it is compared with the model on the probes; a file that is damaged or disagrees is
    replaced. Write access to the folder can change detections, like write access to the weights.

    Args:
        model: in fp32, on the CPU.
        probes: normalised pictures `[P, 3, S, S]`.
        folder: created if missing; None = nothing is stored.
        name: a digest of weights and `RECIPE`; the file's name.

    Raises:
        ModelLoadError: the tower's output is NaN or infinite, it cannot be exported, or int8
            changes it too much.
        ConfigError: the folder cannot be written.
    """
    tower = _ImageTower(model)
    with torch.inference_mode():
        expected = functional.normalize(tower(probes).float(), dim=-1)
    if not bool(torch.isfinite(expected).all()):
        raise ModelLoadError(
            "The encoder gives NaN or infinity.", remedy="Check the weights of encoder.model."
        )
    kept = None if folder is None else _read(folder / f"{name}.onnx")
    if kept is not None and _likeness(kept, probes, expected) >= _LEAST_COSINE:
        return kept
    made = QuantizedTower(_make(tower, probes[:1], folder, name))
    if not (likeness := _likeness(made, probes, expected)) >= _LEAST_COSINE:  # also when NaN
        raise ModelLoadError(
            f"int8 changes this encoder too much: cosine {likeness:.3f} to fp32.",
            remedy="Use encoder.precision bf16 or fp32.",
        )
    return made


class _ImageTower(torch.nn.Module):
    """The image half of an open_clip model, for export."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model: Any = model

    def forward(self, pixels: Tensor) -> Tensor:
        embedded: Tensor = self.model.encode_image(pixels)
        return embedded


def _likeness(tower: QuantizedTower, probes: Tensor, expected: Tensor) -> float:
    """Smallest cosine to the expected unit rows; -1 for a tower of another shape."""
    if not tower.takes(probes) or (rows := tower(probes)).shape != expected.shape:
        return -1.0
    return float((functional.normalize(rows, dim=-1) * expected).sum(dim=-1).min())


def _read(file: Path) -> QuantizedTower | None:
    """The tower of a file; None when it is missing or damaged."""
    try:
        return QuantizedTower(file.read_bytes())
    except (OSError, ModelLoadError):
        return None


def _make(tower: torch.nn.Module, example: Tensor, folder: Path | None, name: str) -> bytes:
    """Export and quantize; the finished file is moved into place."""
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            file = _quantize(tower, example, Path(scratch))
            model = file.read_bytes()
            if folder is not None:
                os.replace(file, folder / f"{name}.onnx")
            return model
    except OSError as error:
        raise ConfigError(
            f"Cannot write the int8 tower to {folder or tempfile.gettempdir()}: {error.strerror}.",
            remedy="Set encoder.int8_cache to another folder, or remove it.",
        ) from error


def _quantize(tower: torch.nn.Module, example: Tensor, scratch: Path) -> Path:
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    exported, prepared, quantized = (
        scratch / f"{step}.onnx" for step in ("exported", "prepared", "quantized")
    )
    try:
        with warnings.catch_warnings():
            # Deprecations inside the exporter.
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                tower, (example,), dynamo=True, input_names=[_INPUT], verbose=False
            )
        assert program is not None  # always a program with dynamo
        # External weights: a file cannot hold more than 2 GB.
        program.save(exported, external_data=True)
    except RuntimeError as error:
        raise ModelLoadError(
            f"The image tower cannot be exported: {error}",
            remedy="Use encoder.precision bf16 or fp32.",
        ) from error
    quant_pre_process(
        exported,
        prepared,
        skip_optimization=True,
        skip_symbolic_shape=True,
        save_as_external_data=True,
        all_tensors_to_one_file=True,
    )
    quantize_dynamic(
        prepared,
        quantized,
        # Integer convolutions are slower than floating-point ones.
        op_types_to_quantize=["MatMul"],
        per_channel=True,
        reduce_range=True,
        weight_type=QuantType.QInt8,
    )
    return quantized
