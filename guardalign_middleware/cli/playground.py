"""`guardalign playground`: look at what the guard sees, in a browser of this machine."""

from __future__ import annotations

import threading
import webbrowser
from typing import Annotated

import typer

from guardalign_middleware.cli.options import Preset
from guardalign_middleware.cli.running import run
from guardalign_middleware.playground.extra import require_playground

_BROWSER_SECONDS = 1.0


def playground(
    port: Annotated[int, typer.Option(help="0 is any free port.")] = 8000,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
    preset: Preset = "mini",
) -> None:
    """Open a page on which the guard can be tried: pictures, thresholds, answers.

    Needs the extra "playground". The page is for this machine only and sends nothing anywhere. To
    show it to others, use `guardalign serve --playground` with a key.

    Exit status: 0 ended by SIGTERM, 3 the program failed, 130 interrupted.
    """
    require_playground()
    from guardalign_middleware.cli.serve import run_serve

    def open_page(url: str) -> None:
        if browser:
            # The server listens in a moment, and goes on in this thread.
            threading.Timer(_BROWSER_SECONDS, webbrowser.open, [f"{url}/playground/"]).start()

    options = {"host": "127.0.0.1", "port": port}
    run(lambda: run_serve(preset, options, playground=True, on_listening=open_page))
