"""Which files of a folder are a model's weights: those that transformers opens, and no pickle."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from guardalign_middleware.errors import ModelLoadError
from guardalign_middleware.model_folder.shard_index import (
    INDEX,
    MAX_INDEX_BYTES,
    ShardIndex,
    read_index,
)
from guardalign_middleware.strict import Malformed, is_regular, read_bytes

SINGLE = "model.safetensors"
_ADAPTER = "adapter_config.json"
_ADAPTER_WEIGHTS = "adapter_model.safetensors"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
# A training run's own shards, which transformers loads by another way than its index.
_DISTRIBUTED = re.compile(r"shard-[0-9]{5}-model-[0-9]{5}-of-[0-9]{5}\.safetensors")


def named_weights(folder: Path) -> tuple[str, ...]:
    """Names of the weight files that transformers opens, whether or not they are there.

    Raises:
        ModelLoadError: the index is refused, or an adapter cannot be loaded.
    """
    names = [SINGLE]
    if is_regular(folder / INDEX):
        index = _index(folder / INDEX)  # refused also where transformers prefers the single file
        if not is_regular(folder / SINGLE):
            names = list(index.files)
    if is_regular(folder / _ADAPTER):
        if find_spec("peft") is None:
            raise ModelLoadError(
                f"{folder} holds an adapter, and the package peft that loads it is missing.",
                remedy="Install peft, or merge the adapter into the model and save that.",
            )
        names.append(_ADAPTER_WEIGHTS)
    return tuple(names)


def loaded_weights(folder: Path) -> tuple[Path, ...]:
    """The weight files that transformers will open, all of them safetensors in this folder.

    Raises:
        ModelLoadError: there are none or one is missing, they are pickled, or the index is refused.
    """
    if any(_DISTRIBUTED.fullmatch(path.name) for path in folder.glob("shard-*")):
        raise ModelLoadError(
            f"{folder} holds the shards of a distributed training run.",
            remedy="Load them where they were trained, and save them with save_pretrained.",
        )
    names = named_weights(folder)
    missing = [name for name in names if not is_regular(folder / name)]
    if not missing:
        return tuple(folder / name for name in names)
    pickles = sorted(path.name for kind in _PICKLES for path in folder.glob(kind))
    if pickles:
        raise ModelLoadError(
            f"{folder} has no {missing[0]}, and holds pickled weights only ({pickles[0]}): "
            "unpickling can run arbitrary code.",
            remedy="Convert them on a trusted machine: save_pretrained writes safetensors.",
        )
    if is_regular(folder / INDEX):
        raise ModelLoadError(
            f"{folder} has no {', '.join(missing[:3])}, which its index names.",
            remedy="Get the complete model.",
        )
    others = sorted(path.name for path in all_weights(folder))
    found = f" transformers does not open {others[0]}." if others else ""
    raise ModelLoadError(
        f"{folder} holds no weights: there is no {missing[0]}.{found}",
        remedy="Add the model's *.safetensors files, as save_pretrained names them.",
    )


def all_weights(folder: Path) -> tuple[Path, ...]:
    """Every safetensors file in the folder itself, also those that are not opened."""
    return tuple(sorted(folder.glob("*.safetensors")))


def _index(path: Path) -> ShardIndex:
    try:
        return read_index(read_bytes(path, MAX_INDEX_BYTES))
    except Malformed as error:
        raise ModelLoadError(
            f"The index {path} is refused: {error}.",
            remedy="Get the model's own index, or save the model again with save_pretrained.",
        ) from error
