"""Dialogues packed into one row are learned as if each stood alone."""

import torch

from training.llava.dialogues import EVEN
from training.llava.language import IGNORED, TOKENS, Batch, Dialogues, Row, Stage, _allowed
from training.llava.package import tokenizer, untrained


def batch() -> Batch:
    return Dialogues(Stage("test", "vision", 1, 3, questions=6, odds=EVEN, rate=1.0), seed=3)[0]


def test_a_packed_dialogue_is_seen_as_if_it_stood_alone() -> None:
    torch.manual_seed(0)
    model = untrained().eval()
    shared = [5, 6, 7]
    first, second = ([[10, 11, 12]], [[20, 21]]), ([[13, 14]], [[22, 23, 24]])
    packed, alone = Row(shared), Row(shared)
    packed.add(*first)
    packed.add(*second)
    alone.add(*second)

    def states(row: Row) -> torch.Tensor:
        hidden: torch.Tensor = model.model.language_model(
            inputs_embeds=model.get_input_embeddings()(torch.tensor([row.ids])),
            position_ids=torch.tensor([row.positions]),
            attention_mask=_allowed(torch.tensor([row.dialogues])),
        ).last_hidden_state[0]
        return hidden

    with torch.no_grad():
        together, single = states(packed), states(alone)
        plain = model.model.language_model(torch.tensor([alone.ids])).last_hidden_state[0]
    torch.testing.assert_close(together[-5:], single[-5:])
    torch.testing.assert_close(single, plain)


def test_only_answers_are_learned() -> None:
    tokens = tokenizer()
    drawn = batch()
    for ids, labels in zip(drawn.ids, drawn.labels, strict=True):
        learned = labels != IGNORED
        assert torch.equal(labels[learned], ids[learned])
        ends = int((labels == tokens.eos_token_id).sum())
        starts = int((ids == tokens.convert_tokens_to_ids("<assistant>")).sum())
        assert ends == starts >= 6


def test_every_picture_has_its_slots() -> None:
    drawn = batch()
    slots = (drawn.ids == tokenizer().convert_tokens_to_ids("<image>")).sum(dim=1)
    assert set(slots.tolist()) <= {0, TOKENS}
    assert int((slots > 0).sum()) == len(drawn.pixels) == len(drawn.patches)


def test_equal_seeds_draw_equal_batches() -> None:
    assert torch.equal(batch().ids, batch().ids)
