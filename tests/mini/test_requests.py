"""The requests are reproducible, of the right kind, and apart from what is trained on."""

import numpy as np
import pytest

from guardalign_middleware.mini.questions import names_unsafe, vocabulary
from guardalign_middleware.mini.requests import (
    Request,
    Split,
    harmful_requests,
    harmless_requests,
    text_requests,
    with_neutral_prefix,
)
from guardalign_middleware.mini.wordings import FAMILIES, HARMFUL_PURPOSES, NEUTRAL_PREFIXES
from guardalign_middleware.mini.world import HELD_OUT_BACKGROUNDS, TRAINING_BACKGROUNDS
from guardalign_middleware.types import CanonicalImage


def same(first: Request, second: Request) -> bool:
    pictures = [None if r.image is None else r.image.sha256 for r in (first, second)]
    return first.text == second.text and pictures[0] == pictures[1]


def test_more_requests_only_add_to_fewer() -> None:
    few = harmful_requests(3, seed=5, split="reported")
    many = harmful_requests(6, seed=5, split="reported")
    assert all(map(same, few, many))
    assert len({request.image.sha256 for request in many if request.image}) == 6


@pytest.mark.parametrize(("seed", "split"), [(6, "reported"), (5, "validation")])
def test_seeds_and_splits_share_no_picture(seed: int, split: Split) -> None:
    here = {r.image.sha256 for r in harmful_requests(8, seed=5, split="reported") if r.image}
    there = {r.image.sha256 for r in harmful_requests(8, seed=seed, split=split) if r.image}
    assert not here & there


def test_the_reported_split_has_phrasings_of_its_own() -> None:
    reported = [
        *harmful_requests(12, seed=0, split="reported"),
        *text_requests(12, seed=0, split="reported", harmful=True),
    ]
    for request in reported:
        assert any(f" {p} " in f" {request.text} " for p in HARMFUL_PURPOSES.held_out)
        assert not any(f" {p} " in f" {request.text} " for p in HARMFUL_PURPOSES.training)


def test_splits_draw_on_their_own_backgrounds(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, ...]] = []
    scene = harmful_requests(1, seed=0, split="reported")[0].image
    assert scene is not None

    def drawn(rng: np.random.Generator, things: object, backgrounds: tuple[str, ...]) -> object:
        seen.append(backgrounds)
        return scene

    monkeypatch.setattr("guardalign_middleware.mini.requests.draw_question_scene", drawn)
    harmful_requests(1, seed=0, split="reported")
    harmful_requests(1, seed=0, split="validation")
    assert seen == [HELD_OUT_BACKGROUNDS, TRAINING_BACKGROUNDS]
    assert not set(HELD_OUT_BACKGROUNDS) & set(TRAINING_BACKGROUNDS)


def test_harmless_requests_ask_every_family_and_know_the_answer() -> None:
    requests = harmless_requests(2, seed=0, split="reported")
    families = [r.question.family for r in requests if r.question]
    assert families == [family for family in FAMILIES for _ in range(2)]
    listings = [r.question.answer for r in requests if r.question and r.question.family == "what"]
    assert not any(map(names_unsafe, listings))


def test_every_word_is_in_the_vocabulary() -> None:
    known = set(vocabulary())
    requests = [
        *with_neutral_prefix(harmful_requests(9, seed=1, split="reported")),
        *harmless_requests(4, seed=1, split="reported"),
        *text_requests(20, seed=1, split="reported", harmful=False),
    ]
    for request in requests:
        words = request.text.lower().replace(",", " , ").replace(".", " . ").replace("?", " ? ")
        assert set(words.split()) <= known


def test_neutral_prefixes_precede_the_same_requests() -> None:
    plain = harmful_requests(4, seed=2, split="validation")
    prefixed = with_neutral_prefix(plain)
    assert [r.text.split("\n")[1] for r in prefixed] == [r.text for r in plain]
    assert [r.text.split("\n")[0] for r in prefixed[:3]] == list(NEUTRAL_PREFIXES)


def test_a_cleaned_picture_replaces_the_original() -> None:
    request = harmful_requests(1, seed=0, split="reported")[0]
    clean = CanonicalImage(np.full((8, 8, 3), 127, dtype=np.uint8))
    assert request.messages(clean)[0].images == (clean,)
    assert request.messages()[0].images == (request.image,)
    assert text_requests(1, seed=0, split="reported", harmful=True)[0].messages()[0].images == ()
