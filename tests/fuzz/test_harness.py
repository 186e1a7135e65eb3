"""The harness finds each kind of failure and saves its input."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from tests.fuzz.__main__ import fuzz, report
from tests.fuzz.mutate import heal_png, mutate
from tests.fuzz.seeds import FORMATS, plain_png, seed_files
from tests.fuzz.targets import NAMES, REASONS, target
from tests.fuzz.worker import case_of


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("crash", "SIGSEGV"),
        ("hang", "more than 0.5 seconds of processor time"),
        ("grow", "MemoryError"),
        ("raise_untyped", "KeyError"),
    ],
)
@pytest.mark.slow
def test_every_kind_of_failure_is_found_and_written_down(
    kind: str, words: str, tmp_path: Path
) -> None:
    name = f"broken-{kind}"
    done = fuzz(name, 1.0, 7, cpu_seconds=0.5, folder=tmp_path)
    assert done.executions == len(done.findings) >= 1
    first = tmp_path / f"{name}-7.txt"
    assert str(first) == done.findings[0]
    text = first.read_text()
    assert f"--target {name} --case 7" in text
    assert words in text
    assert str(case_of(name, target(name), 7)) in text
    assert "finding" in report({name: done})


def test_the_core_is_fuzzed_without_torch() -> None:
    code = "import sys, tests.fuzz.worker; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_number_names_a_case() -> None:
    chosen = target("intake")
    assert case_of("intake", chosen, 3) == case_of("intake", chosen, 3)
    assert case_of("intake", chosen, 3) != case_of("intake", chosen, 4)


def test_the_seeds_are_valid_files_of_every_format() -> None:
    check = target("intake").check
    from guardalign_middleware.config import IntakePolicy

    outcomes = [
        check((data, IntakePolicy(formats=FORMATS, frames="scan_all"))) for data in seed_files()
    ]
    # Float and Lab pictures have no declared white; they are included for their readers.
    refused = {word for word in outcomes if not word.startswith("accepted")}
    assert refused == {"ImageRejected: unsupported_mode"}
    assert outcomes.count("accepted with several frames") == 6


def test_damage_gets_past_the_checksums_of_a_png() -> None:
    data = bytearray(plain_png())
    data[24] ^= 1
    assert heal_png(plain_png()) == plain_png()
    assert heal_png(bytes(data)) != bytes(data)
    assert heal_png(heal_png(bytes(data))) == heal_png(bytes(data))
    for cut in range(len(data)):
        assert len(heal_png(bytes(data[:cut]))) == cut


def test_mutations_end_and_stay_small() -> None:
    files = seed_files()
    for number in range(300):
        assert len(mutate(Random(number), files[number % len(files)], files)) < 10_000_000


def test_the_documented_reasons_are_read() -> None:
    assert {"corrupt", "timed_out", "bad_data_url"} <= REASONS
    assert len(REASONS) >= 20
    assert len(NAMES) == 10
