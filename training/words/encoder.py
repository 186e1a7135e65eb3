"""The sentence encoder that the classifier of orders starts from: all-MiniLM-L6-v2.

By the authors of Sentence-Transformers (Reimers & Gurevych, arXiv 1908.10084), under Apache-2.0,
from MiniLM (Wang et al., arXiv 2002.10957). Of its vocabulary, the pieces of words that texts like
ours have are kept.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import BertModel

from guardalign_middleware.provenance import check_pins, digest_files

DIGESTS = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
"""SHA-256 of the files of sentence-transformers/all-MiniLM-L6-v2."""
WINDOW = 128
"""Pieces that are read at once, as in the encoder's own training."""
# Numbers of pieces: signs stand before them, and rarer words behind.
_COMMON = range(999, 8000)
# A rarer one is kept if so many of the texts have it.
_OFTEN = 4


def load_encoder(folder: Path, texts: Iterable[str]) -> tuple[BertModel, Tokenizer]:
    """The encoder, and what cuts texts into the pieces that are kept.

    Args:
        folder: the published model.
        texts: plain ones; the pieces that several have are kept besides the common ones.

    Raises:
        ModelLoadError: the files are not the published ones.
    """
    check_pins(digest_files(folder / name for name in DIGESTS), DIGESTS, str(folder))
    encoder = BertModel.from_pretrained(
        folder, local_files_only=True, add_pooling_layer=False, attn_implementation="sdpa"
    )
    every = Tokenizer.from_file(str(folder / "tokenizer.json"))
    every.no_padding()
    every.no_truncation()
    seen = Counter(one for found in every.encode_batch(list(texts)) for one in set(found.ids))
    kept = sorted({one for one, count in seen.items() if count >= _OFTEN} | _always(every))
    pieces = encoder.embeddings.word_embeddings.weight.data[kept]
    encoder.embeddings.word_embeddings = torch.nn.Embedding.from_pretrained(pieces, freeze=True)
    places = encoder.embeddings.position_embeddings.weight.data[:WINDOW]
    encoder.embeddings.position_embeddings = torch.nn.Embedding.from_pretrained(places)
    return encoder, _with_pieces(every, kept)


def _always(tokenizer: Tokenizer) -> set[int]:
    """The marks, common pieces, and single signs, so that each word can be spelled."""
    return {
        number
        for piece, number in tokenizer.get_vocab().items()
        if number in _COMMON
        or len(piece.removeprefix("##")) == 1
        or piece in {"[PAD]", "[UNK]", "[CLS]", "[SEP]"}
    }


def _with_pieces(tokenizer: Tokenizer, kept: list[int]) -> Tokenizer:
    """The tokenizer with these pieces only, numbered anew."""
    described = json.loads(tokenizer.to_str())
    numbers = {old: new for new, old in enumerate(kept)}
    described["model"]["vocab"] = {
        piece: numbers[old]
        for piece, old in sorted(described["model"]["vocab"].items(), key=lambda one: one[1])
        if old in numbers
    }
    described["added_tokens"] = [
        one | {"id": numbers[one["id"]]}
        for one in described["added_tokens"]
        if one["id"] in numbers
    ]
    for mark in described["post_processor"]["special_tokens"].values():
        mark["ids"] = [numbers[old] for old in mark["ids"]]
    made = Tokenizer.from_str(json.dumps(described))
    made.enable_truncation(WINDOW, stride=WINDOW // 2)
    return made
