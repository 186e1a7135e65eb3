from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    PreTrainedTokenizerFast,
)

from guardalign_middleware.errors import ConfigError, GuardError, ModelLoadError
from guardalign_middleware.words.guards.classifier import ClassifierGuard
from guardalign_middleware.words.guards.guard import TextGuard

WORDS = ("[PAD]", "[UNK]", "[CLS]", "cat", "dog", "bad")
UNSAFE = {"unsafe": "harm"}


def tokenizer() -> PreTrainedTokenizerFast:
    words = Tokenizer(WordLevel({word: index for index, word in enumerate(WORDS)}, "[UNK]"))
    words.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", model_max_length=512
    )


def config(**options: object) -> BertConfig:
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    return BertConfig(
        vocab_size=len(WORDS),
        intermediate_size=8,
        max_position_embeddings=16,
        pad_token_id=0,
        **sizes,
        **({"id2label": {0: "safe", 1: "unsafe"}} | options),
    )


def knows_bad(model: BertForSequenceClassification) -> BertForSequenceClassification:
    """The pooled first token decides; "bad" alone leads to the second label."""
    with torch.no_grad():
        for weights in model.parameters():
            weights.zero_()
        layer = model.bert.encoder.layer[0]
        for norm in (
            model.bert.embeddings.LayerNorm,
            layer.attention.output.LayerNorm,
            layer.output.LayerNorm,
        ):
            norm.weight.fill_(1.0)
        model.bert.embeddings.word_embeddings.weight[WORDS.index("bad"), 0] = 9.0
        model.bert.pooler.dense.weight[0, 0] = 1.0
        # The mean over the tokens reaches the first one through attention with equal weights.
        layer.attention.self.value.weight.copy_(torch.eye(8))
        layer.attention.output.dense.weight.copy_(20.0 * torch.eye(8))
        model.classifier.weight[-1, 0] = 8.0
        model.classifier.bias[-1] = -4.0
    return model.eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("classifier")
    knows_bad(BertForSequenceClassification(config())).save_pretrained(where)
    tokenizer().save_pretrained(where)
    return where


def test_the_unsafe_label_is_the_distance(folder: Path) -> None:
    guard: TextGuard = ClassifierGuard.load(str(folder), UNSAFE)
    good, bad = guard.assess(["cat dog", "bad"])
    assert bad.distance < 0.5 < good.distance
    assert bad.category == "harm"


def test_a_long_text_is_read_to_its_end(folder: Path) -> None:
    guard = ClassifierGuard.load(str(folder), UNSAFE)
    texts = ["cat " * 100, "cat " * 99 + "bad", "dog"]
    first, last, short = guard.assess(texts)
    assert last.distance < min(first.distance, short.distance)


def test_texts_do_not_depend_on_their_neighbours(folder: Path) -> None:
    guard = ClassifierGuard.load(str(folder), UNSAFE)
    alone = [guard.assess([text])[0].distance for text in ("cat", "bad", "cat dog cat")]
    together = [one.distance for one in guard.assess(["cat", "bad", "cat dog cat"])]
    assert together == pytest.approx(alone, abs=1e-5)


def test_independent_labels_count_each_for_itself() -> None:
    model = BertForSequenceClassification(
        config(problem_type="multi_label_classification", id2label={0: "a", 1: "b", 2: "c"})
    )
    guard = ClassifierGuard(
        knows_bad(model), tokenizer(), {"b": "second", "c": "third"}, name="several"
    )
    (found,) = guard.assess(["bad"])
    assert found.category == "third"
    assert found.distance < 0.5


def test_a_model_without_its_head_is_refused(tmp_path: Path) -> None:
    BertModel(config()).save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelLoadError, match="lacks the weights"):
        ClassifierGuard.load(str(tmp_path), {"LABEL_1": "harm"})


def test_pickled_missing_and_damaged_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(ModelLoadError, match="cannot be loaded|no weights|safetensors"):
        ClassifierGuard.load(str(tmp_path), UNSAFE, local_files_only=True)
    model = BertForSequenceClassification(config())
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelLoadError, match="cannot be loaded|no weights|safetensors"):
        ClassifierGuard.load(str(tmp_path), UNSAFE, local_files_only=True)
    (tmp_path / "model.safetensors").write_bytes(b"\x08\x00")
    with pytest.raises(ModelLoadError, match="cannot be loaded|no weights|safetensors"):
        ClassifierGuard.load(str(tmp_path), UNSAFE, local_files_only=True)


def test_labels_must_be_of_the_model(folder: Path) -> None:
    for labels in ({}, {"evil": "harm"}):
        with pytest.raises(ConfigError, match="label"):
            ClassifierGuard.load(str(folder), labels)


def test_a_model_without_padding_is_refused() -> None:
    model = knows_bad(BertForSequenceClassification(config()))
    model.config.pad_token_id = None
    with pytest.raises(ConfigError, match="padding"):
        ClassifierGuard(model, tokenizer(), UNSAFE, name="no padding")


def test_nan_is_a_fault_and_not_safe() -> None:
    model = knows_bad(BertForSequenceClassification(config()))
    with torch.no_grad():
        model.classifier.bias.fill_(float("nan"))
    with pytest.raises(GuardError, match="NaN"):
        ClassifierGuard(model, tokenizer(), UNSAFE, name="nan").assess(["cat"])
