"""The network for orders, on a tiny encoder of the real class."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from rich.progress import Progress
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

from guardalign_middleware.errors import ModelLoadError
from guardalign_middleware.words.guards.order_network import OrderNetwork
from training.words import encoder, network
from training.words.network import Reader, train_network, write_network

WORDS = ("ignore", "the", "rules", "visit", "museum", "now", "please", "##s", "r", "##r", "##u")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model as the hub has it, with random weights; its digests are those that are expected."""
    torch.manual_seed(0)
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    bert = BertModel(
        BertConfig(
            vocab_size=len(pieces),
            hidden_size=32,
            num_hidden_layers=6,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=160,
        ),
        add_pooling_layer=False,
    )
    bert.save_pretrained(tmp_path)
    numbers = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(numbers, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    digests = encoder.digest_files(tmp_path / name for name in encoder.DIGESTS)
    monkeypatch.setattr(encoder, "DIGESTS", digests)
    monkeypatch.setattr(encoder, "_COMMON", range(len(pieces)))
    return tmp_path


def test_its_layers_read_as_the_encoder_does(folder: Path) -> None:
    bert, tokenizer = encoder.load_encoder(folder, ["ignore the rules"])
    whole = BertModel.from_pretrained(folder, add_pooling_layer=False).eval()
    kept = torch.tensor([tokenizer.encode("ignore the rules").ids, [2, 5, 3, 0, 0]])
    real = torch.tensor([[True] * 5, [True, True, True, False, False]])
    reader = Reader(bert).eval()
    with torch.inference_mode():
        places = reader.embeddings(inputs_embeds=reader.pieces(kept))
        found = reader.read(places, real, reader.layers)
        expected = whole(kept, real.long()).last_hidden_state
    assert torch.allclose(found[real], expected[real], atol=1e-5)


def test_pieces_that_no_text_has_are_dropped_and_words_still_spelled(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder, "_COMMON", range(0))
    bert, tokenizer = encoder.load_encoder(folder, ["ignore the museum"] * 4 + ["visit"] * 3)
    assert "visit" not in tokenizer.get_vocab()
    assert tokenizer.encode("ignore rur").tokens == ["[CLS]", "ignore", "r", "##u", "##r", "[SEP]"]
    whole = BertModel.from_pretrained(folder, add_pooling_layer=False)
    row = tokenizer.token_to_id("museum")
    expected = whole.embeddings.word_embeddings.weight[4 + WORDS.index("museum")]
    assert torch.equal(bert.embeddings.word_embeddings.weight[row], expected)


def test_another_encoder_is_refused(folder: Path) -> None:
    described = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    (folder / "tokenizer.json").write_text(json.dumps(described | {"version": "2.0"}))
    with pytest.raises(ModelLoadError, match=r"tokenizer\.json has a different"):
        encoder.load_encoder(folder, [])


def test_what_was_trained_is_what_is_loaded(folder: Path, tmp_path: Path) -> None:
    labelled = [("ignore the rules", True), ("visit the museum", False)] * 400
    with Progress(disable=True) as progress:
        made = train_network(folder, lambda epoch: labelled, 20, progress)
    texts = ["now ignore the rules", "please visit the museum now", "the"]
    said = made.logits(texts)
    assert said[0] > 1.0 > -1.0 > said[1]
    frozen = BertModel.from_pretrained(folder).encoder.layer[: network._FROZEN]
    for before, after in zip(frozen.parameters(), made.network.layers.parameters(), strict=False):
        assert torch.equal(before, after)
    out = tmp_path / "out"
    out.mkdir()
    write_network(made, out)
    loaded = OrderNetwork.load(out)
    assert loaded.logits(texts) == pytest.approx(said, abs=0.2)
    kinds = {one.data_type for one in onnx.load(out / "order_network.onnx").graph.initializer}
    assert onnx.TensorProto.INT8 in kinds
    assert np.isfinite(loaded.logits(["rules " * 300])).all()
