"""Arms run through the product, answers are cached, and the report pairs every calibrated arm."""

from pathlib import Path

import numpy as np
import pytest
import torch

from guardalign_middleware.config import CalibrationConfig, RunnerConfig
from guardalign_middleware.generation import load_model
from guardalign_middleware.mini.requests import harmful_requests, harmless_requests
from guardalign_middleware.types import CanonicalImage
from training.llava.package import Form, save, untrained
from training.llava.sweep import PREFIX_ALONE
from training.study import arms as arms_module
from training.study.arms import Arm, CachedModel, Case, RunnerSetup, screened, views_of
from training.study.prefixes import NEW_WORDS, REVERSE_PREFIX, SAFE_PREFIX
from training.study.report import arms, contenders, reported, two_sided
from training.study.sweep import Cases, grid, safest, setting
from training.study.tower import CachingTower, Features

SMALL = Form(layers=2, context=1024, more_words=NEW_WORDS)
STRONG = CalibrationConfig(gamma=4.0, band=(0.0, 1.0))


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    out = tmp_path_factory.mktemp("study") / "model"
    save(untrained(SMALL), out, SMALL)
    return out


@pytest.fixture
def model(directory: Path, tmp_path: Path) -> CachedModel:
    config = RunnerConfig(model=str(directory), device="cpu", dtype="float32")
    return CachedModel(load_model(config), tmp_path / "answers.jsonl")


def cases(*, flagged: bool = True, cleaned: bool = True) -> list[Case]:
    grey = CanonicalImage(np.full((256, 256, 3), 127, dtype=np.uint8))
    return [
        Case(request, request.image, grey if cleaned else None, flagged)
        for request in harmful_requests(2, seed=3, split="validation")
        if request.image is not None
    ]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[RunnerSetup, int]]:
    """The setups of the generations, and their numbers of requests."""
    found: list[tuple[RunnerSetup, int]] = []
    original = CachedModel._generate

    def noted(self: CachedModel, setup: RunnerSetup, views: int, group: dict[str, object]) -> None:
        found.append((setup, len(group)))
        original(self, setup, views, group)  # type: ignore[arg-type]

    monkeypatch.setattr(arms_module.CachedModel, "_generate", noted)
    return found


def test_nothing_is_asked_twice_not_even_after_a_restart(
    model: CachedModel, directory: Path, tmp_path: Path, asked: list[tuple[RunnerSetup, int]]
) -> None:
    first = model.answers(Arm(views=1), cases())
    assert model.answers(Arm(views=1), cases()) == first
    config = RunnerConfig(model=str(directory), device="cpu", dtype="float32")
    again = CachedModel(load_model(config), tmp_path / "answers.jsonl")
    assert again.answers(Arm(views=1), cases()) == first
    assert asked == [(RunnerSetup(SAFE_PREFIX, PREFIX_ALONE), 2)]


@pytest.mark.parametrize(
    "other",
    [
        Arm(views=4),
        Arm(prefix=REVERSE_PREFIX, views=1),
        Arm(prefix=None, views=1),
        Arm(calibration=STRONG, views=1),
        Arm(guarding="always", views=1),
    ],
    ids=["views", "words", "no prefix", "calibration", "cleaned"],
)
def test_a_change_in_anything_an_answer_depends_on_asks_again(
    model: CachedModel, asked: list[tuple[RunnerSetup, int]], other: Arm
) -> None:
    model.answers(Arm(views=1), cases())
    model.answers(other, cases())
    assert len(asked) == 2


def test_a_blocked_picture_is_a_refusal_without_a_generation(
    model: CachedModel, asked: list[tuple[RunnerSetup, int]]
) -> None:
    found = model.answers(Arm(guarding="always"), cases(cleaned=False))
    assert all(answer.is_refusal for answer in found)
    assert asked == []


@pytest.mark.parametrize("flagged", [True, False])
def test_a_prefix_when_flagged_is_a_prefix_only_then(
    model: CachedModel, asked: list[tuple[RunnerSetup, int]], flagged: bool
) -> None:
    model.answers(Arm(calibration=STRONG, views=1, guarding="when_flagged"), cases(flagged=flagged))
    ((setup, _),) = asked
    assert setup == (
        RunnerSetup(SAFE_PREFIX, STRONG) if flagged else RunnerSetup(None, PREFIX_ALONE)
    )


def test_attention_is_seen_in_every_layer_and_calibration_raises_it(model: CachedModel) -> None:
    plain = model.prefix_attention(Arm(views=1), cases()[:1])
    raised = model.prefix_attention(Arm(calibration=STRONG, views=1), cases()[:1])
    assert len(plain[0]) == SMALL.layers
    assert all(after > before for before, after in zip(plain[0], raised[0], strict=True))


def test_a_tower_encodes_each_picture_once_with_the_same_features() -> None:
    torch.manual_seed(0)
    tower = untrained(SMALL).model.vision_tower.eval()
    memory: Features = {}
    pictures = torch.randn(3, 3, 84, 84)
    remembering = CachingTower(tower, memory)
    with torch.no_grad():
        expected = tower(pictures, output_hidden_states=True).hidden_states[-1]
        remembering(pictures[:2])
        found = remembering(pictures).hidden_states[-1]
        tower.forward = None  # type: ignore[assignment]
        again = CachingTower(tower, memory)(pictures.flip(0)).hidden_states[-1]
    torch.testing.assert_close(found, expected)
    assert torch.equal(again, found.flip(0))
    assert len(memory) == 3


def test_towers_with_other_weights_share_no_features() -> None:
    memory: Features = {}
    picture = torch.randn(1, 3, 84, 84)
    with torch.no_grad():
        for _ in range(2):
            CachingTower(untrained(SMALL).model.vision_tower.eval(), memory)(picture)
    assert len(memory) == 2


def test_screening_needs_pictures() -> None:
    requests = harmful_requests(1, seed=0, split="validation")
    with pytest.raises(ValueError, match="picture"):
        screened([*requests, type(requests[0])("words alone")], guard=None)  # type: ignore[arg-type]


def test_views_are_made_of_the_picture_as_the_model_reads_it() -> None:
    parts = views_of(cases()[0].image, 4)
    assert {part.image.pixels.shape for part in parts} == {(84, 84, 3)}


def test_an_arm_is_paired_with_itself_without_calibration(model: CachedModel) -> None:
    asked_of = Cases(cases(), [])
    harmless = harmless_requests(1, seed=3, split="validation", families=("how_to", "count"))
    asked_of.harmless.extend(
        Case(request, request.image, request.image, False)
        for request in harmless
        if request.image is not None
    )
    arm = Arm(views=1)
    found = reported([model], asked_of, arm, prefix="safe", calibration="alone")
    assert (found.newly_right, found.newly_wrong, found.p_right, found.p_changed) == (0, 0, 1, 1)
    assert found.setting == setting([model], arm, arm, asked_of)
    assert found.setting.comply.n == 2


def test_signs_are_tested_both_ways() -> None:
    assert two_sided(0, 0) == 1.0
    assert two_sided(8, 0) == two_sided(0, 8) == pytest.approx(2 / 2**8)


def test_every_setting_of_the_grid_is_another() -> None:
    settings = grid()
    assert len(set(settings)) == len(settings)
    assert all(item.gamma > 0 for item in settings)


def test_the_report_pairs_every_calibrated_arm_and_keeps_the_choice_apart() -> None:
    middle = CalibrationConfig().model_dump()
    second = CalibrationConfig(gamma=1.0).model_dump()
    first = CalibrationConfig(gamma=2.0, band=(0.0, 0.3)).model_dump()
    without = contenders({"none": {"chosen": None, "safest": first}})
    chosen = contenders({"none": {"chosen": second, "safest": first}})
    both = contenders({"none": {"chosen": middle, "safest": middle}})
    assert list(without) == ["safest", "default"]
    assert list(chosen) == ["chosen", "safest", "default"]
    assert list(both) == ["chosen"]
    listed = arms(without)
    assert len(set(listed)) == len(listed)
    alone = {
        (arm.prefix, arm.views, arm.guarding) for arm, _, calibration in listed
        if calibration == "alone"
    }  # fmt: skip
    assert all((arm.prefix, arm.views, arm.guarding) in alone for arm, _, _ in listed)


def test_junk_is_not_the_safest() -> None:
    class Counted:
        def __init__(self, comply: float, other: float) -> None:
            self.comply, self.other = (type("E", (), {"value": v}) for v in (comply, other))

    alone, junk = Counted(0.6, 0.03), Counted(0.0, 0.5)
    sound, weak = Counted(0.2, 0.04), Counted(0.4, 0.0)
    assert safest(alone, [junk, weak, sound]) is sound  # type: ignore[arg-type, list-item]
    with pytest.raises(ValueError, match="empty"):
        safest(alone, [junk])  # type: ignore[arg-type, list-item]
