"""The page: header, tour and all parts, wired to one visit."""

from __future__ import annotations

import json
from importlib.resources import files

from nicegui import ui

from guardalign_middleware.playground.answers import Answers, Way
from guardalign_middleware.playground.attention import Attention
from guardalign_middleware.playground.inspection import Inspector
from guardalign_middleware.playground.panel import Panel
from guardalign_middleware.playground.parts import box, button, change, drawn, text
from guardalign_middleware.playground.session import Session
from guardalign_middleware.playground.settings import Settings
from guardalign_middleware.playground.stage import Shelf, Stage
from guardalign_middleware.playground.talk import Talk
from guardalign_middleware.playground.tour import STOPS, Scene, scene
from guardalign_middleware.playground.visit import Visit
from guardalign_middleware.serving.service import Service

_ASSETS = files("guardalign_middleware.playground") / "assets"
_FIRST = "pistol-apple"
_THEMES: tuple[tuple[str, bool | None], ...] = (("Auto", None), ("Light", False), ("Dark", True))


class Page:
    """One visitor's page.

    Args:
        service: the server.
        inspector: measures and decides.
        answers: of the model; None where only a guard is served.
        own: the sliders as the preset has them.
    """

    def __init__(
        self, service: Service, inspector: Inspector, answers: Answers | None, own: Settings
    ) -> None:
        self.session = Session(inspector, own)
        self.visit = Visit(self.session, answers, service, self)
        self._talk: Talk | None = None
        self._stop: int | None = None
        self._theme = 0
        self._client = ui.context.client
        ui.add_css(_asset("page.css"))
        ui.add_body_html(
            f"<script>window.guardalign = {json.dumps({'token': self.session.token})};"
            f"{_asset('page.js')}</script>"
        )
        self._dark = ui.dark_mode(None)
        self._header(service)
        with box("main", "ga-page", id="ga-main"):
            self._shelf = Shelf(self.choose)
            self._tour_card()
            with box("div", "ga-work"):
                self._stage = Stage(self.session)
                with box("div", "ga-side"):
                    self._panel = Panel(self.session, self.visit.move, self.visit.settle)
            if answers is not None and service.chain is not None:
                prefix = service.chain.runner.config.prefix.text
                self._talk = Talk(self.visit.ask, prefix)
            else:
                text("p", _NO_MODEL, "ga-note")
        with box("footer", "ga-foot"):
            text("p", f"Threshold profile: {inspector.guarantee}")

    async def start(self) -> None:
        """Put the first scene on the stage."""
        self._client.run_javascript(f"guardalign.place({json.dumps(self._panel.positions)})")
        await self.choose(scene(_FIRST))

    async def choose(self, chosen: Scene) -> None:
        """Take a demo scene."""
        self._shelf.mark(chosen.name)
        if self._talk is not None:
            self._talk.suggest(chosen.request)
        if not await self.visit.take(chosen.image):
            self._shelf.mark(None)

    async def upload(self, data: bytes) -> bool:
        """Take a visitor's own picture."""
        self._shelf.mark(None)
        return await self.visit.take(data)

    def working(self, words: str) -> None:
        """Something takes a moment."""
        self._status.text = words
        self._status.classes(remove="ga-bad")

    def failed(self, words: str) -> None:
        """Something was refused or has failed."""
        self._status.text = words
        self._status.classes("ga-bad")

    def emptied(self) -> None:
        """There is no picture any more."""
        self._stage.empty()
        self._panel.update()

    def picture(self) -> None:
        """There is another picture."""
        if self._talk is not None:
            self._talk.forget()
        self._stage.show()
        self._panel.update()

    def decided(self) -> None:
        """The decision, the regions or the cleaned picture have changed."""
        self._stage.update()
        self._panel.update()

    def answering(self, way: Way, words: str, *, ended: bool) -> None:
        """The text of an answer so far."""
        if self._talk is not None:
            self._talk.answering(way, words, ended=ended)

    def attention(self, seen: Attention | None) -> None:
        """What the model attended to."""
        if self._talk is not None:
            self._talk.attention(seen)

    def _header(self, service: Service) -> None:
        with box("a", "ga-skip", href="#ga-main"):
            text("span", "Skip to the picture")
        with box("header", "ga-top"):
            drawn("span", _LOGO, "ga-logo", aria_hidden="true")
            with box("div", "ga-name"):
                text("h1", "GuardAlign playground")
                text("p", f"Preset {service.guard.config.name} · nothing is stored or sent away")
            self._status = text("p", "", "ga-status", role="status", aria_live="polite")
            with box("div", "ga-actions"):
                button("Take the tour", lambda: self._go(0), "ga-main", id="ga-tour")
                self._themes = button("Theme: auto", self._next_theme, "ga-quiet")
        if service.guard.config.mode == "observe":
            with box("p", "ga-limits", role="note"):
                text("b", "This guard only observes.")
                text("span", _OBSERVES)
        with box("p", "ga-limits", role="note"):
            if service.guard.config.name == "mini":
                text("b", "The miniature knows pictographs, not photographs.")
                text("span", _MINI)
            else:
                text("span", _OTHER)

    def _tour_card(self) -> None:
        with box("section", "ga-card ga-tour", aria_labelledby="ga-tour-title") as self._tour:
            self._tour_title = text("h2", "", id="ga-tour-title", tabindex="-1")
            self._tour_text = text("p", "")
            with box("div", "ga-actions"):
                self._back = button("Back", lambda: self._go((self._stop or 0) - 1), "ga-quiet")
                self._next = button("Next", lambda: self._go((self._stop or 0) + 1), "ga-main")
                button("End the tour", self._end, "ga-quiet")
        self._tour.set_visibility(False)

    async def _go(self, number: int) -> None:
        if number >= len(STOPS):
            return self._end()
        self._stop, stop = number, STOPS[number]
        self._tour_title.text, self._tour_text.text = stop.title, stop.text
        change(self._back, disabled="" if number == 0 else None)
        self._next.text = "Next" if number + 1 < len(STOPS) else "Finish"
        self._tour.set_visibility(True)
        self._client.run_javascript("guardalign.focus('ga-tour-title')")
        chosen = scene(stop.scene)
        await self._panel.reset()
        await self.choose(chosen)
        if self._talk is not None:
            await self.visit.ask(chosen.request)

    def _end(self) -> None:
        self._stop = None
        self._tour.set_visibility(False)
        self._client.run_javascript("guardalign.focus('ga-tour')")

    def _next_theme(self) -> None:
        self._theme = (self._theme + 1) % len(_THEMES)
        name, value = _THEMES[self._theme]
        self._themes.text = f"Theme: {name.lower()}"
        self._dark.value = value


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


_OBSERVES = " The page shows what it would do; requests to the server pass unchanged."
_MINI = (
    " It is here to show how everything works: what it says of your own photos means nothing. "
    "Start the playground with another preset for those."
)
_OTHER = (
    "The demo scenes are drawn pictographs. Thresholds hold for pictures like those that the "
    "profile was calibrated on."
)
_NO_MODEL = "This server only guards, so there is no model to ask."
_LOGO = (
    '<svg viewBox="0 0 32 32"><path d="M16 2 4 7v8c0 8 5 13 12 15 7-2 12-7 12-15V7z" '
    'fill="currentColor"/><rect x="9" y="9" width="6" height="6" rx="1" fill="#fff"/>'
    '<rect x="17" y="9" width="6" height="6" rx="1" fill="#fff" opacity=".55"/>'
    '<rect x="9" y="17" width="6" height="6" rx="1" fill="#fff" opacity=".55"/>'
    '<rect x="17" y="17" width="6" height="6" rx="1" fill="#ffb4a8"/></svg>'
)
