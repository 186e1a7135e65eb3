"""Draw the picture of the playground that the README shows.

    python -m benchmarks.playground_picture docs/images/playground.png

Serves the playground with the miniature, asks about the first scene in Chromium, and writes what is
on the page. Needs the extra `playground`, playwright, and Chromium on the machine.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import time
from pathlib import Path

import httpx
from PIL import Image
from playwright.sync_api import sync_playwright

_PORT = 8931
_SECONDS = 180
_WIDTH, _BELOW = 1440, 20
_COLOURS = 256
_MOST_BYTES = 250_000


def main(target: Path) -> None:
    """Write the picture.

    Raises:
        SystemExit: there is no Chromium, the server does not start, or the file is too large.
    """
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("There is no Chromium. Install it, as in: apt-get install chromium")
    command = ["guardalign", "playground", "--no-browser", "--port", str(_PORT)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        try:
            _wait(server)
            data = _shot(chromium)
        finally:
            server.terminate()
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    picture = picture.resize((_WIDTH * 3 // 4, picture.height * 3 // 4), Image.Resampling.LANCZOS)
    picture.quantize(_COLOURS).save(target, optimize=True)
    size = target.stat().st_size
    if size > _MOST_BYTES:
        raise SystemExit(f"{target} has {size:,} bytes; at most {_MOST_BYTES:,} are wanted.")


def _wait(server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _SECONDS
    while time.monotonic() < until and server.poll() is None:
        try:
            httpx.get(f"http://127.0.0.1:{_PORT}/health").raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.5)
        else:
            return
    raise SystemExit("The playground did not start.")


def _shot(chromium: str) -> bytes:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": _WIDTH, "height": 900}, color_scheme="light")
        page.set_default_timeout(1000 * _SECONDS)
        page.goto(f"http://127.0.0.1:{_PORT}/playground/")
        page.wait_for_selector(".ga-final")
        page.click("#ga-ask")
        page.wait_for_selector(".ga-plot svg")
        page.wait_for_function("document.querySelector('.ga-status').textContent === ''")
        page.evaluate("document.activeElement.blur()")
        page.evaluate("window.scrollTo(0, 0)")
        bottom = page.evaluate("document.querySelector('.ga-ask').getBoundingClientRect().bottom")
        data = page.screenshot(
            full_page=True, clip={"x": 0, "y": 0, "width": _WIDTH, "height": bottom + _BELOW}
        )
        browser.close()
    return data


if __name__ == "__main__":
    main(Path(sys.argv[1]))
