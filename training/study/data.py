"""The batches of the study: prefixes with one view per picture, many views without prefixes."""

from __future__ import annotations

from torch.utils.data import Dataset

from training.llava.dialogues import LISTING
from training.llava.language import TEXT_SHARE, Batch, Dialogues, Stage
from training.llava.package import Form
from training.llava.scenes import MANY
from training.study.prefixes import MANY_VIEWS, NEW_WORDS, ONE_VIEW

FORM = Form(layers=8, context=1024, more_words=NEW_WORDS)
# Views per picture, by batch, repeated. Rows with 16 views are so long that few fit in a batch.
VIEWS = (1, 1, 1, 4, 1, 1, 1, 16)
_ROWS = {1: 18, 4: 12, 16: 5}
_QUESTIONS = {1: 6, 4: 6, 16: 8}


def stage(steps: int, views: int = 1) -> Stage:
    """The stage, for batches with that many views per picture."""
    return Stage(
        "study",
        "vision",
        steps,
        batch_size=_ROWS[views],
        questions=_QUESTIONS[views],
        odds=LISTING,
        rate=8e-4,
        counts=MANY,
        views=views,
        texts=TEXT_SHARE if views == 1 else 0.0,
    )


class Curriculum(Dataset[Batch]):
    """Batch `i` has `VIEWS[i % len(VIEWS)]` views, and depends on the seed and `i` only."""

    def __init__(self, steps: int, seed: int) -> None:
        self.steps = steps
        self.parts = {
            views: Dialogues(
                stage(steps, views),
                seed,
                lessons=ONE_VIEW if views == 1 else MANY_VIEWS,
                form=FORM,
            )
            for views in _ROWS
        }

    def __len__(self) -> int:
        """Number of batches."""
        return self.steps

    def __getitem__(self, index: int) -> Batch:
        """The batch of one step."""
        return self.parts[VIEWS[index % len(VIEWS)]][index]
