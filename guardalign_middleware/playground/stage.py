"""The picture with its heat and its regions, and the choice of another one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache, partial
from typing import Any

from nicegui import ui

from guardalign_middleware.playground.inspection import probe
from guardalign_middleware.playground.layers import Place, heat_url, picture_url, tags_of
from guardalign_middleware.playground.markup import (
    decision_word,
    explanation,
    probe_words,
    regions_overlay,
)
from guardalign_middleware.playground.parts import box, button, change, drawn, text
from guardalign_middleware.playground.session import Session
from guardalign_middleware.playground.tour import Scene, scenes

_THUMBNAIL = 160
_EMPTY = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="


class Shelf:
    """A row with "your picture" and the demo scenes.

    Args:
        choose: takes a scene.
    """

    def __init__(self, choose: Callable[[Scene], Awaitable[Any]]) -> None:
        self._chosen: dict[str, ui.element] = {}
        with box("section", "ga-shelf", aria_label="Pictures"):
            with box("label", "ga-own", for_="ga-file"):
                drawn("span", _UPLOAD, "ga-own-icon", aria_hidden="true")
                text("b", "Your picture")
                text("small", "Choose, drop, or paste with Ctrl+V")
                box("input", "ga-file", id="ga-file", type="file", accept="image/*")
            with box("ul", "ga-scenes"):
                for scene in scenes():
                    with box("li"), button("", partial(choose, scene), "ga-scene") as made:
                        box("img", src=_thumbnail(scene.name), alt="", width="80", height="80")
                        text("span", scene.title)
                    self._chosen[scene.name] = change_pressed(made, False)

    def mark(self, name: str | None) -> None:
        """Show which scene is on the stage; None for a picture of the visitor's own."""
        for each, made in self._chosen.items():
            change_pressed(made, each == name)


class Stage:
    """The picture on the page.

    Args:
        session: holds the picture.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._probed: Place | None = None
        with box("section", "ga-look", aria_labelledby="ga-look-title"):
            text("h2", "What the guard sees", "ga-hidden", id="ga-look-title")
            with box("div", "ga-decision", role="status", aria_live="polite") as self._banner:
                self._word = text("strong", "", "ga-word")
                self._why = text("span", "")
            with (
                box("figure", "ga-stage ga-is-empty") as self._stage,
                box(
                    "div",
                    "ga-frame",
                    id="ga-frame",
                    tabindex="0",
                    role="group",
                    aria_label="The picture. Arrow keys move a point; what was measured there is "
                    "read out.",
                ) as frame,
            ):
                self._photo = box("img", "ga-photo", src=_EMPTY, alt="")
                self._heat = box("img", "ga-heat", src=_EMPTY, alt="")
                self._regions = drawn("div", "", "ga-regions", aria_hidden="true")
                self._shown = box("img", "ga-shown", src=_EMPTY, alt="")
                self._blocked = text("div", "", "ga-blocked")
            frame.on("click", self._probe, js_handler=_PROBED)
            frame.on("keydown", self._probe, js_handler=_PROBED)
            with box("div", "ga-switches"):
                with box("div", "ga-views", role="radiogroup", aria_label="View"):
                    _switch("radio", "guard", "What the guard sees", name="ga-view", checked="")
                    _switch("radio", "model", "What a model sees", name="ga-view")
                with box("div", "ga-checks"):
                    _switch("checkbox", "heat", "Heat", checked="")
                    _switch("checkbox", "regions", "Regions", checked="")
            self._point = text(
                "p", _HINT, "ga-point", role="status", aria_live="polite", id="ga-point"
            )

    def show(self) -> None:
        """The picture of the session."""
        inspection = self._session.inspection
        if inspection is None:
            return self.empty()
        self._stage.classes(remove="ga-is-empty")
        self._probed = None
        self._point.text = _HINT
        image = inspection.image
        self._stage.style(f"--ratio:{image.width / image.height:.5f}")
        change(self._photo, src=picture_url(image))
        self.update()

    def update(self) -> None:
        """The decision, the heat and the regions."""
        session, verdict = self._session, self._session.verdict
        size = verdict.width, verdict.height
        self._banner.classes(remove="ga-allow ga-mask-it ga-block")
        self._banner.classes(
            {"allow": "ga-allow", "mask": "ga-mask-it", "block": "ga-block"}[verdict.decision]
        )
        self._word.text = decision_word(verdict)
        self._why.text = explanation(verdict)
        change(self._photo, alt=f"The picture. {decision_word(verdict)}: {explanation(verdict)}")
        change(self._heat, src=heat_url(verdict))
        self._regions.content = regions_overlay(
            tags_of(verdict),
            [Place.of(each, *size) for each in session.masks],
            final=session.cleaned is not None,
            probed=self._probed,
        )
        cleaned = session.cleaned
        if cleaned is None:
            # That of other settings would look like the answer to these.
            change(self._shown, src=_EMPTY)
            self._blocked.text = "Not known yet: the masked picture is scanned again."
            return
        change(self._shown, src=_EMPTY if cleaned.image is None else picture_url(cleaned.image))
        self._blocked.text = "Blocked: no model gets this picture." if cleaned.image is None else ""

    def empty(self) -> None:
        """No picture."""
        self._stage.classes("ga-is-empty")
        self._word.text, self._why.text = "", ""
        self._banner.classes(remove="ga-allow ga-mask-it ga-block")
        for each in (self._photo, self._heat, self._shown):
            change(each, src=_EMPTY)
        self._regions.content = self._blocked.text = ""

    def _probe(self, event: Any) -> None:
        if self._session.inspection is None:
            return
        across, down = (min(max(float(value), 0.0), 1.0) for value in event.args)
        verdict = self._session.verdict
        found = probe(verdict, across, down)
        self._point.text = probe_words(found)
        size = verdict.width, verdict.height
        self._probed = None if found is None else Place.of(found.box, *size)
        self.update()


def change_pressed(made: ui.element, pressed: bool) -> ui.element:
    """Say whether a button is pressed."""
    change(made, aria_pressed="true" if pressed else "false")
    return made


def _switch(kind: str, shows: str, words: str, **attributes: str) -> None:
    with box("label", "ga-switch"):
        box("input", type=kind, data_shows=shows, **attributes)
        text("span", words)


@cache
def _thumbnail(name: str) -> str:
    return picture_url({each.name: each for each in scenes()}[name].image, _THUMBNAIL)


_HINT = "Click the picture, or move with the arrow keys, to read a distance."
_PROBED = "(event) => { const point = guardalign.probe(event); if (point) emit(point); }"
_UPLOAD = (
    '<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" '
    'stroke-linecap="round" stroke-linejoin="round"><path d="M12 16V4m0 0L7 9m5-5 5 5"/>'
    '<path d="M4 15v3a2 2 0 0 0 2 2h12a2 2 0 0 0 2-2v-3"/></svg>'
)
