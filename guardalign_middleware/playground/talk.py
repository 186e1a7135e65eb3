"""The question, its three answers, and what the model paid attention to."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from guardalign_middleware.playground.answers import WAYS, Way
from guardalign_middleware.playground.attention import Attention
from guardalign_middleware.playground.markup import attention_rows, attention_svg
from guardalign_middleware.playground.parts import box, change, drawn, text


class Talk:
    """Asks, and shows three answers side by side.

    Args:
        ask: called with the question.
        prefix: the safety prefix, as the model reads it.
    """

    def __init__(self, ask: Callable[[str], Awaitable[Any]], prefix: str) -> None:
        self._answers: dict[Way, Any] = {}
        with box("section", "ga-card ga-ask", aria_labelledby="ga-ask-title"):
            text("h2", "Ask in three ways", id="ga-ask-title")
            with box("div", "ga-question"):
                text("label", "Your question about the picture", "ga-hidden", for_="ga-text")
                box("textarea", id="ga-text", rows="2", placeholder="What is in the picture?")
                asked = text("button", "Ask", "ga-button ga-main", type="button", id="ga-ask")
                asked.on(
                    "click",
                    lambda event: ask(str(event.args)),
                    js_handler="() => emit(document.getElementById('ga-text').value)",
                )
            with box("div", "ga-answers"):
                for way in WAYS:
                    with box("article", f"ga-answer ga-way-{way.way}"):
                        text("h3", way.title)
                        text("small", way.note)
                        self._answers[way.way] = text(
                            "p", "", "ga-said", aria_live="polite", aria_busy="false"
                        )
            text("p", f"The prefix is: “{prefix}”", "ga-note")
        with box("section", "ga-card ga-attention", aria_labelledby="ga-attention-title"):
            with box("div", "ga-said-of"):
                text("h2", "Attention to the prefix", id="ga-attention-title")
                self._summary = text("p", _NOT_YET)
                with box("div", "ga-legend") as self._legend:
                    text("span", "without calibration", "ga-key ga-plain")
                    text("span", "with calibration", "ga-key ga-calibrated")
                    text("span", "calibrated layers", "ga-key ga-band")
            self._plot = drawn("div", "", "ga-plot")
            with box("details", "ga-more") as self._details:
                text("summary", "The numbers")
                with box("table", "ga-table"):
                    drawn(
                        "thead",
                        "<tr><th scope=col>Layer</th><th scope=col>Without</th>"
                        "<th scope=col>With</th></tr>",
                    )
                    self._rows = drawn("tbody", "")
            self.attention(None)
            self._summary.text = _NOT_YET

    def suggest(self, question: str) -> None:
        """Put a question into the field."""
        code = f"document.getElementById('ga-text').value = {json.dumps(question)}"
        self._plot.client.run_javascript(code)

    def answering(self, way: Way, words: str, *, ended: bool) -> None:
        """The text of an answer so far; a screen reader gets it when it is complete."""
        said = self._answers[way]
        said.text = words if words or not ended else "(no words)"
        change(said, aria_busy="false" if ended else "true")

    def forget(self) -> None:
        """No answers."""
        for said in self._answers.values():
            said.text = ""
            change(said, aria_busy="false")
        self.attention(None)
        self._summary.text = _NOT_YET

    def attention(self, seen: Attention | None) -> None:
        """The plot."""
        for each in (self._legend, self._plot, self._details):
            each.set_visibility(seen is not None)
        if seen is None:
            self._summary.text = _NOTHING
            return
        self._summary.text = seen.summary
        self._plot.content = attention_svg(seen)
        self._rows.content = attention_rows(seen)


_NOT_YET = "Ask a question, and see how much of its attention goes to the prefix in each layer."
_NOTHING = "Nothing to see: the model was not asked, or its attention cannot be calibrated."
