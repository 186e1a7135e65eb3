from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from guardalign_middleware import CalibratedRunner, ConfigError, GuardAlign, ImageGuard
from guardalign_middleware.config import (
    CalibrationConfig,
    GuardAlignConfig,
    PrefixConfig,
    RunnerConfig,
)
from guardalign_middleware.detection import AnchorBank, Detector
from guardalign_middleware.handles import LazyChain, LazyGuard
from guardalign_middleware.identity import chain_identity
from guardalign_middleware.provenance import Provenance, note_files
from guardalign_middleware.replies import Generated
from guardalign_middleware.testing import EchoRunner, red_chain, red_config, red_guard
from guardalign_middleware.testing.guards import red_detector
from guardalign_middleware.types import Action, Message


def preset(tmp_path: Path, **changes: Any) -> Path:
    """A preset whose files exist, so that their contents count."""
    (tmp_path / "anchors.yaml").write_text("categories: {}", encoding="utf-8")
    (tmp_path / "profile.json").write_text('{"threshold": 0.2}', encoding="utf-8")
    path = tmp_path / "own.yaml"
    data = {
        "name": "own",
        "detection": {
            "encoder": {"model": "local-dir:encoder"},
            "anchors": "anchors.yaml",
            "profile": "profile.json",
        },
        "runner": {"model": "./llava"},
        **changes,
    }
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return path


def test_exactly_one_source() -> None:
    with pytest.raises(ConfigError, match="Exactly one"):
        LazyChain()
    with pytest.raises(ConfigError, match="Exactly one"):
        LazyChain(preset="mini", chain=red_chain())


def test_a_wrong_preset_is_noticed_at_once() -> None:
    with pytest.raises(ConfigError, match="no preset"):
        LazyChain(preset="nope")


async def test_a_given_chain_is_the_chain() -> None:
    chain = red_chain()
    lazy = LazyChain(chain=chain)
    assert lazy.get() is chain
    assert await lazy.aget() is chain
    assert lazy.config is chain.config
    assert lazy.runner_config is chain.runner.config


def test_many_threads_load_one_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[RunnerConfig] = []
    started = threading.Barrier(8)

    def load(config: RunnerConfig) -> EchoRunner:
        loads.append(config)
        return EchoRunner()

    monkeypatch.setattr(Detector, "from_config", lambda _: red_detector())
    monkeypatch.setattr(CalibratedRunner, "from_config", load)
    lazy = LazyChain(preset=preset(tmp_path))
    assert loads == []

    def get(_: int) -> GuardAlign:
        started.wait(300)
        return lazy.get()

    with ThreadPoolExecutor(8) as pool:
        chains = list(pool.map(get, range(8)))
    assert len(loads) == 1
    assert all(chain is chains[0] for chain in chains)


def test_chains_and_guards_of_one_preset_share_their_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runners: list[EchoRunner] = []

    def load(config: RunnerConfig) -> EchoRunner:
        runners.append(EchoRunner())
        return runners[-1]

    monkeypatch.setattr(Detector, "from_config", lambda _: red_detector())
    monkeypatch.setattr(CalibratedRunner, "from_config", load)
    path = preset(tmp_path)
    first, second, guard = LazyChain(path), LazyChain(path), LazyGuard(path)
    assert first.get().runner is second.get().runner
    assert first.get().guard is second.get().guard is guard.get()
    other = LazyChain(preset(tmp_path, blocked_reply="No."))
    assert other.get().runner is runners[0]
    assert other.get().config.blocked_reply == "No."
    assert len(runners) == 1
    changed = LazyChain(preset(tmp_path, runner={"model": "./llava", "prefix": {"text": "Be."}}))
    assert changed.get().runner is runners[1]
    assert changed.get().guard.detector is first.get().guard.detector


def test_copies_are_the_same_chain_and_pickles_load_again(tmp_path: Path) -> None:
    lazy = LazyChain(preset=preset(tmp_path))
    assert copy.copy(lazy) is lazy
    assert copy.deepcopy({"a": lazy})["a"] is lazy
    again = pickle.loads(pickle.dumps(lazy))
    assert again.config == lazy.config
    with pytest.raises(TypeError, match="preset"):
        pickle.dumps(LazyChain(chain=red_chain()))


def test_identity_is_the_same_before_and_after_loading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Detector, "from_config", lambda _: red_detector())
    monkeypatch.setattr(CalibratedRunner, "from_config", lambda _: EchoRunner())
    lazy = LazyChain(preset=preset(tmp_path))
    before = lazy.identity
    lazy.get()
    assert lazy.identity == before
    assert LazyChain(preset=preset(tmp_path)).identity == before


def test_identity_changes_with_whatever_could_change_an_answer(tmp_path: Path) -> None:
    def fingerprint(**changes: Any) -> str:
        return str(LazyChain(preset=preset(tmp_path, **changes)).identity["fingerprint"])

    seen = [
        fingerprint(),
        fingerprint(blocked_reply="no"),
        fingerprint(sanitize={"fill": [0, 0, 0]}),
        fingerprint(runner={"model": "./llava", "prefix": {"text": "Be safe."}}),
        fingerprint(runner={"model": "./llava", "calibration": {"gamma": 0.7}}),
    ]
    path = preset(tmp_path)
    (tmp_path / "profile.json").write_text('{"threshold": 0.3}', encoding="utf-8")
    seen.append(LazyChain(preset=path).identity["fingerprint"])
    path = preset(tmp_path)
    (tmp_path / "anchors.yaml").write_text("categories: {a: [b]}", encoding="utf-8")
    seen.append(LazyChain(preset=path).identity["fingerprint"])
    assert len(set(seen)) == len(seen)


def test_identity_changes_with_the_weights_in_a_folder(tmp_path: Path) -> None:
    weights = tmp_path / "llava" / "model.safetensors"
    weights.parent.mkdir()
    path = preset(tmp_path, runner={"model": str(weights.parent)})
    seen, compared = [], set()
    for content in (b"one", b"three"):
        weights.write_bytes(content)
        compared.add(chain_identity(GuardAlignConfig.load(path), None)["fingerprint"])
        seen.append(LazyChain(preset=path).identity)
        # Of what was loaded, too, whatever became of the folder since.
        runner: Any = EchoRunner()
        runner.provenance = Provenance("llava", None, note_files([weights]))
        seen.append(LazyChain(chain=red_chain(runner=runner)).identity)
    assert len({one["fingerprint"] for one in seen}) == 4
    # What is compared between machines knows no times of files.
    assert len(compared) == 1


def test_identity_changes_with_a_hook_for_answers() -> None:
    class Hook:
        def __init__(self, fingerprint: object = None) -> None:
            self.fingerprint = fingerprint

        def __call__(self, messages: Sequence[Message], answer: Generated) -> Generated:
            return answer

    def identity(hook: Hook | None) -> str:
        chain = GuardAlign(red_guard(), EchoRunner(), on_output=hook)
        assert chain_identity(chain.config, chain) == chain_identity(chain.config, chain)
        return str(LazyChain(chain=chain).identity["fingerprint"])

    own = Hook()
    hooks = [None, own, own, Hook(), Hook("one"), Hook("two")]
    # Those of one hook, too: it does not say that it always decides alike.
    assert len({identity(hook) for hook in hooks}) == len(hooks)
    assert identity(Hook("one")) == identity(Hook("one"))
    assert identity(None) == identity(None)


def test_identity_changes_with_the_action_of_a_category() -> None:
    def identities(action: Action) -> tuple[str, str]:
        plain = red_detector()
        meter = plain.meters[0]
        bank = AnchorBank(meter.anchors.categories, meter.anchors.neutral, {"weapon": action})
        acting = Detector.from_parts(meter.encoder, bank, plain.config, plain.profile)
        guard = ImageGuard(red_config(), acting)
        chain = GuardAlign(guard, EchoRunner())
        return (
            str(LazyChain(chain=chain).identity["fingerprint"]),
            str(LazyGuard(guard=guard).identity["fingerprint"]),
        )

    for flagged, masked in zip(identities("flag"), identities("mask"), strict=True):
        assert flagged != masked


def test_identity_of_a_given_chain_knows_its_runner() -> None:
    runner = EchoRunner()
    runner.config = RunnerConfig(
        model="echo",
        prefix=PrefixConfig(text="Be safe.", policy="when_flagged"),
        calibration=CalibrationConfig(gamma=0.7),
    )
    identity = LazyChain(chain=red_chain(runner=runner)).identity
    assert identity["safety_prefix"] == "Be safe."
    assert identity["prefix_policy"] == "when_flagged"
    assert identity["gamma"] == 0.7
    plain = LazyChain(chain=red_chain()).identity
    assert plain["fingerprint"] != identity["fingerprint"]
    other = LazyChain(chain=red_chain(red_config(blocked_reply="no")))
    assert other.identity["fingerprint"] != plain["fingerprint"]
