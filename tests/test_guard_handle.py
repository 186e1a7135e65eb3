"""The guard without a model behind it, as the adapters hold it."""

from __future__ import annotations

import copy
import hashlib
import os
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from guardalign_middleware import ConfigError, GuardAlign, GuardAlignConfig, ImageGuard
from guardalign_middleware.config import DetectionConfig
from guardalign_middleware.detection import Detector
from guardalign_middleware.handles import (
    LazyChain,
    LazyGuard,
    guard_handle,
    no_warnings,
    release_models,
)
from guardalign_middleware.testing import (
    EchoRunner,
    picture,
    red_chain,
    red_config,
    red_guard,
)
from guardalign_middleware.testing.guards import red_detector
from tests.support.word_doubles import BadJudge, word_guard


def preset(tmp_path: Path, **changes: object) -> Path:
    """A preset without a runner, whose files exist."""
    (tmp_path / "anchors.yaml").write_text("categories: {}", encoding="utf-8")
    (tmp_path / "profile.json").write_text("{}", encoding="utf-8")
    path = tmp_path / "own.yaml"
    detection = {
        "encoder": {"model": "local-dir:encoder"},
        "anchors": "anchors.yaml",
        "profile": "profile.json",
    }
    path.write_text(yaml.safe_dump({"name": "own", "detection": detection, **changes}))
    return path


def fingerprint(path: Path) -> str:
    return str(LazyGuard(preset=path).identity["fingerprint"])


def test_exactly_one_source() -> None:
    with pytest.raises(ConfigError, match="preset and guard"):
        LazyGuard()
    with pytest.raises(ConfigError, match="preset and guard"):
        LazyGuard(preset="mini", guard=red_guard())


def test_an_adapter_takes_a_preset_or_a_guard_by_keyword_or_position(tmp_path: Path) -> None:
    guard = red_guard()
    assert guard_handle(guard=guard, owner="A").get() is guard
    assert guard_handle(source=guard, owner="A").get() is guard
    path = preset(tmp_path)
    for given in ({"preset": path}, {"preset": str(path)}, {"source": path}, {"source": str(path)}):
        assert guard_handle(**given, owner="A").config.name == "own"
    with pytest.raises(ConfigError, match="Exactly one of preset and guard"):
        guard_handle("mini", guard, owner="A")
    for named in ({"preset": "mini"}, {"guard": guard}):
        with pytest.raises(ConfigError, match="An Adapter got a positional argument beside"):
            guard_handle(**named, source=guard, owner="An Adapter")


def test_there_is_no_default() -> None:
    with pytest.raises(ConfigError, match=r'Adapter needs a preset or a guard.*preset="mini"'):
        guard_handle(owner="Adapter")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"guard": "mini"}, r"guard should be an ImageGuard. Received 'mini'.*as preset="),
        ({"guard": ImageGuard}, r"Received the class ImageGuard.*from_preset"),
        ({"guard": red_chain()}, r"Received a GuardAlign.*its attribute `guard`"),
        ({"guard": 3}, "guard should be an ImageGuard. Received 3"),
        ({"guard": object()}, "Received an object"),
        ({"source": ImageGuard}, "Received the class ImageGuard"),
        ({"source": b"mini"}, "guard should be an ImageGuard. Received a bytes"),
        ({"preset": 3}, "preset should be a string or a path. Received 3"),
        ({"preset": red_guard()}, r"Received an ImageGuard.*as guard="),
        ({"preset": red_config()}, "Received a GuardAlignConfig.*as guard="),
        ({"preset": ImageGuard}, "Received the class ImageGuard"),
        ({"preset": ["mini"]}, "Received a list"),
        ({"preset": ""}, "no preset named ''"),
    ],
)
def test_a_wrong_type_is_an_error_in_words(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        guard_handle(**given, owner="A")


class TestTheWarningOfMini:
    def warnings(self, caplog: pytest.LogCaptureFixture) -> list[str]:
        return [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]

    def test_is_logged_once_for_each_handle(self, caplog: pytest.LogCaptureFixture) -> None:
        handle = guard_handle("mini", owner="SomeAdapter")
        handle.warn_of_mini("Other")
        pickle.loads(pickle.dumps(copy.deepcopy(handle)))
        (warning,) = self.warnings(caplog)
        assert "SomeAdapter" in warning
        assert "clip-vit-l-14-336" in warning
        assert caplog.records[0].name.startswith("guardalign_middleware.")

    def test_concerns_any_preset_with_its_encoder(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        guard_handle(preset(tmp_path), owner="A")
        assert self.warnings(caplog) == []
        config = GuardAlignConfig.load("mini").model_copy(update={"name": "mine"})
        guard_handle(guard=red_guard(config), owner="A")
        assert len(self.warnings(caplog)) == 1

    def test_not_in_front_of_its_own_model(self, caplog: pytest.LogCaptureFixture) -> None:
        LazyChain("mini")
        with no_warnings():
            guard_handle("mini", owner="A")
        assert self.warnings(caplog) == []

    def test_in_front_of_another_local_model(self, caplog: pytest.LogCaptureFixture) -> None:
        LazyChain(chain=red_chain(GuardAlignConfig.load("mini")))
        assert "the model echo" in self.warnings(caplog)[0]


class TestSharing:
    """Handles of one preset load it once."""

    @pytest.fixture(autouse=True)
    def loads(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[DetectionConfig]]:
        loads: list[DetectionConfig] = []

        def load(config: DetectionConfig) -> Detector:
            loads.append(config)
            return red_detector()

        monkeypatch.setattr(Detector, "from_config", load)
        release_models()
        yield loads
        release_models()

    def test_handles_share_a_guard_and_its_memory(
        self, tmp_path: Path, loads: list[DetectionConfig]
    ) -> None:
        path = preset(tmp_path)
        first, second = LazyGuard(path), LazyGuard(str(path))
        assert first.get() is second.get()
        assert LazyGuard(path).get() is first.get()
        assert len(loads) == 1

    def test_settings_that_the_detector_does_not_see_get_a_guard_of_their_own(
        self, tmp_path: Path, loads: list[DetectionConfig], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GUARDALIGN_TEST_KEY", hashlib.sha256(b"a").hexdigest())
        audit = {"log": "log.jsonl", "key_variable": "GUARDALIGN_TEST_KEY"}
        changes: list[dict[str, Any]] = [
            {},
            {"on_fault": "allow"},
            {"sanitize": {"fill": [0, 0, 0]}},
            {"blocked_reply": "No."},
            {"intake": {"max_bytes": 5}},
            {"audit": audit},
        ]
        handles = [LazyGuard(preset(tmp_path, **change)) for change in changes]
        guards = [handle.get() for handle in handles]
        monkeypatch.setenv("GUARDALIGN_TEST_KEY", hashlib.sha256(b"b").hexdigest())
        for file in tmp_path.glob("log.jsonl*"):
            file.unlink()  # a log has one key
        handles.append(LazyGuard(preset(tmp_path, audit=audit)))
        guards.append(handles[-1].get())
        assert len({id(guard) for guard in guards}) == len(guards)
        assert len({id(guard.detector) for guard in guards}) == 1
        assert [guard.config for guard in guards] == [handle.config for handle in handles]
        assert len(loads) == 1

    def test_a_changed_file_is_another_detector(
        self, tmp_path: Path, loads: list[DetectionConfig]
    ) -> None:
        path = preset(tmp_path)
        before = LazyGuard(path).get()
        (tmp_path / "profile.json").write_text('{"threshold": 1}', encoding="utf-8")
        assert LazyGuard(path).get() is not before
        (tmp_path / "encoder").mkdir()
        (tmp_path / "encoder" / "model.safetensors").write_bytes(b"weights")
        LazyGuard(path).get()
        assert len(loads) == 3

    def test_a_guard_lives_with_any_of_its_handles(
        self, tmp_path: Path, loads: list[DetectionConfig]
    ) -> None:
        path = preset(tmp_path)
        kept = LazyGuard(path)  # never asked for its guard
        LazyGuard(path).get()
        release_models()
        LazyGuard(path).get()
        assert len(loads) == 1
        assert kept.config.name == "own"

    def test_the_last_used_live_on_without_a_handle_until_they_are_released(
        self, tmp_path: Path, loads: list[DetectionConfig]
    ) -> None:
        path = preset(tmp_path)
        for _ in range(3):
            LazyGuard(path).get()
        assert len(loads) == 1
        for number in range(4):
            LazyGuard(preset(tmp_path, detection=_other_detection(number))).get()
        assert len(loads) == 5
        LazyGuard(preset(tmp_path)).get()
        assert len(loads) == 6
        release_models()
        LazyGuard(path).get()
        assert len(loads) == 7

    def test_a_fault_while_loading_is_not_remembered(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        handle = LazyGuard(preset(tmp_path))
        with monkeypatch.context() as patch:
            patch.setattr(Detector, "from_config", lambda _: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                handle.get()
        assert handle.get().config.name == "own"

    def test_threads_load_it_once(self, tmp_path: Path, loads: list[DetectionConfig]) -> None:
        path = preset(tmp_path)
        handles = [LazyGuard(path) for _ in range(8)]
        with ThreadPoolExecutor(8) as pool:
            guards = list(pool.map(LazyGuard.get, handles))
        assert len(loads) == 1
        assert len({id(guard) for guard in guards}) == 1

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
    def test_a_forked_process_loads_its_own(
        self, tmp_path: Path, loads: list[DetectionConfig]
    ) -> None:
        unused = LazyGuard(preset(tmp_path))
        LazyGuard(preset(tmp_path)).get().scan(picture())
        if (child := os.fork()) == 0:
            try:
                unused.get().scan(picture())
                os._exit(0 if len(loads) == 2 else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _other_detection(number: int) -> dict[str, Any]:
    return {
        "encoder": {"model": "local-dir:encoder"},
        "anchors": "anchors.yaml",
        "profile": "profile.json",
        "remembered_verdicts": number,
    }


async def test_it_loads_once_and_needs_no_runner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[DetectionConfig] = []

    def load(config: DetectionConfig) -> Detector:
        loads.append(config)
        return red_detector()

    monkeypatch.setattr(Detector, "from_config", load)
    lazy = LazyGuard(preset=preset(tmp_path))
    before = lazy.identity
    assert loads == []
    assert lazy.get() is await lazy.aget()
    assert len(loads) == 1
    assert lazy.identity == before


def test_copies_are_the_same_guard_and_pickles_load_again(tmp_path: Path) -> None:
    lazy = LazyGuard(preset=preset(tmp_path))
    assert copy.copy(lazy) is lazy
    assert copy.deepcopy([lazy]) == [lazy]
    again = pickle.loads(pickle.dumps(lazy))
    assert type(again) is LazyGuard
    assert again.config == lazy.config
    with pytest.raises(TypeError, match="preset"):
        pickle.dumps(LazyGuard(guard=red_guard()))


def test_identity_changes_with_what_could_change_a_cleaned_image_and_nothing_else(
    tmp_path: Path,
) -> None:
    plain = fingerprint(preset(tmp_path))
    assert fingerprint(preset(tmp_path, runner={"model": "./llava"})) == plain
    assert fingerprint(preset(tmp_path, sanitize={"fill": [0, 0, 0]})) != plain
    path = preset(tmp_path)
    (tmp_path / "anchors.yaml").write_text("categories: {a: [b]}", encoding="utf-8")
    assert fingerprint(path) != plain
    given = LazyGuard(guard=red_guard()).identity
    assert given["guard"] == "red"
    changed = red_guard(red_config(blocked_reply="No."))
    assert LazyGuard(guard=changed).identity != given


def test_another_judge_of_words_makes_another_identity() -> None:
    lenient, same, strict = BadJudge(), BadJudge(), BadJudge()
    strict.fingerprint = "strict"
    guards = [word_guard("guard", judge) for judge in (lenient, same, strict)]
    first, again, other = (LazyGuard(guard=guard).identity for guard in guards)
    assert first == again != other
    first, again, other = (
        LazyChain(chain=GuardAlign(guard, EchoRunner())).identity for guard in guards
    )
    assert first == again != other
