"""Files that a set-up reads: presets, anchors, profiles and indexes of models.

Each case is a shipped file with something done to it. It is accepted, or refused by a typed error
that names a remedy or the place.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from random import Random

from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.detection.anchors import AnchorBank
from guardalign_middleware.detection.profile import ThresholdProfile
from guardalign_middleware.errors import ConfigError, GuardAlignError, ModelLoadError
from guardalign_middleware.model_folder.weights import named_weights
from tests.fuzz.mutate import mutate
from tests.fuzz.targets import Target

_SHIPPED = Path(str(files("guardalign_middleware")))
_VALUES = (
    *(".nan", ".inf", "-.inf", "-1", "0", "1e999", "1" + "0" * 400, "NaN", "Infinity", "-0.0"),
    *("true", "null", "~", "[]", "{}", "''", "'\\0'", '"\\ud800"', '"\\0"', "2026-02-31", "1:99"),
    *("2026-01-01T00:00:00+99:99", "0x", "0o9", "1_", "!!python/object:os.system {}", "!!binary a"),
    *("!!timestamp x", "!!int x", "!!set {a}", "!a b", "&a [*a]", "&a {b: *a}", "*a", "<<: *a"),
    *("%YAML 9", "---", "...", "? a", "- - -", ">", "|", "# a", "@", "`", "\t", "\ufeff", "\u2028"),
    *("../../etc/passwd", "/dev/zero", "local-dir:/proc/self", "hf-hub:a/b", "pytorch_model.bin"),
    *("[" * 300, "{a: " * 300, "[" * 20_000, "a: " * 50, "{" * 5_000 + "}" * 5_000),
)
_BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


def _edited(random: Random, text: str) -> str:
    """The text with a value, a line or a part of it changed."""
    lines = text.split("\n")
    for _ in range(random.choice((1, 1, 2, 5))):
        at = random.randrange(len(lines))
        kind = random.randrange(7)
        if kind < 3:
            # Between the key and the end of the line, where the value stands.
            key, colon, rest = lines[at].partition(":")
            end = "," if rest.endswith(",") else ""
            lines[at] = f"{key}{colon} {random.choice(_VALUES)}{end}"
        elif kind == 3:
            lines.insert(at, lines[random.randrange(len(lines))])
        elif kind == 4:
            del lines[at]
            lines = lines or [""]
        elif kind == 5:
            lines.insert(at, random.choice((_BOMB, *_VALUES)))
        else:
            lines[at] = " " * random.randint(0, 9) + lines[at].strip()
    return "\n".join(lines)


def _damaged(random: Random, seeds: tuple[str, ...]) -> bytes:
    text = random.choice(seeds)
    if random.random() < 0.8:
        return _edited(random, text).encode("utf-8", "surrogatepass")
    return mutate(random, text.encode(), [seed.encode() for seed in seeds])[:1_000_000]


def _shipped(*patterns: str) -> tuple[str, ...]:
    return tuple(
        path.read_text(encoding="utf-8")
        for pattern in patterns
        for path in sorted(_SHIPPED.glob(pattern))
    )


def make_preset(random: Random) -> bytes:
    """A preset file."""
    return _damaged(random, _shipped("presets/*.yaml"))


def make_anchors(random: Random) -> bytes:
    """A file of concepts."""
    return _damaged(random, _shipped("mini/anchors.yaml"))


def make_profile(random: Random) -> bytes:
    """A threshold profile."""
    return _damaged(random, _shipped("mini/profile.json"))


def make_index(random: Random) -> bytes:
    """The index of a model in several files."""
    names = {f"layer.{n}.weight": f"model-0000{n % 3}-of-00003.safetensors" for n in range(9)}
    index = {"metadata": {"total_size": 9}, "weight_map": names}
    return _damaged(random, (json.dumps(index, indent=1), json.dumps(index)))


def _outcome(read: Callable[[], object], kind: type[GuardAlignError]) -> str:
    try:
        read()
    except kind as error:
        return f"{kind.__name__}{'' if error.message else ' without a message'}"
    return "accepted"


def _at_a_path(data: bytes, name: str, read: Callable[[Path], object]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        return _outcome(lambda: read(path), ConfigError)


def check_preset(data: bytes) -> str:
    """A configuration, or what is wrong with the file."""
    return _at_a_path(data, "preset.yaml", GuardAlignConfig.load)


def check_anchors(data: bytes) -> str:
    """Concepts, or what is wrong with the file."""
    return _at_a_path(data, "anchors.yaml", AnchorBank.load)


def check_profile(data: bytes) -> str:
    """Thresholds that can be written and read again, or what is wrong with the file."""

    def read(path: Path) -> None:
        profile = ThresholdProfile.load(path)
        profile.save(path)
        assert ThresholdProfile.load(path).fingerprint == profile.fingerprint

    return _at_a_path(data, "profile.json", read)


def check_index(data: bytes) -> str:
    """Names of plain files of weights, or what is wrong with the index."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "model.safetensors.index.json").write_bytes(data)
        for number in range(3):
            (Path(folder) / f"model-0000{number}-of-00003.safetensors").touch()
        names: list[str] = []
        outcome = _outcome(lambda: names.extend(named_weights(Path(folder))), ModelLoadError)
    assert all("/" not in name and name.endswith(".safetensors") for name in names)
    return outcome


MODEL_FILES = {
    "presets": Target(make_preset, check_preset),
    "anchors": Target(make_anchors, check_anchors),
    "profiles": Target(make_profile, check_profile),
    "indexes": Target(make_index, check_index),
}
