"""The sliders, the numbers behind the decision, and the verdict to copy."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from guardalign_middleware.playground.layers import histogram
from guardalign_middleware.playground.markup import histogram_svg, region_rows
from guardalign_middleware.playground.parts import box, button, drawn, text
from guardalign_middleware.playground.session import Session
from guardalign_middleware.playground.settings import EXPONENTS, MARGINS, Settings

_LEAST_GAMMA_END = 2.0


class Panel:
    """What can be moved, and what it means.

    Args:
        session: its settings and its verdict.
        moving: called with every position of a slider.
        moved: called when a slider is let go.
    """

    def __init__(
        self,
        session: Session,
        moving: Callable[[Settings], Awaitable[Any]],
        moved: Callable[[], Awaitable[Any]],
    ) -> None:
        self._session = session
        self._moving = moving
        self._moved = moved
        own = session.own
        with box("section", "ga-card ga-panel", aria_labelledby="ga-panel-title"):
            with box("div", "ga-title"):
                text("h2", "Turn the knobs", id="ga-panel-title")
                button("Reset", self.reset, "ga-quiet")
            text("p", "Every crop of the picture, by its distance. Left of the thumb is unsafe.")
            with box("div", "ga-bars"):
                self._bars = drawn("div", "")
            self._threshold = self._knob(
                "threshold", "Threshold", EXPONENTS, 0.02, "unsafe when this near or nearer"
            )
            self._margin = self._knob(
                "margin", "Margin", MARGINS, 0.01, "hidden around a region, of its longer side"
            )
            if own.gamma is not None:
                end = max(_LEAST_GAMMA_END, 2.0 * own.gamma)
                self._gamma = self._knob(
                    "gamma", "Calibration γ", (0.0, end), 0.05, "counts at the next question"
                )
            self._write()
        with box("section", "ga-card", aria_labelledby="ga-found-title"):
            with box("div", "ga-title"):
                text("h2", "Found", id="ga-found-title")
                button("Copy JSON", None, "ga-quiet", data_copies="ga-json")
            with box("table", "ga-table"):
                drawn(
                    "thead",
                    "<tr><th scope=col>Concept</th><th scope=col>Distance</th>"
                    "<th scope=col>Box in pixels</th></tr>",
                )
                self._rows = drawn("tbody", "")
            with box("details", "ga-more"):
                text("summary", "Verdict as JSON")
                self._json = text("pre", "", id="ga-json", tabindex="0", aria_label="Verdict, JSON")

    def update(self) -> None:
        """The numbers of the present verdict."""
        session = self._session
        self._write()
        if session.inspection is None:
            self._bars.content = self._rows.content = self._json.text = ""
            return
        verdict, settings = session.verdict, session.settings
        self._bars.content = histogram_svg(histogram(verdict, settings.factor), settings.exponent)
        self._rows.content = region_rows(verdict)
        self._json.text = json.dumps(session.record(), indent=2, ensure_ascii=False)

    @property
    def positions(self) -> dict[str, float]:
        """Where each slider stands, for the script of the page."""
        settings = self._session.settings
        found = {"threshold": settings.exponent, "margin": settings.margin}
        return found if settings.gamma is None else {**found, "gamma": settings.gamma}

    async def reset(self) -> None:
        """All sliders as the preset has them."""
        await self._moving(self._session.own)
        await self._moved()
        self._write()
        self._rows.client.run_javascript(f"guardalign.place({json.dumps(self.positions)})")

    def _knob(
        self, name: str, label: str, ends: tuple[float, float], step: float, meaning: str
    ) -> Any:
        with box("div", f"ga-knob ga-knob-{name}"):
            text("label", label, for_=f"ga-{name}")
            shown = text("output", "", for_=f"ga-{name}")
            slider = box(
                "input",
                id=f"ga-{name}",
                type="range",
                min=str(ends[0]),
                max=str(ends[1]),
                step=str(step),
                aria_describedby=f"ga-{name}-meaning",
            )
            text("small", meaning, id=f"ga-{name}-meaning")

        async def moving(event: Any) -> None:
            await self._moving(self._with(name, float(event.args)))

        slider.on("input", moving, js_handler=_VALUE, throttle=0.06)
        slider.on("change", lambda _: self._moved(), args=[])
        return shown

    def _with(self, name: str, value: float) -> Settings:
        now = self._session.settings
        if name == "threshold":
            # The preset's own thresholds are easy to find again.
            return Settings(0.0 if abs(value) < 0.03 else value, now.margin, now.gamma)
        if name == "margin":
            return Settings(now.exponent, value, now.gamma)
        return Settings(now.exponent, now.margin, value)

    def _write(self) -> None:
        settings = self._session.settings
        self._threshold.text = (
            "as in the preset" if settings.factor == 1.0 else f"× {settings.factor:.3g}"
        )
        self._margin.text = f"{settings.margin:.0%}"
        if settings.gamma is not None:
            self._gamma.text = f"{settings.gamma:g}"


_VALUE = "(event) => emit(event.target.value)"
