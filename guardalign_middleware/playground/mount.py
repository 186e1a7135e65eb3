"""Put the playground onto the server's app, under `/playground`."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response

from guardalign_middleware.errors import ConfigError, Overloaded
from guardalign_middleware.playground.answers import Answers
from guardalign_middleware.playground.extra import require_playground
from guardalign_middleware.playground.inspection import Inspector
from guardalign_middleware.playground.session import Sessions
from guardalign_middleware.playground.settings import Settings
from guardalign_middleware.playground.tour import scenes
from guardalign_middleware.serving.service import Service

_RECONNECT_SECONDS = 30.0
_FAVICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
    '<path d="M16 2 4 7v8c0 8 5 13 12 15 7-2 12-7 12-15V7z" fill="#2447b8"/></svg>'
)
_mounted: list[FastAPI] = []


def mount_playground(app: FastAPI) -> None:
    """Serve the playground with an app from `create_app`, behind the same key and limits.

    Serve the app with websockets and its lifespan: `serve(app, bound, pages=True)`.

    Raises:
        ConfigError: the extra is not installed, the guard has no thresholds, or there is a
            playground in this process already: NiceGUI has one set of pages in a process.
    """
    require_playground()
    if _mounted:
        raise ConfigError(
            "There is a playground in this process already.",
            remedy="Serve the other one from a process of its own.",
        )
    service: Service = app.state.service
    inspector = Inspector(service.guard, service.config.max_pixels)
    answers = None if service.chain is None else Answers(service.chain)
    calibrated = answers is not None and answers.calibrates()
    own = Settings.of(service.guard.config, calibrated=calibrated)
    scenes()  # drawn before the first visitor waits for them
    pages = _pages(service, inspector, answers, own)
    _mounted.append(app)
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(running: FastAPI) -> AsyncIterator[Any]:
        async with AsyncExitStack() as stack:
            with warnings.catch_warnings():
                # NiceGUI looks for its server among all objects; old ones of torch warn at that.
                warnings.simplefilter("ignore")
                await stack.enter_async_context(pages.router.lifespan_context(pages))
            yield await stack.enter_async_context(inner(running))

    app.router.lifespan_context = lifespan
    from guardalign_middleware.playground.gate import Gate

    app.add_middleware(Gate, pages=pages, service=service)


def _pages(
    service: Service, inspector: Inspector, answers: Answers | None, own: Settings
) -> FastAPI:
    """The page and the route for pictures, as an app of their own."""
    from nicegui import app as nicegui_app
    from nicegui import ui

    from guardalign_middleware.playground.gate import PATH
    from guardalign_middleware.playground.page import Page

    sessions = Sessions()
    visitors: dict[str, Page] = {}

    @ui.page("/")
    async def playground() -> None:
        client = ui.context.client
        page = Page(service, inspector, answers, own)
        await client.connected(timeout=_RECONNECT_SECONDS)
        try:
            sessions.open(page.session)
        except Overloaded as error:
            page.visit.refused = error
            page.failed(str(error))
            return
        visitors[page.session.token] = page

        def leave() -> None:
            visitors.pop(page.session.token, None)
            sessions.close(page.session)
            page.visit.leave()

        client.on_delete(leave)
        await page.start()

    @nicegui_app.post("/picture/{token}")
    async def picture(token: str, request: Request) -> Response:
        page = visitors.get(token)
        if page is None:
            return Response(status_code=404)
        taken = await page.upload(await request.body())
        return Response(status_code=204 if taken else 400)

    host = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    ui.run_with(
        host,
        title="GuardAlign playground",
        favicon=_FAVICON,
        dark=None,
        language="en-US",
        tailwind=False,
        reconnect_timeout=_RECONNECT_SECONDS,
        # Old messages hold pictures; they would be kept for whoever reconnects.
        message_history_length=20,
        mount_path=PATH,
        show_welcome_message=False,
    )
    return host
