"""What other defences cost beside this one: `python -m benchmarks.peers`.

All run on the same models with random weights, in turns in one process, against the model alone: a
LLaVA in the proportions of LLaVA-1.5-7B at an eighth of its width, with 576 image tokens, and the
guard of its preset: five crops of the 336 × 336 pixels that the model sees. The encoders of guard
and model do the work of as many of the model's tokens as ViT-L/14 does beside a 7B model. What
decides the outcome of a defence, such as a judge's "yes", is chosen here: random models decide
nothing. The figures are ratios of CPU time. If the plain call differs from itself by more than 2%,
the run is void and the exit status is 1.

A GPU would show others: there a token of an answer costs far more than its arithmetic, so a scan,
and whatever else reads without writing, costs less beside an answer.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import open_clip
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.generation.models import Widths, build, build_guard, conversation
from benchmarks.results import RESULTS, write_json
from guardalign_middleware.bench.device import processor
from guardalign_middleware.bench.timing import Call, Comparison, compare_in_turn, is_noisy
from guardalign_middleware.config import FormConfig
from guardalign_middleware.evaluation.arms.ecso import AGAIN, DESCRIBE, JUDGE
from guardalign_middleware.evaluation.arms.whole_picture import WholePicture
from guardalign_middleware.generation import CalibratedRunner
from guardalign_middleware.guard import GuardAlign
from guardalign_middleware.image_guard import ImageGuard
from guardalign_middleware.types import ImagePart, Message, TextPart

RESULT = RESULTS / "peers.json"
_ENCODER = "random-eighth-224"
_ENCODER_SIDE = 224
WIDTHS = Widths(512, 1376, 8, 8, 0, 128, 6, 336, _ENCODER)
_VERDICT = 3
"""Tokens of a judge's answer."""
_CANDIDATES = 5
_SENTENCE = 25
"""Tokens of a sentence, each of which ETA's reward model judges anew."""
ITSELF = "the model alone, again"


class Peers:
    """One request, answered under each defence.

    Args:
        runner: the model.
        guard: flags nothing.
        tokens: of every answer.
    """

    def __init__(self, runner: CalibratedRunner, guard: ImageGuard, tokens: int) -> None:
        self._runner = runner
        self._chain = GuardAlign(guard, runner)
        self._tokens = tokens
        self._asked = conversation(side=WIDTHS.image_size)
        (message,) = self._asked
        self._question = message.text
        (self._picture,) = message.images
        self._check = WholePicture(guard.detector)
        self._answer = self._write(self._asked)

    def calls(self) -> dict[str, Call]:
        """Each defence by name."""
        return {
            ITSELF: self.alone,
            "GuardAlign: scan, prefix, calibration": self.guarded,
            "a guard model of the model's size, before": self.judged_before,
            "the same, before and after": self.judged_twice,
            "ECSO, answer judged harmless (2 calls)": lambda: self.ecso(harmful=False),
            "ECSO, answer judged harmful (4 calls)": lambda: self.ecso(harmful=True),
            "ETA-style, answer accepted": lambda: self.eta(accepted=True),
            "ETA-style, five candidates a sentence": lambda: self.eta(accepted=False),
        }

    def alone(self) -> str:
        """The model as it is."""
        return self._write(self._asked)

    def guarded(self) -> str:
        """The whole chain; the picture is clean."""
        return self._chain.invoke(self._asked, max_new_tokens=self._tokens).text

    def judged_before(self) -> None:
        """A guard model reads picture and question, and says a word."""
        self._write(self._asked, _VERDICT)
        self.alone()

    def judged_twice(self) -> None:
        """It also reads the answer."""
        self._write(self._asked, _VERDICT)
        self._judge(self.alone())

    def ecso(self, *, harmful: bool) -> None:
        """The model judges its answer; one judged harmful is written again from a caption."""
        self._judge(self.alone())
        if harmful:
            caption = self._write(self._with_picture(DESCRIBE.format(self._question)))
            self._write([Message("user", (TextPart(AGAIN.format(caption, self._question)),))])

    def eta(self, *, accepted: bool) -> None:
        """CLIP over the whole picture and a reward model over the answer; then candidates.

        The candidates are written as wholes, each in one go: reading the prompt anew for each
        sentence, as the published program does, would cost more.
        """
        self._check.similarity(self._picture)
        self.alone()
        self._reward(self._tokens)
        if not accepted:
            self._runner.generate_batch(
                [self._asked] * _CANDIDATES,
                calibrate=False,
                max_new_tokens=self._tokens,
            )
            for written in range(_SENTENCE, self._tokens + 1, _SENTENCE):
                for _ in range(_CANDIDATES):
                    self._reward(written)

    def _write(self, asked: list[Message], tokens: int | None = None) -> str:
        return self._runner.generate(
            asked, prefix=False, calibrate=False, max_new_tokens=tokens or self._tokens
        ).text

    def _judge(self, answer: str) -> None:
        self._write(self._with_picture(JUDGE.format(self._question, answer)), _VERDICT)

    def _with_picture(self, text: str) -> list[Message]:
        return [Message("user", (ImagePart(self._picture), TextPart(text)))]

    @torch.inference_mode()
    def _reward(self, written: int) -> None:
        """One pass of a model of the decoder's size over the question and so much of an answer."""
        length = len(self._question.split()) + written
        self._runner._model.get_decoder()(torch.ones(1, length, dtype=torch.long))


def measure(tokens: int, pairs: int) -> tuple[list[Comparison], int]:
    """Every defence against the model alone, and the crops of a scan."""
    with tempfile.TemporaryDirectory() as folder:
        _describe_encoder(Path(folder))
        guard = build_guard(
            WIDTHS.guard,
            torch.device("cpu"),
            sees=(FormConfig(kind="squashed", side=WIDTHS.image_size),),
        )
    runner = build(WIDTHS, device=torch.device("cpu"), dtype=torch.float32)
    peers = Peers(runner, guard, tokens)
    (meter,) = guard.detector.meters
    (message,) = conversation(side=WIDTHS.image_size)
    crops = meter.crop_count(message.images[0])
    return compare_in_turn(peers.alone, peers.calls(), pairs=pairs), crops


def _describe_encoder(folder: Path) -> None:
    """Make the encoder's architecture known to open_clip: the model's own, with a smaller input."""
    vision = {
        "image_size": _ENCODER_SIDE,
        "patch_size": 14,
        "width": WIDTHS.vision_hidden,
        "layers": WIDTHS.vision_layers,
        "head_width": 64,
    }
    text = {"context_length": 77, "vocab_size": 49_408, "width": 128, "heads": 2, "layers": 2}
    config = {"embed_dim": 128, "quick_gelu": True, "vision_cfg": vision, "text_cfg": text}
    (folder / f"{_ENCODER}.json").write_text(json.dumps(config), encoding="utf-8")
    open_clip.add_model_config(folder)


def _main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=100, help="of every answer")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--json", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found, crops = measure(options.tokens, options.pairs)
    void = is_noisy(next(one.ratio for one in found if one.name == ITSELF))
    write_json(
        options.json,
        {
            "processor": processor(),
            "models": WIDTHS.description,
            "crops": crops,
            "tokens": options.tokens,
            "pairs": options.pairs,
            "void": void,
            "ratios": [asdict(one) for one in found],
        },
    )
    shown = Table("defence", "CPU time ÷ the model alone (95% interval)")
    for one in found:
        shown.add_row(one.name, str(one))
    console = Console()
    console.print(shown)
    if void:
        console.print("The plain call differs from itself by more than 2%: void.", style="red")
    return int(void)


if __name__ == "__main__":
    sys.exit(_main())
