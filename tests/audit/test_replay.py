from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from guardalign_middleware.audit import AuditLog, differences, matches, read_entries
from guardalign_middleware.testing import picture, red_guard
from guardalign_middleware.types import CanonicalImage
from tests.support.audit_logs import BOXES, KEY, OTHER_KEY, write
from tests.support.verdicts import make_verdict, plain_image


class TestReplay:
    def test_the_same_verdict_on_the_same_image_matches(self, tmp_path: Path) -> None:
        image = plain_image()
        write(tmp_path / "log", 1)
        AuditLog(tmp_path / "log", KEY).append(make_verdict(image, BOXES))
        *_, entry = read_entries(tmp_path / "log", KEY)
        elsewhere = CanonicalImage(image.pixels.copy(), "another name")
        again = make_verdict(elsewhere, BOXES)
        assert matches(entry, again, elsewhere, KEY)
        assert matches(entry, replace(again, distance=again.distance + 1e-9), elsewhere, KEY)

    @pytest.mark.parametrize(
        ("change", "names"),
        [
            ({"decision": "block"}, {"decision"}),
            ({"distance": 0.31}, {"distance"}),
            ({"distance": float("nan")}, {"distance"}),
            ({"threshold": 0.41}, {"threshold"}),
            ({"category": "drug"}, {"category"}),
            ({"regions": ()}, {"regions"}),
            ({"profile": "new"}, {"profile"}),
            ({"width": 41, "height": 29}, {"width", "height"}),
            ({"sha256": "0" * 64}, {"image"}),
        ],
    )
    def test_a_difference_is_named(
        self, tmp_path: Path, change: dict[str, Any], names: set[str]
    ) -> None:
        image = plain_image()
        verdict = make_verdict(image, BOXES)
        entry = AuditLog(tmp_path / "log", KEY).append(verdict)
        assert set(differences(entry, replace(verdict, **change), image, KEY)) == names
        assert not matches(entry, replace(verdict, **change), image, KEY)

    def test_another_image_encoder_or_key_does_not_match(self, tmp_path: Path) -> None:
        image, other = plain_image(), plain_image(seed=1)
        verdict = make_verdict(image, BOXES)
        entry = AuditLog(tmp_path / "log", KEY).append(verdict)
        assert differences(entry, make_verdict(other, BOXES), other, KEY) == ("image",)
        assert differences(entry, verdict, other, KEY) == ("image",)
        assert differences(entry, verdict, image, OTHER_KEY) == ("image",)
        encoder = replace(verdict.evidence, encoder="new")
        assert differences(entry, replace(verdict, evidence=encoder), image, KEY) == ("encoder",)

    def test_the_guard_replays_its_own_log(self, tmp_path: Path) -> None:
        image = picture(red=True)
        log = AuditLog(tmp_path / "log", KEY)
        log.append(red_guard().scan(image))
        log.append(red_guard().sanitize(image).verdict)
        for entry in read_entries(tmp_path / "log", KEY):
            assert entry.decision == "mask"
            assert matches(entry, red_guard().scan(image), image, KEY)
