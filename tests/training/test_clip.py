"""The training data of the miniature encoder, and the shortcuts of its training."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from guardalign_middleware.mini.world import CONCEPTS, STYLES, concepts_of_style
from guardalign_middleware.mini.world.strangers import strangers_of
from training.clip import data
from training.clip.attention import attend_by_products
from training.clip.blend import blended
from training.clip.captions import bank
from training.clip.data import GRID, IGNORED, OTHER, SIDE, Crops, draw_crop
from training.clip.looks import (
    StyleVariant,
    draw_look,
    draw_name,
    draw_stranger,
    draw_variant,
)
from training.clip.objective import Objective, named_or_harmless
from training.clip.train import Batches, Learner, build, save, tokenized
from training.clip.warm import adopt_encoder

VARIANTS = [
    *(StyleVariant(name) for name, style in STYLES.items() if not style.held_out),
    *(StyleVariant(name, colored=True) for name, style in STYLES.items() if style.monochrome),
]


def test_all_training_styles_are_drawn_and_none_that_is_held_out() -> None:
    rng = np.random.default_rng(0)
    assert {draw_variant(rng) for _ in range(1_000)} == set(VARIANTS)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_every_look_still_shows_its_thing(variant: StyleVariant) -> None:
    rng = np.random.default_rng(1)
    names = {concept.name for concept in concepts_of_style(variant.style)}
    for _ in range(40):
        name = draw_name(rng, variant.style)
        rgba = draw_look(rng, name, variant, 32)
        assert name in names
        assert rgba.shape == (32, 32, 4)
        assert 0 <= rgba.min()
        assert rgba.max() <= 1
        assert rgba[..., 3].mean() > 0.02


def test_a_thing_looks_different_now_and_then_but_not_from_run_to_run() -> None:
    looks = [
        draw_look(np.random.default_rng(seed), "knife", StyleVariant("noto"), 32)
        for seed in (1, 2, 1)
    ]
    assert not np.array_equal(looks[0], looks[1])
    assert np.array_equal(looks[0], looks[2])


def test_coloring_in_fills_what_the_lines_enclose_and_nothing_else() -> None:
    rng = np.random.default_rng(3)
    for name in ("coffin", "envelope", "bell"):
        line = draw_look(rng, name, StyleVariant("symbola"), 60)[..., 3].mean()
        looks = [draw_look(rng, name, StyleVariant("symbola", colored=True), 60) for _ in range(12)]
        filled = [look[..., 3].mean() for look in looks]
        assert min(filled) > line
        assert max(filled) < 0.9
        assert len({tuple(np.round(look[30, 30, :3], 2)) for look in looks}) > 6


def test_the_labels_of_a_crop_are_concepts_nothing_or_something_else() -> None:
    rng = np.random.default_rng(2)
    for _ in range(60):
        crop = draw_crop(rng)
        assert crop.pixels.shape == (SIDE, SIDE, 3)
        assert crop.target.shape == (len(CONCEPTS) + 2,)
        assert crop.target.sum() == pytest.approx(1)
        assert crop.patches.shape == (GRID, GRID)
        labels = crop.patches[crop.patches != IGNORED]
        assert labels.min() >= 0
        assert labels.max() <= OTHER


def test_strangers_are_something_else_and_concepts_never(monkeypatch: pytest.MonkeyPatch) -> None:
    assert OTHER == len(CONCEPTS) + 1
    for share, others in ((0.0, False), (1.0, True)):
        monkeypatch.setattr(data, "_STRANGER_SHARE", share)
        rng = np.random.default_rng(4)
        crops = [draw_crop(rng) for _ in range(60)]
        assert any(crop.target[OTHER] > 0 for crop in crops) == others
        assert any((crop.patches == OTHER).any() for crop in crops) == others


def test_emoji_strangers_come_from_the_trained_split_and_the_hand_of_the_crop() -> None:
    rng = np.random.default_rng(5)
    for hand in ("noto", "firefox"):
        trained = {each.name for each in strangers_of(hand, "trained")}
        drawn = [draw_stranger(rng, StyleVariant(hand)) for _ in range(4_000)]
        emoji = {name for name, look in drawn if look == StyleVariant(hand)}
        assert {name.removeprefix("stranger: ") for name in emoji} == trained
        icons = {look for name, look in drawn if name.startswith("icon: ")}
        assert icons == {StyleVariant("icons", colored=True)}


@pytest.mark.parametrize("style", ["symbola", "unifont", "icons"])
@pytest.mark.parametrize("colored", [False, True])
def test_strangers_of_line_drawings_are_icons(style: str, colored: bool) -> None:
    rng = np.random.default_rng(6)
    name, look = draw_stranger(rng, StyleVariant(style, colored))
    assert name.startswith("icon: ")
    assert look == StyleVariant("icons", colored)
    drawn = draw_look(rng, name, look, 40)
    assert drawn.shape == (40, 40, 4)
    assert drawn[..., 3].max() > 0.9


def test_the_kinds_of_a_batch_are_the_sums_of_its_concepts() -> None:
    _, concepts, kinds, _ = Crops(3, 8, 1)[0]
    torch.testing.assert_close(kinds.sum(1), torch.ones(8))
    torch.testing.assert_close(kinds[:, -2:], concepts[:, -2:])


def test_a_batch_depends_on_its_number_alone() -> None:
    first, again = Crops(3, 4, 10), Crops(3, 4, 10)
    _ = first[0]
    for one, other in zip(first[5], again[5], strict=True):
        assert torch.equal(one, other)


def test_the_captions_of_a_batch_depend_on_its_number_alone() -> None:
    first, again = Batches(3, 4, 10), Batches(3, 4, 10)
    _ = first[0]
    captions = [batch[5][1] for batch in (first, again)]
    for one, other in zip(*captions, strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(captions[0][0], first[6][1][0])


@pytest.fixture(scope="module")
def objective() -> Objective:
    torch.manual_seed(0)
    return Objective(build())


def shows(*names: str) -> torch.Tensor:
    """Targets of crops that show one thing each, or nothing."""
    order = [*(concept.name for concept in CONCEPTS), "nothing"]
    return torch.eye(len(order))[[order.index(name) for name in names]]


def test_a_scene_counts_by_the_worst_of_its_harmless_crops(objective: Objective) -> None:
    targets = shows("knife", "piano", "nothing", "dog")
    right = 20 * targets
    assert objective.scene_loss(right, targets).item() < 1e-3
    # One piano that looks like a knife is enough, however many crops are right.
    wrong = right.clone()
    wrong[1] = 20 * shows("knife")[0]
    assert objective.scene_loss(wrong, targets).item() == pytest.approx(np.log(2), abs=0.01)


def test_what_is_half_to_be_seen_counts_on_neither_side(objective: Objective) -> None:
    whole, half = shows("knife", "dog"), 0.3 * shows("knife") + 0.7 * shows("nothing")
    logits = 20 * torch.cat([whole, shows("knife")])
    loss = objective.scene_loss(logits, torch.cat([whole, half]))
    torch.testing.assert_close(loss, objective.scene_loss(logits[:2], whole))


def test_what_has_no_name_may_be_any_harmless_word_and_no_unsafe_one() -> None:
    rng = np.random.default_rng(6)
    logits, targets = rng.normal(size=(5, 7)), rng.dirichlet(np.ones(8), 5)
    unsafe = np.array([True, False, True, False, False, False, False])
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = 0.0
    for row, target in zip(chances, targets, strict=True):
        named = -sum(share * np.log(chance) for share, chance in zip(target[:-1], row, strict=True))
        expected += (named - target[-1] * np.log(row[~unsafe].sum())) / 5
    got = named_or_harmless(
        torch.from_numpy(logits), torch.from_numpy(targets), torch.from_numpy(unsafe)
    )
    assert got.item() == pytest.approx(expected)


def test_patches_of_something_else_count_as_much_as_others(objective: Objective) -> None:
    rng = np.random.default_rng(7)
    nothing = len(CONCEPTS)
    logits = rng.normal(size=(7, nothing + 1))
    labels = np.array([3, nothing, OTHER, IGNORED, OTHER, nothing, 0])
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    unsafe = objective.unsafe.numpy()
    odds = {3: 1.0, 0: 1.0, nothing: 0.3}
    named = [
        (odds[label], -np.log(chances[i, label])) for i, label in enumerate(labels) if label in odds
    ]
    strange = [-np.log(chances[i, ~unsafe].sum()) for i in (2, 4)]
    expected = sum(w * loss for w, loss in named) / sum(w for w, _ in named)
    expected += 2 / 6 * np.mean(strange)
    got = objective.patch_loss(torch.from_numpy(logits).float(), torch.from_numpy(labels))
    assert got.item() == pytest.approx(expected, rel=1e-5)


def test_without_something_else_the_patch_loss_is_the_cross_entropy(objective: Objective) -> None:
    logits, labels = torch.randn(4, len(CONCEPTS) + 1), torch.tensor([0, 5, IGNORED, len(CONCEPTS)])
    expected = torch.nn.functional.cross_entropy(logits, labels, objective.weights)
    torch.testing.assert_close(objective.patch_loss(logits, labels), expected)


def test_without_an_unsafe_crop_there_is_nothing_to_find(objective: Objective) -> None:
    logits = torch.randn(2, len(CONCEPTS) + 1, requires_grad=True)
    loss = objective.scene_loss(logits, shows("dog", "piano"))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert logits.grad.abs().max() == 0


def test_a_few_steps_lower_the_loss_and_move_the_average() -> None:
    torch.manual_seed(2)
    learner = Learner(build(), steps=12, rate=1e-3)
    before = {name: value.clone() for name, value in learner.learned.state_dict().items()}
    batch = Batches(0, 8, 1)[0]
    losses = [learner.step(batch)[0].item() for _ in range(12)]
    assert losses[-1] < losses[0]
    after = learner.learned.state_dict()
    assert any(not torch.equal(value, after[name]) for name, value in before.items())


def test_attention_by_products_is_the_attention_of_open_clip() -> None:
    torch.manual_seed(0)
    model = build().eval()
    pixels = torch.randn(2, 3, SIDE, SIDE)
    words = tokenized(bank(np.random.default_rng(0))[0][:5])
    with torch.inference_mode():
        expected = model.encode_image(pixels), model.encode_text(words)
        attend_by_products(model.visual.transformer)
        attend_by_products(model.transformer)
        got = model.encode_image(pixels), model.encode_text(words)
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_training_goes_on_from_a_saved_encoder(tmp_path: Path) -> None:
    torch.manual_seed(1)
    before, after = build(), build()
    save(before, tmp_path)
    adopt_encoder(after, tmp_path)
    for name, value in after.state_dict().items():
        torch.testing.assert_close(value, before.state_dict()[name], rtol=1e-3, atol=1e-4)


def test_a_blend_is_the_mean_of_both_encoders(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("before", "after")]
    for seed, folder in enumerate(folders):
        torch.manual_seed(seed)
        save(build().eval(), folder)
    first, second = (load_file(folder / "open_clip_model.safetensors") for folder in folders)
    mean = blended(*folders)
    for name in ("visual.conv1.weight", "logit_scale", "text_projection"):
        torch.testing.assert_close(mean[name], (first[name].float() + second[name].float()) / 2)
    assert not torch.equal(mean["visual.conv1.weight"], first["visual.conv1.weight"].float())
