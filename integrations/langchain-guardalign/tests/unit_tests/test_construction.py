"""How the guards are made: a preset or a guard, options that exist, and one warning of `mini`."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.language_models import FakeListChatModel
from langchain_core.runnables import ConfigurableField

from guardalign_middleware import ConfigError, GuardAlignConfig, ImageGuard
from guardalign_middleware.config import DetectionConfig
from guardalign_middleware.detection import Detector
from guardalign_middleware.handles import release_models
from guardalign_middleware.testing import picture, red_chain, red_guard
from langchain_guardalign import (
    ChatGuardAlign,
    GuardAlignMiddleware,
    GuardedChatModel,
    ImageGuardDocumentTransformer,
    ImageGuardRunnable,
)
from langchain_guardalign.cleaner import MessageCleaner


def _guarded(*args: Any, **options: Any) -> GuardedChatModel:
    return GuardedChatModel(FakeListChatModel(responses=["a"]), *args, **options)


GUARDS: dict[str, Callable[..., Any]] = {
    "ImageGuardRunnable": ImageGuardRunnable,
    "GuardAlignMiddleware": GuardAlignMiddleware,
    "ImageGuardDocumentTransformer": ImageGuardDocumentTransformer,
    "GuardedChatModel": _guarded,
}


def cleaner(made: Any) -> MessageCleaner:
    found: MessageCleaner = (made.guard if isinstance(made, GuardedChatModel) else made)._cleaner
    return found


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]


@pytest.mark.parametrize("name", GUARDS)
class TestEachGuard:
    def test_needs_a_preset_or_a_guard(self, name: str) -> None:
        with pytest.raises(ConfigError, match=rf"{name} needs a preset or a guard.*mini"):
            GUARDS[name]()
        with pytest.raises(ConfigError, match="needs a preset or a guard"):
            GUARDS[name](preset=None, guard=None, on_unsafe="notice")

    def test_takes_either_by_keyword_or_position(self, name: str) -> None:
        guard, make = red_guard(), GUARDS[name]
        for made in (make(guard), make(guard=guard)):
            assert cleaner(made).guard.get() is guard
        for made in (make("mini"), make(preset="mini")):
            assert cleaner(made).guard.config.name == "mini"
        file = Path(str(GuardAlignConfig.load("mini").detection.anchors)).parent.parent
        for made in (make(file / "presets/mini.yaml"), make(str(file / "presets/mini.yaml"))):
            assert cleaner(made).guard.config.name == "mini"

    def test_takes_one_of_them(self, name: str) -> None:
        for args, options in (
            ((), {"preset": "mini", "guard": red_guard()}),
            (("mini",), {"guard": red_guard()}),
            ((red_guard(),), {"preset": "mini"}),
            ((red_guard(),), {"guard": red_guard()}),
        ):
            with pytest.raises(ConfigError, match="Exactly one of preset and guard"):
                GUARDS[name](*args, **options)

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"guard": "mini"}, "Received 'mini'.*preset="),
            ({"guard": ImageGuard}, "Received the class ImageGuard"),
            ({"guard": red_chain()}, "Received a GuardAlign.*`guard`"),
            ({"guard": 3}, "guard should be an ImageGuard"),
            ({"preset": 3}, "preset should be a string or a path"),
            ({"preset": red_guard()}, "as guard="),
            ({"preset": ["mini"]}, "Received a list"),
            ({"preset": "nothing"}, "no preset named 'nothing'"),
        ],
    )
    def test_says_in_words_what_is_wrong(
        self, name: str, options: dict[str, Any], words: str
    ) -> None:
        with pytest.raises(ConfigError, match=words):
            GUARDS[name](**options)

    @pytest.mark.parametrize(
        ("misspelled", "meant"),
        [("presett", "preset"), ("on_unsave", "on_unsafe"), ("cachesize", "cache_size")],
    )
    def test_names_the_option_that_was_meant(self, name: str, misspelled: str, meant: str) -> None:
        with pytest.raises(ConfigError, match=f"{name} has no option .*mean '{meant}'"):
            GUARDS[name](preset="mini", **{misspelled: "x"})

    def test_refuses_any_other_option(self, name: str) -> None:
        with pytest.raises(ConfigError, match=f"{name} has no option 'zzz'"):
            GUARDS[name](red_guard(), zzz=1)

    def test_warns_once_that_mini_knows_drawn_pictures_only(
        self, name: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        GUARDS[name](red_guard())
        assert warnings(caplog) == []
        GUARDS[name]("mini")
        (warning,) = warnings(caplog)
        assert warning.startswith(name)
        assert "'mini'" in warning


def test_a_model_behind_a_guard_of_mini_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    model = ImageGuardRunnable("mini") | FakeListChatModel(responses=["a"])
    model.invoke("words")
    model.bind(stop=["b"]).with_fallbacks([FakeListChatModel(responses=["c"])]).invoke("words")
    assert len(warnings(caplog)) == 1


def test_mini_with_its_own_model_is_not_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    model = ChatGuardAlign()
    model.with_retry().bind(stop=["a"])
    _guarded(red_guard()).with_fallbacks([model])
    assert warnings(caplog) == []
    model.with_fallbacks([FakeListChatModel(responses=["c"])])
    assert len(warnings(caplog)) == 1


def test_configurable_fields_load_the_weights_once_and_warn_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loads: list[DetectionConfig] = []

    def load(config: DetectionConfig) -> Detector:
        loads.append(config)
        return red_guard().detector

    monkeypatch.setattr(Detector, "from_config", load)
    for number, name in enumerate(("one", "two")):
        config = GuardAlignConfig.load("mini").model_copy(update={"name": name})
        changed = config.detection.model_copy(update={"remembered_verdicts": number})
        config = config.model_copy(update={"detection": changed})
        (tmp_path / f"{name}.yaml").write_text(config.model_dump_json(), encoding="utf-8")
    one, two = (str(tmp_path / f"{name}.yaml") for name in ("one", "two"))
    guard: Any = ImageGuardRunnable(one).configurable_fields(
        on_unsafe=ConfigurableField("unsafe"), preset=ConfigurableField("preset")
    )
    for unsafe in ("mask", "notice", "flag"):
        guard.with_config(configurable={"unsafe": unsafe}).invoke(picture().to_pil())
    assert len(loads) == 1
    for preset in (two, one, two):
        guard.with_config(configurable={"preset": preset}).invoke(picture().to_pil())
    assert len(loads) == 2
    assert len(warnings(caplog)) == 1
    release_models()


def test_what_is_read_once_cannot_be_changed_and_the_rest_is_checked() -> None:
    guard = ImageGuardRunnable(guard=red_guard())
    for name in ("preset", "guard", "on_unsafe", "allow_unscanned", "notice", "cache_size"):
        with pytest.raises(ConfigError, match=f"{name} of ImageGuardRunnable is read only when"):
            setattr(guard, name, None)
    model = ChatGuardAlign(chain=red_chain())
    for name in ("preset", "chain"):
        with pytest.raises(ConfigError, match=f"{name} of ChatGuardAlign is read only when"):
            model.model_copy(update={name: None})
    for made in (guard, model):
        with pytest.raises(ConfigError, match="on_blocked should be one of"):
            made.on_blocked = "nonsense"
    model.temperature = 0.5
    guard.name = "guard"


def test_copies_share_what_is_loaded() -> None:
    guard, chain = red_guard(), red_chain()
    runnable = copy.deepcopy(ImageGuardRunnable(guard=guard))
    assert runnable.guard is guard
    assert runnable.invoke(picture().to_pil()) is not None
    assert copy.deepcopy(ChatGuardAlign(chain=chain)).chain is chain
    model = copy.deepcopy(ImageGuardRunnable(guard=guard) | FakeListChatModel(responses=["a"]))
    assert model.guard.guard is guard
    assert model.invoke("hello").text == "a"


def test_a_middleware_has_a_name_that_an_agent_takes() -> None:
    guard = red_guard()
    config = guard.config.model_copy(update={"name": "team:guard|v1"})
    middleware = GuardAlignMiddleware(ImageGuard(config, guard.detector))
    assert middleware.name == "GuardAlignMiddleware[team-guard-v1, mask]"
    create_agent(FakeListChatModel(responses=["a"]), middleware=[middleware])
