"""A guard on the answer as well: a hook that sees every answer before the caller does.

python examples/output_guard.py
python examples/output_guard.py path/to/a/text-classification/model

Answers are judged by a word list, or by the given transformers model. Runs offline on the miniature
models, which know only pictographs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

from PIL import Image

from guardalign_middleware import GuardAlign, Message
from guardalign_middleware.generation.output import OnOutput
from guardalign_middleware.mini.demo import demo_scenes
from guardalign_middleware.replies import Generated

WITHHELD = "[withheld by the output guard]"
UNWANTED = frozenset({"gun", "pistol", "dog"})


def mentions_unwanted(text: str) -> bool:
    """Whether an unwanted word is in the text; a stand-in for a classifier."""
    return not UNWANTED.isdisjoint(word.strip(".,:;!?") for word in text.lower().split())


def classifier(model: str) -> Callable[[str], bool]:
    """Classify by a text-classification model with labels such as "safe" and "unsafe"."""
    from transformers import pipeline

    classify = pipeline("text-classification", model=model)
    safe = {"safe", "non-toxic", "neutral", "label_0"}
    return lambda text: classify(text, truncation=True)[0]["label"].lower() not in safe


def hook(unwanted: Callable[[str], bool]) -> OnOutput:
    """The `on_output` hook: takes the conversation and the answer, and returns an answer."""

    def check(messages: Sequence[Message], answer: Generated) -> Generated:
        return replace(answer, text=WITHHELD) if unwanted(answer.text) else answer

    return check


def main() -> None:
    """Ask the demo's questions through the guard on images and the guard on answers."""
    unwanted = classifier(sys.argv[1]) if len(sys.argv) > 1 else mentions_unwanted
    chain = GuardAlign.from_preset("mini", on_output=hook(unwanted))
    for scene in demo_scenes()[:4]:
        picture = Image.fromarray(scene.scene.pixels)
        parts = [{"type": "image", "image": picture}, {"type": "text", "text": scene.request}]
        reply = chain.invoke([{"role": "user", "content": parts}])
        found = ", ".join(verdict.decision for verdict in reply.verdicts)
        print(f"{scene.name} ({found}): {scene.request}\n  {reply.text}")


if __name__ == "__main__":
    main()
