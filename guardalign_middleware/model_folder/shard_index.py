"""The index of a model in several files: which tensor lies in which file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from guardalign_middleware.strict import Malformed, json_value

INDEX = "model.safetensors.index.json"
MAX_INDEX_BYTES = 64 << 20
"""Cap of an index: one of 40,000 tensors has 4 MB."""

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*\.safetensors")


@dataclass(frozen=True)
class ShardIndex:
    """An index that names safetensors files in its own folder only.

    Attributes:
        files: the files, each once, in the order of their names.
        tensors: tensor → its file.
    """

    files: tuple[str, ...]
    tensors: Mapping[str, str]


def read_index(data: bytes) -> ShardIndex:
    """Parse an index.

    Args:
        data: of `model.safetensors.index.json`.

    Raises:
        Malformed: it is not JSON, a tensor is named twice, or a file is anything but the plain
            name of a safetensors file: pickled, in a sub-folder, outside or absolute.
    """
    value = json_value(data, max_depth=8)
    if not isinstance(value, dict):
        raise Malformed("it should be a mapping")
    tensors = value.get("weight_map")
    if not isinstance(tensors, dict) or not tensors:
        raise Malformed("weight_map should be a mapping of tensors to files")
    # transformers reads both, and fails in its own words without them.
    if not isinstance(value.get("metadata"), dict):
        raise Malformed("metadata should be a mapping")
    for tensor, name in tensors.items():
        if not is_plain_weights(name):
            raise Malformed(
                f"weight_map names {str(name)[:100]!r} for {tensor[:100]!r}, which is not a "
                "safetensors file in the model's own folder"
            )
    return ShardIndex(tuple(sorted(set(tensors.values()))), MappingProxyType(tensors))


def is_plain_weights(name: object) -> bool:
    """Whether this is the name of a safetensors file, without a folder."""
    return isinstance(name, str) and _PLAIN.fullmatch(name) is not None
