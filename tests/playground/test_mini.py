"""With the miniature: γ moves attention, the tour shows what it says, and nothing is changed."""

import pytest

from guardalign_middleware.generation import CalibratedRunner
from guardalign_middleware.guard import GuardAlign
from guardalign_middleware.playground.answers import Answers, question
from guardalign_middleware.playground.attention import attention_to_prefix
from guardalign_middleware.playground.inspection import Inspector
from guardalign_middleware.playground.settings import Settings
from guardalign_middleware.playground.tour import STOPS, scene, scenes
from guardalign_middleware.testing import EchoRunner, picture, red_chain


@pytest.fixture(scope="module")
def chain() -> GuardAlign:
    return GuardAlign.from_preset("mini")


@pytest.mark.slow
def test_gamma_moves_the_attention_and_leaves_the_chains_own_runner(chain: GuardAlign) -> None:
    answers = Answers(chain)
    assert answers.calibrates()
    assert isinstance(chain.runner, CalibratedRunner)
    before = chain.runner.config.calibration.gamma
    shown = scene("dog-car-tree")
    weak, strong = (
        attention_to_prefix(answers.runner(gamma), shown.image, shown.request)
        for gamma in (0.1, 2.0)
    )
    assert weak is not None
    assert strong is not None
    assert weak.plain == strong.plain
    assert (weak.gamma, strong.gamma) == (0.1, 2.0)
    for layer in strong.active:
        assert strong.plain[layer] < weak.calibrated[layer] < strong.calibrated[layer]
    off = attention_to_prefix(answers.runner(0.0), shown.image, shown.request)
    assert off is not None
    assert (off.active, off.plain) == ((), off.calibrated)
    assert chain.runner.config.calibration.gamma == before
    assert answers.runner(before) is chain.runner


@pytest.mark.slow
def test_the_tour_shows_what_it_says(chain: GuardAlign) -> None:
    inspector = Inspector(chain.guard, 10**7)  # type: ignore[arg-type]
    own = Settings.of(chain.config, calibrated=True)
    said = []
    for stop in STOPS:
        shown = scene(stop.scene)
        inspection = inspector.measure(shown.image)
        verdict = inspector.verdict(inspection, own)
        said.append((verdict.decision, inspector.clean(inspection, verdict, own).verdict.decision))
    assert said == [("allow", "allow"), ("mask", "mask"), ("mask", "mask")]
    pistol = scene("pistol-apple")
    message = question(pistol.image, pistol.request)
    prefixed = chain.runner.generate([message], prefix=True, calibrate=False).text
    assert "pistol" in prefixed
    assert "pistol" not in chain.invoke([message]).text


def test_every_scene_has_a_title() -> None:
    titles = {each.name: each.title for each in scenes()}
    assert titles["syringe-pizza-cat"] == "Syringe, pizza and cat"
    assert titles["bomb"] == "Bomb"
    assert {stop.scene for stop in STOPS} <= titles.keys()
    with pytest.raises(KeyError):
        scene("unicorn")


def test_a_runner_without_attention_has_no_gamma() -> None:
    chain = red_chain(runner=EchoRunner())
    answers = Answers(chain)
    assert not answers.calibrates()
    assert answers.runner(1.0) is chain.runner
    assert attention_to_prefix(chain.runner, picture(), "what is it") is None
