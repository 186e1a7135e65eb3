from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardalign_middleware.model_folder import read_index
from guardalign_middleware.model_folder.shard_index import is_plain_weights
from guardalign_middleware.strict import Malformed

NAMES = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def index(weight_map: Any, **more: Any) -> bytes:
    return json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map, **more}).encode()


def test_the_files_are_named_once_and_in_order() -> None:
    read = read_index(index({"b": NAMES[1], "a": NAMES[0], "c": NAMES[0]}))
    assert read.files == NAMES
    assert dict(read.tensors) == {"b": NAMES[1], "a": NAMES[0], "c": NAMES[0]}


@pytest.mark.parametrize(
    "name",
    [
        "pytorch_model.bin",
        "model.pt",
        "model.safetensors.bin",
        "model.SAFETENSORS",
        "model.safetensors ",
        "model.safetensors\n",
        "sub/model.safetensors",
        "sub\\model.safetensors",
        "./model.safetensors",
        "../outside/model.safetensors",
        "..",
        ".safetensors",
        "/etc/model.safetensors",
        "C:model.safetensors",
        "file:model.safetensors",
        "*.safetensors",
        "m[o]del.safetensors",
        "~/model.safetensors",
        "mödel.safetensors",
        "",
        None,
        3,
        ["model.safetensors"],
        {"model": "model.safetensors"},
    ],
)
def test_anything_but_the_plain_name_of_a_safetensors_file_is_refused(name: Any) -> None:
    assert not is_plain_weights(name)
    with pytest.raises(Malformed, match="weight_map names"):
        read_index(index({"a": NAMES[0], "b": name}))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not JSON"),
        (b"[]", "mapping"),
        (b"{}", "weight_map"),
        (index({}), "weight_map"),
        (index([NAMES[0]]), "weight_map"),
        (index({"a": NAMES[0]}, metadata=None), "metadata"),
        (
            index({"a": NAMES[0]}, metadata={"a": [[[[[[[1]]]]]]]}),
            "levels",
        ),
        (
            b'{"metadata": {}, "weight_map": {"a": "a.safetensors"}, "weight_map": {}}',
            "'weight_map' appears twice",
        ),
        (
            b'{"metadata": {}, "weight_map": {"a": "a.safetensors", "a": "b.safetensors"}}',
            "'a' appears twice",
        ),
        (b'{"metadata": {"total_size": NaN}, "weight_map": {"a": "a.safetensors"}}', "finite"),
    ],
)
def test_a_damaged_index_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(Malformed, match=message):
        read_index(data)


@given(st.dictionaries(st.text(), st.text()))
def test_whatever_an_index_names_lies_in_its_folder(weight_map: dict[str, str]) -> None:
    try:
        read = read_index(index(weight_map))
    except Malformed:
        return
    for name in read.files:
        assert name.endswith(".safetensors")
        assert not set(name) & set("/\\:\0*?[]~")
