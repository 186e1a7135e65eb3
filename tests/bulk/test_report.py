"""The page about a scan: what it counts, shows and hides, and how it works in a browser."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from guardalign_middleware.bulk.records import to_record
from guardalign_middleware.bulk.report import write_report
from guardalign_middleware.canonical import CanonicalImage
from guardalign_middleware.config import IntakePolicy, OutputConfig
from guardalign_middleware.detection import decision
from guardalign_middleware.encode import DEFAULT_OUTPUT
from guardalign_middleware.image_guard import ImageGuard
from guardalign_middleware.testing import all_red, picture, png, red_config, red_guard
from guardalign_middleware.thumbnails import covered_thumbnail, thumbnail

NAME = "</script><img src=x onerror=alert(1)>.png"


def record(source: str, decision: str = "allow", **more: Any) -> dict[str, Any]:
    distance = 0.9 if decision == "allow" else 0.1
    told = {"source": source, "decision": decision, "category": "weapon", "distance": distance}
    return {**told, "threshold": 0.2, "regions": [], "seconds": 0.5, **more}


def scanned(path: Path, guard: ImageGuard) -> dict[str, Any]:
    """A line about a file."""
    return to_record(guard.scan(path), str(path))


def shows_red(url: str) -> bool:
    file = io.BytesIO(base64.b64decode(url.split(",")[1]))
    pixels = np.asarray(Image.open(file).convert("RGB"))
    return bool(np.any((pixels[..., 0] > 150) & (pixels[..., 1] < 90)))


def page_of(
    tmp_path: Path, records: list[dict[str, Any]], output: OutputConfig = DEFAULT_OUTPUT
) -> Path:
    lines = tmp_path / "results.jsonl"
    lines.write_text("".join(json.dumps(each) + "\n" for each in records))
    write_report(lines, tmp_path / "report.html", IntakePolicy(), output)
    return tmp_path / "report.html"


def data_of(page: Path) -> dict[str, Any]:
    (text,) = re.findall(r'id="data">(.*?)</script>', page.read_text(), re.DOTALL)
    found: dict[str, Any] = json.loads(text)
    return found


def test_everything_is_counted_and_no_name_breaks_out(tmp_path: Path) -> None:
    page = page_of(
        tmp_path,
        [
            record("a.png"),
            record("b.png", "mask"),
            record("c.gif", "block", frame=2, frames=3),
            {"source": NAME, "error": f"{NAME} is no picture."},
        ],
    )
    assert page.read_text().count("</script>") == 2
    data = data_of(page)
    found = {"allow": 1, "undecided": 0, "mask": 1, "block": 1, "error": 1}
    assert data["counts"] == {"all": 4, **found}
    assert data["categories"] == [["weapon", 2]]
    assert sum(data["histogram"]["safe"]) == 1
    assert sum(data["histogram"]["unsafe"]) == 2
    assert data["histogram"]["thresholds"] == [0.2]
    assert [row[0] for row in data["rows"]] == ["a.png", "b.png", "c.gif, frame 2", NAME]
    assert data["thumbnails"] == []


def test_of_a_scan_that_observed_it_shows_what_would_have_been_done(tmp_path: Path) -> None:
    observed = [
        record("a.png", "observe", would_be="mask"),
        record("b.png", "observe", would_be="allow", distance=0.9),
        record("c.png", "observe", would_be="undecided", threshold=None),
    ]
    data = data_of(page_of(tmp_path, observed))
    assert data["observed"] is True
    assert data["counts"] == {
        "all": 3, "allow": 1, "undecided": 1, "mask": 1, "block": 0, "error": 0
    }  # fmt: skip
    assert data["histogram"]["thresholds"] == [0.2]
    assert data["categories"] == [["weapon", 1]]
    assert data_of(page_of(tmp_path, [record("a.png")]))["observed"] is False


def test_only_files_of_their_own_are_shown(tmp_path: Path) -> None:
    """A member may be called like a file, and its name, like an address, may be of any length."""
    path = tmp_path / "s.tar!red.png"
    path.write_bytes(png(picture(red=True)))
    own = scanned(path, red_guard())
    member = {**own, "shard": str(tmp_path / "s.tar")}
    long = {**own, "source": f"https://example.com/{'a' * 300}.png"}
    assert len(data_of(page_of(tmp_path, [own, member, long]))["thumbnails"]) == 1


def test_nothing_scanned_is_a_page_too(tmp_path: Path) -> None:
    assert data_of(page_of(tmp_path, []))["counts"]["all"] == 0


def test_a_thumbnail_is_covered_and_a_blocked_picture_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "red.png"
    path.write_bytes(png(picture(red=True)))
    verdict = scanned(path, red_guard())
    assert verdict["decision"] == "mask"
    shown = data_of(page_of(tmp_path, [verdict, {**verdict, "decision": "block"}]))["thumbnails"]
    ((source, url, category),) = shown
    assert (source, category) == (str(path), "weapon")
    assert not shows_red(url)


def test_a_masked_picture_whose_regions_could_not_be_drawn_is_not_shown_in_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("drawing")

    monkeypatch.setattr(decision, "find_regions", broken)
    red = picture(red=True)
    path = tmp_path / "red.png"
    path.write_bytes(png(red))
    verdict = scanned(path, red_guard())
    assert (verdict["decision"], verdict["regions"]) == ("mask", [])
    assert "cannot be drawn" in caplog.text
    ((_, url, _),) = data_of(page_of(tmp_path, [verdict]))["thumbnails"]
    assert url == covered_thumbnail(red.pixels, ()) != thumbnail(red.to_pil())


def test_what_is_covered_lies_where_the_scaled_picture_has_it(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    # Four times as large as the guard lets out.
    path.write_bytes(png(CanonicalImage(picture(red=True).pixels.repeat(4, 0).repeat(4, 1))))
    output = OutputConfig(max_side=64)
    verdict = scanned(path, red_guard(red_config(output=output)))
    assert (verdict["decision"], verdict["resized"]["width"]) == ("mask", 64)
    ((_, url, _),) = data_of(page_of(tmp_path, [verdict], output))["thumbnails"]
    assert not shows_red(url)


def test_a_file_that_has_changed_since_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "red.png"
    path.write_bytes(png(picture(red=True)))
    verdict = scanned(path, red_guard())
    path.write_bytes(png(all_red()))
    assert data_of(page_of(tmp_path, [verdict]))["thumbnails"] == []


@pytest.mark.evidence
@pytest.mark.enable_socket
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")
def test_a_browser_shows_a_hundred_thousand_results(tmp_path: Path) -> None:
    sync_playwright = pytest.importorskip("playwright.sync_api").sync_playwright
    records = [record(f"{number:06d}.png") for number in range(99_998)]
    page_file = page_of(
        tmp_path, [*records, record("late.png", "mask"), {"source": NAME, "error": NAME}]
    )
    with sync_playwright() as tool:
        browser = tool.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page()
        errors: list[object] = []
        requests: list[str] = []
        page.on("pageerror", lambda error: errors.append(error))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(page_file.as_uri())
        rows = page.locator("#space .row")
        assert rows.count() < 60
        assert page.locator("#count").inner_text() == "100,000 of 100,000"
        page.evaluate("at('rows').scrollTop = at('rows').scrollHeight")
        page.wait_for_function("at('space').textContent.includes('late.png')")
        assert rows.last.inner_text().startswith("error")
        page.fill("#search", "LATE")
        page.wait_for_function("at('count').textContent === '1 of 100,000'")
        assert rows.count() == 1
        page.fill("#search", "")
        page.select_option("#decision", "error")
        page.wait_for_function("at('count').textContent === '1 of 100,000'")
        assert NAME in rows.inner_text()
        assert errors == []
        assert all(url.startswith(("file:", "data:")) for url in requests)
        page.emulate_media(media="print")
        assert not page.locator("#table").is_visible()
        browser.close()
