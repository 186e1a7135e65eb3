"""Every shipped preset keeps its share of a request, and the page says what that buys."""

import open_clip
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from benchmarks.detection.cost import (
    FILE,
    HUB,
    MOST_SHARE,
    PICTURES,
    architecture,
    cost,
    real_presets,
    sights_table,
    tables,
)
from benchmarks.detection.families import FAMILIES, FOREIGN
from benchmarks.detection.hosted import boxed, claude, openai_patches
from benchmarks.detection.roofline import H200, TOWERS, Decoder, Tower, counted
from benchmarks.results import read_json
from guardalign_middleware.config import PatchConfig

PRESETS = real_presets()
PHOTO = (4000, 3000)


def test_every_runner_preset_has_its_family() -> None:
    assert {name for name, config in PRESETS.items() if config.runner is not None} == set(FAMILIES)


@pytest.mark.parametrize("name", PRESETS)
def test_a_runner_preset_looks_at_its_models_frames_and_the_others_at_all_forms(name: str) -> None:
    config = PRESETS[name]
    assert config.detection.sees == ("any" if config.runner is None else "model",)
    assert config.detection.encoder.precision == "bf16"  # as the costs are computed
    assert not config.detection.patches.sizes


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("picture", PICTURES)
def test_a_preset_keeps_its_share_of_a_request(name: str, picture: str) -> None:
    found = cost(PRESETS[name].detection, FAMILIES.get(name), *PICTURES[picture])
    assert found.crops <= PRESETS[name].detection.patches.max_crops
    assert found.share <= MOST_SHARE


@settings(deadline=None, max_examples=40)
@given(
    name=st.sampled_from(sorted(PRESETS)),
    width=st.integers(16, 8000),
    height=st.integers(16, 8000),
)
def test_no_size_of_picture_costs_more(name: str, width: int, height: int) -> None:
    assume(max(width, height) <= 100 * min(width, height))
    assert cost(PRESETS[name].detection, FAMILIES.get(name), width, height).share <= MOST_SHARE


@pytest.mark.parametrize("name", FAMILIES)
def test_a_runner_preset_sees_what_its_model_sees(name: str) -> None:
    """All crops down to the encoder's input fit the budget, at every shape."""
    for picture in PICTURES.values():
        found = cost(PRESETS[name].detection, FAMILIES[name], *picture)
        assert found.model_smallest is not None
        assert found.smallest == pytest.approx(found.model_smallest)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_strip_costs_no_more_than_a_photo(name: str) -> None:
    photo, strip = (
        cost(PRESETS[name].detection, FAMILIES[name], *size) for size in (PHOTO, (3000, 40))
    )
    assert strip.crops <= photo.crops


def test_a_larger_budget_or_overlap_costs_more() -> None:
    """The bound has something to hold back: without the budget, it breaks."""
    detection = PRESETS["siglip"].detection
    free = detection.model_copy(update={"patches": PatchConfig(max_crops=10_000)})
    assert cost(free, None, *PHOTO).share > MOST_SHARE


@pytest.mark.parametrize(
    ("name", "frames", "tokens"),
    [
        ("llava-1.5-7b", ((336, 336),), 576),
        ("gemma-3", ((896, 896),), 256),
        ("llava-next-8b", ((672, 505), (336, 336)), 2340),
        ("llava-onevision-7b", ((2304, 1728), (384, 384)), 7309),
        ("internvl", ((1792, 1344), (448, 448)), 3328),
        ("smolvlm", ((1536, 1152), (384, 384)), 1053),
        ("llama-3.2-11b-vision", ((1120, 840),), 6404),
        ("qwen2.5-vl-7b", ((4004, 2996),), 15_301),
        ("qwen3-vl", ((4000, 3008),), 11_750),
    ],
)
def test_frames_and_tokens_of_a_photo(
    name: str, frames: tuple[tuple[int, int], ...], tokens: int
) -> None:
    seen = FAMILIES[name].seen(*PHOTO)
    assert (seen.frames, seen.tokens) == (frames, tokens)


def test_the_roofline_of_a_known_model() -> None:
    """LLaVA-1.5 7B: 8.4 TFLOP or 10.6 ms of prefill, then 3.16 ms a token."""
    decoder = FOREIGN.decoder
    flops = decoder.prefill_flops(640, 0)
    assert flops == pytest.approx(8.4e12, rel=0.01)
    prefill = decoder.request_seconds(576, answer=0)
    assert prefill == pytest.approx(10.6e-3, rel=0.01)
    rest = (decoder.request_seconds(576) - prefill) / 128
    assert rest == pytest.approx(3.16e-3, rel=0.01)


def test_requests_that_are_answered_together_are_cheaper_as_the_page_says() -> None:
    alone, together = (FOREIGN.decoder.request_seconds(576, together=n) for n in (1, 16))
    assert alone / together == pytest.approx(9, rel=0.05)
    assert MOST_SHARE * alone / together == pytest.approx(0.45, abs=0.01)


def test_parameters_of_the_decoders() -> None:
    """In billions, without input embeddings; from the papers and cards of the models."""
    known = {"llava-1.5-7b": 6.61, "llava-1.5-13b": 12.85, "qwen3-vl": 7.57, "smolvlm": 1.71}
    for name, billions in known.items():
        assert FAMILIES[name].decoder.weights / 1e9 == pytest.approx(billions, abs=0.01)


def test_cross_layers_read_the_picture_and_not_the_prompt() -> None:
    plain = Decoder(32, 64, 4, 4, 16, 128, 100)
    crossed = Decoder(24, 64, 4, 4, 16, 128, 100, cross_layers=8)
    assert plain.weights == crossed.weights
    assert crossed.prefill_flops(10, 0) < plain.prefill_flops(10, 0)
    assert crossed.prefill_flops(10, 1000) > crossed.prefill_flops(10, 0)


@pytest.mark.parametrize(
    ("name", "giga"),
    [("ViT-B-32-quickgelu", 8.8), ("ViT-L-14-quickgelu", 162), ("ViT-L-14-336-quickgelu", 382)],
)
def test_operations_of_known_towers(name: str, giga: float) -> None:
    assert TOWERS[name].flops / 1e9 == pytest.approx(giga, rel=0.01)


def test_a_scan_reads_the_weights_at_least_once() -> None:
    small = Tower(224, flops=1.0, weights=1_000_000)
    assert small.scan_seconds(1) == 2e6 / H200.bandwidth
    assert TOWERS["ViT-B-16"].scan_seconds(500) == pytest.approx(500 * 35.1e9 / 790e12, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ViT-B-16", "ViT-B-16-SigLIP2", "MobileCLIP-S1"])
def test_the_stored_operations_are_those_of_the_real_tower(name: str) -> None:
    found, stored = counted(name), TOWERS[name]
    assert found.side == stored.side
    assert found.flops == pytest.approx(stored.flops, rel=0.03)
    assert found.weights == pytest.approx(stored.weights, rel=0.1)


@pytest.mark.parametrize("name", PRESETS)
def test_the_encoder_exists_and_its_cost_is_known(name: str) -> None:
    known = architecture(PRESETS[name].detection)
    assert known in open_clip.list_models()
    assert open_clip.get_model_config(known)["vision_cfg"]["image_size"] == TOWERS[known].side


def test_every_name_on_the_hub_is_used() -> None:
    models = {config.detection.encoder.model for config in PRESETS.values()}
    assert set(HUB) == {model for model in models if model.startswith("hf-hub:")}


class TestHosted:
    def test_sizes_of_a_photo(self) -> None:
        assert boxed(*PHOTO, long_side=2048, short_side=768) == (1024, 768)
        assert openai_patches(*PHOTO, most=1_536) == (1408, 1056)
        assert openai_patches(*PHOTO, most=2_500) == (1824, 1368)
        assert openai_patches(*PHOTO, most=10_000) == (3669, 2752)
        assert claude(*PHOTO, long_side=1568, tokens=1_568) == (1270, 952)
        assert claude(*PHOTO, long_side=2576, tokens=4_784) == (2212, 1659)
        assert boxed(*PHOTO, long_side=3072) == (3072, 2304)

    def test_a_small_picture_stays(self) -> None:
        assert boxed(480, 320, long_side=2048, short_side=768) == (480, 320)
        assert openai_patches(480, 320, most=1_536) == (480, 320)
        assert claude(480, 320, long_side=1568, tokens=1_568) == (480, 320)

    def test_the_page_says_what_a_named_form_does_not_cover(self) -> None:
        rows = sights_table()["rows"]
        assert [row[1] for row in rows if row[-1] != "yes"] == ["10,000 patches (original)"]


def test_the_stored_tables_are_those_of_the_presets() -> None:
    stored = read_json(FILE)
    assert tables(stored["measured"]) == stored["tables"], (
        "run: python -m benchmarks.detection.cost --keep"
    )
