"""An image tower in 8-bit integers, run by ONNX Runtime on a CPU (extra `fast`).

Weights are quantized once; activations are, at every step, by their own range ("dynamic"), so
nothing has to be calibrated on pictures. Two choices keep what an encoder promises:

- ONNX Runtime takes one range for all that passes together. So pictures pass one at a time, or a
  picture's embedding would depend on its neighbours.
- Weights have 7 bits. With 8, sums overflow on x86 processors without VNNI, and one fingerprint
  would mean two encoders.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from guardalign_middleware.errors import ConfigError, ModelLoadError

RECIPE = "dynamic int8, 7-bit weights by channel in MatMul, one picture at a time, 1"
"""Belongs to the encoder's fingerprint: other embeddings need another name."""

_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
_INPUT = "pixels"
# Far below what quantization costs a healthy tower; a damaged or foreign one is far below this.
_LEAST_COSINE = 0.95


class QuantizedTower:
    """Pictures to embeddings by ONNX Runtime; threads may share it.

    It runs on as many threads as torch has when it is loaded.

    Args:
        model: an ONNX model of one picture, `[1, 3, S, S]` to `[1, D]`.

    Raises:
        ModelLoadError: it is none.
    """

    def __init__(self, model: bytes) -> None:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as faults

        # Builds for Windows report their use otherwise.
        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors; its warnings are hints for who exports models
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
        """Whether its input is a picture of such a size."""
        inputs = [(one.name, one.type, one.shape) for one in self._session.get_inputs()]
        return inputs == [(_INPUT, "tensor(float)", [1, *pixels.shape[1:]])]

    def __call__(self, pixels: Tensor) -> Tensor:
        """Embed normalised pictures one by one.

        Args:
            pixels: float32 `[M, 3, S, S]` on the CPU.

        Returns:
            float32 `[M, D]`, not normalised; NaN for a picture with NaN or infinity, which
            integers would turn into an ordinary number.
        """
        rows = [
            self._session.run(None, {_INPUT: picture[None]})[0]
            for picture in pixels.contiguous().numpy()
        ]
        embedded = torch.from_numpy(np.concatenate(rows))
        embedded[~torch.isfinite(pixels).flatten(1).all(dim=1)] = torch.nan
        return embedded


def require_packages() -> None:
    """Check that the extra is there, before anything is loaded.

    Raises:
        ConfigError: it is not.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"encoder.precision int8 needs {', '.join(missing)}.",
            remedy="pip install 'guardalign-middleware[fast]'",
        )


def probe_pictures(side: int) -> Tensor:
    """Four pictures of coloured clouds, always the same: `[4, 3, side, side]` in [0, 1]."""
    seeds = torch.rand(4, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    return functional.interpolate(seeds, size=(side, side), mode="bilinear")


def quantized_tower(
    model: torch.nn.Module, probes: Tensor, folder: Path | None, name: str
) -> QuantizedTower:
    """The image tower of an open_clip model, from the folder where it lies there, else made anew.

    Either way it is compared with the model on the probes; a file that is damaged or does not agree
    is made anew. Whoever can write to the folder can change what is found, as whoever can write to
    the weights can.

    Args:
        model: in fp32, on the CPU.
        probes: normalised pictures `[P, 3, S, S]`.
        folder: created if it is not there; None = nothing is kept.
        name: a digest of weights and `RECIPE`, for the file.

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
    """The half of an open_clip model that is exported."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model: Any = model

    def forward(self, pixels: Tensor) -> Tensor:
        embedded: Tensor = self.model.encode_image(pixels)
        return embedded


def _likeness(tower: QuantizedTower, probes: Tensor, expected: Tensor) -> float:
    """Least cosine to the expected unit rows; -1 for a tower of another shape."""
    if not tower.takes(probes) or (rows := tower(probes)).shape != expected.shape:
        return -1.0
    return float((functional.normalize(rows, dim=-1) * expected).sum(dim=-1).min())


def _read(file: Path) -> QuantizedTower | None:
    """The tower of a file; None when there is none, or it is not what was written."""
    try:
        return QuantizedTower(file.read_bytes())
    except (OSError, ModelLoadError):
        return None


def _make(tower: torch.nn.Module, example: Tensor, folder: Path | None, name: str) -> bytes:
    """Export and quantize; the file is moved to its place whole, as a reader must find it."""
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
            remedy="Name another folder as encoder.int8_cache, or none.",
        ) from error


def _quantize(tower: torch.nn.Module, example: Tensor, scratch: Path) -> Path:
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    exported, prepared, quantized = (
        scratch / f"{step}.onnx" for step in ("exported", "prepared", "quantized")
    )
    try:
        with warnings.catch_warnings():
            # Of the exporter's own parts that are deprecated.
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                tower, (example,), dynamo=True, input_names=[_INPUT], verbose=False
            )
        assert program is not None  # as always with dynamo
        # Weights beside the file: towers of more than 2 GB do not fit into one.
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
        # Integer convolutions are slower than those of floats.
        op_types_to_quantize=["MatMul"],
        per_channel=True,
        reduce_range=True,
        weight_type=QuantType.QInt8,
    )
    return quantized
