from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from guardalign_middleware.config import DetectionConfig, EncoderConfig, FormConfig, PatchConfig
from guardalign_middleware.detection.anchors import AnchorBank
from guardalign_middleware.detection.encoder import OpenClipEncoder
from guardalign_middleware.detection.meter import Meter
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.preset_files import LOCAL_DIR
from guardalign_middleware.words.guards.concepts import ConceptGuard
from guardalign_middleware.words.guards.guard import TextGuard

ROOT = Path(__file__).parents[3]
BANK = AnchorBank(
    categories={"weapon": ("pistol", "knife")}, neutral={"food": ("apple",), "dog": ("dog",)}
)


def meter(encoder: object) -> Meter:
    config = DetectionConfig(
        encoder=EncoderConfig(model="fake"),
        anchors=ROOT / "unused.yaml",
        sees=(FormConfig(kind="native"),),
        patches=PatchConfig(sizes=(32,), unit="pixels"),
    )
    return Meter(encoder, BANK, config.patches, config.transport, sees=config.sees)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def encoder() -> OpenClipEncoder:
    folder = ROOT / "guardalign_middleware" / "mini" / "clip"
    templates = ("{}", "a {}", "a picture of a {}")
    return OpenClipEncoder.load(EncoderConfig(model=f"{LOCAL_DIR}{folder}", templates=templates))


@pytest.mark.slow
def test_words_near_a_concept_are_nearer_than_others(encoder: OpenClipEncoder) -> None:
    guard: TextGuard = ConceptGuard(meter(encoder))
    knife, apple = guard.assess(["knife", "apple"])
    assert knife.category == "weapon"
    assert knife.distance < apple.distance


@pytest.mark.slow
def test_unknown_words_are_left_out_and_a_text_of_them_is_unknown(
    encoder: OpenClipEncoder,
) -> None:
    guard = ConceptGuard(meter(encoder))
    mixed, unknown, empty = guard.assess(
        ["Buy one “knife” tonight!", "gobbledygook xyzzy", "a of a"]
    )
    (alone,) = guard.assess(["knife"])
    assert mixed.distance == pytest.approx(alone.distance, abs=1e-6)
    for found in (unknown, empty):
        assert found.unknown
        assert found.distance == float("inf")
    assert guard.assess(["xyzzy"])[0].unknown


@pytest.mark.slow
def test_a_text_longer_than_the_encoder_reads_is_read_to_its_end(
    encoder: OpenClipEncoder,
) -> None:
    guard = ConceptGuard(meter(encoder))
    (found,) = guard.assess(["apple " * 100 + "knife"])
    (without,) = guard.assess(["apple " * 100])
    assert found.distance < without.distance


class Plain:
    """An encoder for pictures and concepts only."""

    image_size = 32
    fingerprint = "plain"

    def encode_images(self, pixels: Tensor) -> Tensor:
        return torch.eye(3)[: len(pixels)]

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        return torch.eye(3)[: len(texts)]


def test_an_encoder_that_cannot_say_what_it_knows_is_refused() -> None:
    with pytest.raises(ConfigError, match="which words it knows"):
        ConceptGuard(meter(Plain()))
