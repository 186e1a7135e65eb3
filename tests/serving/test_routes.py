from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.routing import Route

from guardalign_middleware.serving.routes import add_routes


def test_routes_and_lifespans_become_the_apps_own() -> None:
    told: list[str] = []

    def lives(name: str, state: Any) -> Any:
        @asynccontextmanager
        async def lifespan(running: FastAPI) -> AsyncGenerator[Any, None]:
            assert running is app
            told.append(f"{name} begins")
            yield state
            told.append(f"{name} ends")

        return lifespan

    app = FastAPI(lifespan=lives("app", {"known": 1}))
    for name in ("first", "second"):
        router = APIRouter(lifespan=lives(name, None))
        router.get(f"/{name}")(lambda: None)
        add_routes(app, router)

    async def run() -> Any:
        async with app.router.lifespan_context(app) as state:
            return state

    assert asyncio.run(run()) == {"known": 1}
    assert sorted(told) == sorted(
        f"{name} {what}" for name in ("app", "first", "second") for what in ("begins", "ends")
    )
    own = [route.path for route in app.routes if isinstance(route, Route)]
    assert own[-2:] == ["/first", "/second"]


def test_a_server_looks_its_routes_up_in_one_list(app: FastAPI) -> None:
    assert all(isinstance(route, Route) for route in app.routes)
