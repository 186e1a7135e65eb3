"""Stages 2 to 5: the language model, the projector, and both together.

The language model learns on scenes given as words. The projector learns to map vision features to
such words. Then both are tuned together on drawn scenes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from rich.progress import Progress, TextColumn
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from transformers import AttentionInterface

from guardalign_middleware.mini.questions import THINGS
from training.llava.dialogues import SHIPPED as LESSONS
from training.llava.dialogues import Lessons, Odds, Turn, picture_dialogue, text_dialogue
from training.llava.package import SHIPPED as FORM
from training.llava.package import Form, tokenizer
from training.llava.scenes import FEW, GRID, NOTHING, Counts, draw
from training.llava.views import cut
from training.llava.vision import normalize
from training.optimizer import Optimizer
from training.precision import fast_bfloat16, reduced_precision

# A LlavaForConditionalGeneration; its parts carry no types.
Model = Any
TOKENS = GRID * GRID
IGNORED = -100
TEXT_SHARE = 0.16


@dataclass(frozen=True)
class Stage:
    """One stage of training.

    Attributes:
        name: of its checkpoint and log.
        source: whether the image tokens are the true words or projected vision features.
        steps: optimizer steps, in one cycle of the learning rate.
        batch_size: rows (pictures or texts) per step.
        questions: dialogues per row.
        odds: of the question families.
        rate: peak learning rate.
        counts: probability of each number of things in a scene.
        views: images per picture, the whole picture first.
        texts: share of the rows without a picture.
    """

    name: str
    source: Literal["words", "vision"]
    steps: int
    batch_size: int
    questions: int
    odds: Odds
    rate: float
    counts: Counts = FEW
    views: int = 1
    texts: float = TEXT_SHARE


@dataclass(frozen=True)
class Batch:
    """Rows of dialogues; the dialogues of a row share its picture and do not see each other.

    Attributes:
        ids: token ids `[B, L]`.
        labels: the ids of the answers, elsewhere `IGNORED`.
        positions: `[B, L]`; every dialogue of a row starts at the end of the picture.
        allowed: bool `[B, 1, L, L]`, whether a query may see a key.
        pixels: uint8 `[P * views, 3, 84, 84]` of the rows with a picture, in order.
        patches: patch labels `[P, 36]` of the whole pictures.
    """

    ids: Tensor
    labels: Tensor
    positions: Tensor
    allowed: Tensor
    pixels: Tensor
    patches: Tensor

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        return Batch(**{name: value.to(device) for name, value in vars(self).items()})


class Row:
    """Builds one row, token by token."""

    def __init__(self, shared: Sequence[int]) -> None:
        self.ids = list(shared)
        self.labels = [IGNORED] * len(shared)
        self.positions = list(range(len(shared)))
        self.dialogues = [0] * len(shared)
        self._shared = len(shared)

    def add(self, asked: Sequence[Sequence[int]], said: Sequence[Sequence[int]]) -> None:
        """Add one dialogue: questions and answers in turn."""
        number, position = self.dialogues[-1] + 1, self._shared
        for question, answer in zip(asked, said, strict=True):
            for part, learned in ((question, False), (answer, True)):
                self.ids += part
                self.labels += part if learned else [IGNORED] * len(part)
                self.positions += range(position, position + len(part))
                self.dialogues += [number] * len(part)
                position += len(part)


def _allowed(dialogues: Tensor) -> Tensor:
    """The causal mask that separates dialogues, from their numbers `[B, L]` (0 = shared)."""
    query, key = dialogues[:, :, None], dialogues[:, None, :]
    length = dialogues.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    return (causal & ((key == 0) | (key == query)))[:, None]


class Dialogues(Dataset[Batch]):
    """Batch `i` depends on the stage, the seed and `i` only."""

    def __init__(
        self, stage: Stage, seed: int, *, lessons: Lessons = LESSONS, form: Form = FORM
    ) -> None:
        self.stage, self.seed, self.lessons = stage, seed, lessons
        self.tokens = tokenizer(form)
        self.special = self.tokens.get_vocab()

    def __len__(self) -> int:
        """Number of batches."""
        return self.stage.steps

    def _encode(self, dialogues: Sequence[Sequence[Turn]], picture: bool) -> Row:
        """Token ids, as the chat template gives them."""
        slots = [self.special["<image>"]] * (TOKENS * self.stage.views) if picture else []
        user, answering = self.special["<user>"], self.special["<assistant>"]
        row = Row([self.special["<s>"], user, *slots])
        for turns in dialogues:
            asked = [[*self._words(turn.question), answering] for turn in turns]
            said = [[*self._words(turn.answer), self.special["</s>"]] for turn in turns]
            row.add([asked[0], *([user, *question] for question in asked[1:])], said)
        return row

    def _words(self, text: str) -> list[int]:
        ids: list[int] = self.tokens(text, add_special_tokens=False)["input_ids"]
        return ids

    def __getitem__(self, index: int) -> Batch:
        """The batch of one step."""
        rng = np.random.default_rng((self.seed, index))
        rows: list[Row] = []
        pixels, patches = [], []
        questions, odds = range(self.stage.questions), self.stage.odds
        for _ in range(self.stage.batch_size):
            if rng.random() < self.stage.texts:
                dialogues = [text_dialogue(rng, self.lessons) for _ in questions]
                rows.append(self._encode(dialogues, picture=False))
                continue
            scene = draw(rng, self.stage.counts)
            dialogues = [picture_dialogue(rng, scene.things, odds, self.lessons) for _ in questions]
            rows.append(self._encode(dialogues, picture=True))
            pixels += cut(scene.pixels, self.stage.views)
            patches.append(scene.labels.reshape(-1))
        length = max(len(row.ids) for row in rows)

        def padded(column: Callable[[Row], list[int]], fill: int) -> Tensor:
            return torch.tensor([column(row) + [fill] * (length - len(row.ids)) for row in rows])

        return Batch(
            ids=padded(lambda row: row.ids, self.special["<pad>"]),
            labels=padded(lambda row: row.labels, IGNORED),
            positions=padded(lambda row: row.positions, 0),
            allowed=_allowed(padded(lambda row: row.dialogues, -1)),
            pixels=torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2),
            patches=torch.from_numpy(np.stack(patches)),
        )


def _attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, bias: Tensor, **options: Any
) -> tuple[Tensor, None]:
    """Attention from `[B, H, L, D]` to `[B, L, H, D]`, with an additive bias `[B, 1, L, L]`.

    In bfloat16 on a CPU, three plain products take less than half of the time of the fused kernel,
    whose backward pass is slow. The rows are short, so all scores fit in memory.
    """
    batch, heads, length, width = query.shape
    scores = torch.baddbmm(
        bias.expand(batch, heads, length, length).flatten(0, 1),
        query.flatten(0, 1),
        key.flatten(0, 1).transpose(1, 2),
        alpha=options["scaling"],
    )
    read = scores.softmax(-1) @ value.flatten(0, 1)
    return read.unflatten(0, (batch, heads)).transpose(1, 2), None


_ATTENTION = "training-products"
AttentionInterface.register(_ATTENTION, _attend)


def _bias(allowed: Tensor) -> Tensor:
    """0 where a query may see a key, elsewhere -1e4; in the precision of the products."""
    dtype = torch.bfloat16 if fast_bfloat16(allowed.device) else torch.float32
    bias = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
    return bias.masked_fill(~allowed, -1e4)


def _words() -> Tensor:
    """Token ids of the things' names and, last, of "nothing": `[things + 1]`."""
    names = [*(thing.name for thing in THINGS), "nothing"]
    return torch.tensor(tokenizer().convert_tokens_to_ids(names))


def _vision(model: Model, pixels: Tensor) -> Tensor:
    with torch.no_grad():
        out = model.model.vision_tower(normalize(pixels), output_hidden_states=True)
    return out.hidden_states[-1][:, 1:]


def _image_embeddings(model: Model, pixels: Tensor, patches: Tensor, source: str) -> Tensor:
    """`[B, 36, hidden]`: noisy embeddings of the true words, or projected vision features."""
    if source == "vision":
        return model.model.multi_modal_projector(_vision(model, pixels))
    table = model.get_input_embeddings().weight
    wrong = torch.rand(patches.shape, device=patches.device) < 0.04
    anything = torch.randint(0, NOTHING + 1, patches.shape, device=patches.device)
    words = table[_words().to(patches.device)[torch.where(wrong, anything, patches)]]
    return words + 0.3 * table.detach().std() * torch.randn_like(words)


def train_language(
    model: Model,
    stage: Stage,
    *,
    seed: int,
    run: Path,
    data: Dataset[Batch] | None = None,
    workers: int = 1,
) -> None:
    """Train the language model and, with vision features, the projector; the tower is frozen.

    Args:
        model: changed in place.
        stage: data, length and learning rate.
        seed: of the batches.
        run: folder of the stage's checkpoint and log; training resumes from there.
        data: the batches; by default the stage's own dialogues.
        workers: processes that draw the batches.
    """
    name, steps = f"language-{stage.name}", stage.steps
    device = model.device
    model.model.vision_tower.requires_grad_(False)
    model.model.multi_modal_projector.requires_grad_(stage.source == "vision")
    model.model.language_model.set_attn_implementation(_ATTENTION)
    optimizer = Optimizer(model, rate=stage.rate, steps=steps)
    checkpoint, start = run / f"{name}.pt", 0
    if checkpoint.is_file():
        state = torch.load(checkpoint, weights_only=True, map_location=device)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        start = state["step"]
    data = Dialogues(stage, seed) if data is None else data
    loader = DataLoader(
        data, batch_size=None, sampler=range(start, steps), num_workers=workers, prefetch_factor=4
    )
    image_id = model.config.image_token_index
    columns = (*Progress.get_default_columns(), TextColumn("{task.fields[shown]}"))
    losses: list[float] = []
    hits: list[float] = []
    run.mkdir(parents=True, exist_ok=True)
    with Progress(*columns) as progress, (run / f"{name}.jsonl").open("a") as log:
        task = progress.add_task(name, total=steps, completed=start, shown="")
        for step, drawn in enumerate(loader, start):
            batch = drawn.to(device)
            with reduced_precision(device):
                slots = _image_embeddings(model, batch.pixels, batch.patches, stage.source)
                embedded = model.get_input_embeddings()(batch.ids)
                is_slot = (batch.ids == image_id).unsqueeze(-1).expand_as(embedded)
                embedded = embedded.masked_scatter(is_slot, slots.to(embedded.dtype))
                hidden = model.model.language_model(
                    inputs_embeds=embedded,
                    attention_mask=_bias(batch.allowed),
                    position_ids=batch.positions,
                ).last_hidden_state
                learned = batch.labels[:, 1:] != IGNORED
                logits = model.lm_head(hidden[:, :-1][learned]).float()
            wanted = batch.labels[:, 1:][learned]
            loss = functional.cross_entropy(logits, wanted)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            hits.append((logits.argmax(-1) == wanted).float().mean().item())
            progress.update(task, advance=1, shown=f"loss {losses[-1]:.3f}")
            if (step + 1) % 50 == 0:
                row = {
                    "step": step + 1,
                    "loss": round(float(np.mean(losses)), 4),
                    "tokens": round(float(np.mean(hits)), 4),
                }
                log.write(json.dumps(row) + "\n")
                log.flush()
                losses, hits = [], []
            if (step + 1) % 250 == 0 or step + 1 == steps:
                state = {
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "step": step + 1,
                }
                torch.save(state, checkpoint)


def align_projector(model: Model, *, steps: int, batch_size: int, rate: float, seed: int) -> float:
    """Train the projector to map a patch to the embedding of the word for what it shows.

    Returns:
        The share of covered patches closest to the right word, in the last batch.
    """
    table = model.get_input_embeddings().weight.detach()[_words()]
    projector = model.model.multi_modal_projector
    projector.requires_grad_(True)
    optimizer = torch.optim.AdamW(projector.parameters(), lr=rate)
    right = 0.0
    for step in range(steps):
        rng = np.random.default_rng((seed, 3, step))
        drawn = [draw(rng) for _ in range(batch_size)]
        pixels = torch.from_numpy(np.stack([s.pixels for s in drawn])).permute(0, 3, 1, 2)
        labels = torch.from_numpy(np.stack([s.labels.reshape(-1) for s in drawn])).flatten()
        made = projector(_vision(model, pixels)).flatten(0, 1)
        logits = -torch.cdist(made, table).square() / (2 * table.var() * table.shape[1] * 0.1)
        distance = functional.mse_loss(made, table[labels]) / table.var()
        loss = functional.cross_entropy(logits, labels) + distance
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        covered = labels != NOTHING
        right = (logits.argmax(-1) == labels)[covered].float().mean().item()
    return right


def adopt_tower(model: Model, tower: nn.Module) -> None:
    """Copy the trained vision tower into the model."""
    model.model.vision_tower.load_state_dict(tower.state_dict())
