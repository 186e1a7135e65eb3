"""Train the network that reads sentences, and write it as ONNX with weights of eight bits."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from rich.progress import Progress
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertModel

from guardalign_middleware.words.guards.order_network import NETWORK, PIECES, ROWS
from guardalign_middleware.words.plain import plain
from training.words.encoder import load_encoder
from training.words.texts import Labelled

_BATCH = 32
# Of the layers that are trained, and of what is made of them.
_RATE, _HEAD_RATE = 1e-4, 1e-3
_FROZEN = 2
"""Layers that stay as they were published, with the pieces."""
_WARM_UP = 100
_DROPOUT = 0.1
_DOUBT = 0.01
"""Share of the texts whose label may be wrong."""
# Batches of like length are made of so many times as many texts.
_SORTED = 40


class Reader(nn.Module):
    """The encoder, and how much its text is an order: by the mean and the largest at its places."""

    def __init__(self, encoder: BertModel) -> None:
        super().__init__()
        self.pieces = encoder.embeddings.word_embeddings
        self.embeddings, self.layers = encoder.embeddings, encoder.encoder.layer
        self.order = nn.Linear(2 * encoder.config.hidden_size, 1)

    def forward(self, embedded: Tensor, real: Tensor) -> Tensor:
        """Rows of pieces `[N, L, W]`, and where there is one, `[N, L]` → logits `[N]`."""
        places = self.embeddings(inputs_embeds=embedded)
        return self.judged(self.read(places, real, self.layers), real)

    def read(self, places: Tensor, real: Tensor, layers: nn.ModuleList) -> Tensor:
        """Through some layers, `[N, L, W]` → `[N, L, W]`."""
        hidden = torch.where(real, 0.0, torch.finfo(places.dtype).min)[:, None, None, :]
        for layer in layers:
            places = layer(places, hidden)
        return places

    def judged(self, places: Tensor, real: Tensor) -> Tensor:
        """What the last layer left, `[N, L, W]` → logits `[N]`."""
        shown = real[:, :, None]
        mean = (places * shown).sum(dim=1) / shown.sum(dim=1)
        largest = places.masked_fill(~shown, torch.finfo(places.dtype).min).amax(dim=1)
        both = functional.dropout(torch.cat([mean, largest], dim=1), _DROPOUT, self.training)
        logits: Tensor = self.order(both)[:, 0]
        return logits


class OrderReader:
    """A network and what cuts texts into its pieces."""

    def __init__(self, network: Reader, tokenizer: Tokenizer) -> None:
        self.network, self.tokenizer = network, tokenizer

    def pieces(self, texts: Sequence[str]) -> list[list[int]]:
        """Of each text, the first window."""
        return [one.ids for one in self.tokenizer.encode_batch([plain(text) for text in texts])]

    def logits(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """How much each text is an order, `[N]`."""
        found, pieces = np.empty(len(texts), np.float32), self.pieces(texts)
        self.network.eval()
        with torch.inference_mode():
            for batch in _batches([len(one) for one in pieces]):
                ids, real = _padded([pieces[row] for row in batch])
                found[batch] = self.network(self.network.pieces(ids), real).numpy()
        return found


def train_network(
    encoder: Path, draw: Callable[[int], Labelled], epochs: int, progress: Progress
) -> OrderReader:
    """Train the encoder's last layers.

    Args:
        encoder: folder of the published encoder.
        draw: number of an epoch → its texts and whether they are orders; each may be altered anew.
        epochs: times that the texts are read.
        progress: is advanced with each batch.
    """
    torch.manual_seed(0)
    first = draw(0)
    bert, tokenizer = load_encoder(encoder, [plain(text) for text, _ in first])
    network = Reader(bert)
    made = OrderReader(network, tokenizer)
    for parameter in (*network.embeddings.parameters(), *network.layers[:_FROZEN].parameters()):
        parameter.requires_grad_(False)
    steps = epochs * (len(first) // _BATCH)
    trained = network.layers[_FROZEN:]
    optimizer = torch.optim.AdamW(
        [
            {"params": trained.parameters(), "lr": _RATE},
            {"params": network.order.parameters(), "lr": _HEAD_RATE},
        ],
        weight_decay=0.01,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / _WARM_UP) * max(0.02, 1.0 - step / steps)
    )
    task = progress.add_task("training", total=steps)
    for epoch in range(epochs):
        labelled = first if epoch == 0 else draw(epoch)
        pieces = made.pieces([text for text, _ in labelled])
        orders = torch.tensor([float(order) for _, order in labelled])
        network.train()
        for batch in _batches([len(one) for one in pieces], random.Random(epoch)):
            ids, real = _padded([pieces[row] for row in batch])
            with torch.no_grad():
                places = network.read(network.embeddings(ids), real, network.layers[:_FROZEN])
            logits = network.judged(network.read(places, real, trained), real)
            wanted = orders[batch] * (1.0 - 2.0 * _DOUBT) + _DOUBT
            loss = functional.binary_cross_entropy_with_logits(logits, wanted)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            progress.update(task, advance=1, description=f"training, loss {loss.item():.2f}")
    return made


def _batches(lengths: Sequence[int], rng: random.Random | None = None) -> Iterator[list[int]]:
    """Rows of like length; with `rng` in any order, else from short to long."""
    rows = list(range(len(lengths)))
    if rng is None:
        rows.sort(key=lambda row: lengths[row])
        found = [rows[first : first + _BATCH] for first in range(0, len(rows), _BATCH)]
    else:
        rng.shuffle(rows)
        found = []
        for first in range(0, len(rows), _BATCH * _SORTED):
            some = sorted(rows[first : first + _BATCH * _SORTED], key=lambda row: lengths[row])
            found += [some[start : start + _BATCH] for start in range(0, len(some), _BATCH)]
        rng.shuffle(found)
    yield from found


def _padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Pieces `[N, L]`, and where there is one, `[N, L]`."""
    filled = nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
    lengths = torch.tensor([len(row) for row in rows])
    return filled, torch.arange(filled.shape[1]) < lengths[:, None]


def write_network(made: OrderReader, folder: Path) -> None:
    """Write the files that `OrderNetwork.load` reads."""
    made.tokenizer.save(str(folder / PIECES), pretty=False)
    network = made.network.eval()
    # The rows stand in a file of their own: most of them are never needed at once.
    rows, scales = _rounded(network.pieces.weight.numpy(), 0)
    save_file({"rows": rows, "scales": scales}, folder / ROWS)
    shape = dict.fromkeys(range(2), torch.export.Dim.DYNAMIC)
    program = torch.onnx.export(
        network,
        (network.pieces(torch.ones(2, 8, dtype=torch.int64)), torch.ones(2, 8, dtype=torch.bool)),
        dynamo=True,
        input_names=["embedded", "real"],
        dynamic_shapes={"embedded": shape, "real": shape},
        verbose=False,
    )
    assert program is not None  # always a program with dynamo
    with tempfile.TemporaryDirectory() as scratch:
        exported = Path(scratch) / "exported.onnx"
        program.save(exported)
        onnx.save(in_eight_bits(onnx.load(exported)), folder / NETWORK)


def in_eight_bits(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its matrices in eight bits, each row or column with a scale of its own.

    What is computed stays in 32 bits, so a text is judged alike whatever stands in its batch.
    """
    graph = model.graph
    kept, nodes = [], []
    for weight in graph.initializer:
        values = numpy_helper.to_array(weight)
        if weight.data_type != TensorProto.FLOAT or values.ndim != 2 or min(values.shape) < 2:
            kept.append(weight)
            continue
        axis = 0 if values.shape[0] > values.shape[1] else 1
        rounded, scales = _rounded(values, axis)
        names = [f"{weight.name}.{part}" for part in ("int8", "scale")]
        kept += [
            numpy_helper.from_array(rounded, names[0]),
            numpy_helper.from_array(scales, names[1]),
        ]
        nodes.append(helper.make_node("DequantizeLinear", names, [weight.name], axis=axis))
    for field, replaced in ((graph.initializer, kept), (graph.node, [*nodes, *graph.node])):
        del field[:]
        field.extend(replaced)
    onnx.checker.check_model(model)
    return model


def _rounded(
    values: NDArray[np.float32], axis: int
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """A matrix in eight bits, and the scale of each row (0) or column (1)."""
    scales = np.abs(values).max(axis=1 - axis).astype(np.float32) / np.float32(127.0)
    scales = np.maximum(scales, np.finfo(np.float32).tiny)
    return np.rint(values / np.expand_dims(scales, 1 - axis)).astype(np.int8), scales
