"""Judges that are models: a form, and someone to ask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from guardalign_middleware.evaluation.judges.echo import strip_echo
from guardalign_middleware.evaluation.judges.forms import (
    HARM,
    HARM_WITH_PICTURE,
    MD_JUDGE,
    MM_SAFETYBENCH,
    MM_SAFETYBENCH_GENERAL,
    MOSSBENCH,
    REFUSAL,
    SIUO,
    VLSBENCH,
    Form,
)
from guardalign_middleware.evaluation.judges.judgement import Judgement, Label
from guardalign_middleware.evaluation.suites.manifest import Item, Manifest

# Suites of harm whose authors count what was not refused.
_REFUSED = {
    "advbench": REFUSAL,
    "holisafe": replace(REFUSAL, name=f"{REFUSAL.name}, with the picture", sees_pictures=True),
    "vlguard": REFUSAL,
}
_HARMED = {"jailbreakv-mini": HARM, "siuo": SIUO, "spa-vl": MD_JUDGE, "vlsbench": VLSBENCH}


class Model(Protocol):
    """A judge model: `ChatEndpoint`, or whatever answers a text with a text."""

    @property
    def name(self) -> str:
        """Of the model."""

    def complete(self, text: str, images: Sequence[bytes] = ()) -> str:
        """Its reply to a text and pictures.

        Raises:
            GuardError: it gave none.
        """


class PromptedJudge:
    """Asks a model in a form.

    Args:
        model: to ask.
        form: of the question, or what form an item has.
        name: of the form; needed where it differs by item.
        prefix: the safety prefix of the arm. Where the form is of refusal, its echo is taken out
            of the answer first, and the label with it is asked for as well. "" = none.
    """

    def __init__(
        self,
        model: Model,
        form: Form | Callable[[Item], Form],
        *,
        name: str = "",
        prefix: str = "",
    ) -> None:
        self._model, self._prefix = model, prefix
        self._form = (lambda item: form) if isinstance(form, Form) else form
        called = name or (form.name if isinstance(form, Form) else "forms by item")
        self.name = f"{model.name}: {called}"

    def judge(self, item: Item, answer: str) -> Judgement:
        """Ask about one answer; see `Judge`."""
        form = self._form(item)
        prefix = self._prefix if form.of_refusal else ""
        stripped = strip_echo(answer, prefix)
        label, detail = self._asked(form, item, stripped)
        with_echo = None
        if prefix:
            with_echo = label if stripped == answer else self._asked(form, item, answer)[0]
        return Judgement(label, self.name, detail, with_echo)

    def _asked(self, form: Form, item: Item, answer: str) -> tuple[Label, str | None]:
        if form.empty is not None and not answer.strip():
            return form.empty, "empty answer"
        images = item.read_images() if form.sees_pictures else ()
        return form.read(self._model.complete(form.filled(item, answer), images))


def md_judge(model: Model, *, prompt: str | None = None) -> PromptedJudge:
    """A judge of harm in MD-Judge's form.

    Args:
        model: MD-Judge behind an endpoint, or another model.
        prompt: MD-Judge's own, from its card, with `{question}` and `{answer}`; None = our words.
    """
    return PromptedJudge(model, MD_JUDGE if prompt is None else MD_JUDGE.with_prompt(prompt))


def judge_of(manifest: Manifest, model: Model, *, prefix: str = "") -> PromptedJudge:
    """The judge with the classes and the sight of the suite's authors.

    Args:
        manifest: of the suite.
        model: to ask.
        prefix: the safety prefix of the arm, for judges of refusal.
    """
    if manifest.kind == "over-refusal":
        form = MOSSBENCH if manifest.name == "mossbench" else REFUSAL
        return PromptedJudge(model, form, prefix=prefix)
    if manifest.name.startswith("mm-safetybench"):
        return PromptedJudge(
            model,
            lambda item: MM_SAFETYBENCH.get(str(item.metadata["category"]), MM_SAFETYBENCH_GENERAL),
            name="MM-SafetyBench, the answer alone, by scenario",
        )
    if manifest.name in _REFUSED:
        return PromptedJudge(model, _REFUSED[manifest.name], prefix=prefix)
    form = _HARMED.get(manifest.name, HARM_WITH_PICTURE)
    if manifest.name == "spa-vl":
        return PromptedJudge(
            model,
            lambda item: REFUSAL if item.metadata.get("label") == "safe" else form,
            name=f"{form.name}, and {REFUSAL.name} of harmless items",
            prefix=prefix,
        )
    return PromptedJudge(model, form)
