"""Stages 2 to 4: the language model, the projector, and both together.

The language model learns on scenes as words, the projector learns to make such words out of vision
features, and both are tuned together on drawn scenes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from rich.progress import Progress, TextColumn
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from guardalign_middleware.mini.questions import THINGS
from training.llava.dialogues import Turn, picture_turns, text_turns
from training.llava.package import processor, tokenizer
from training.llava.scenes import GRID, NOTHING, draw
from training.llava.vision import normalize
from training.optimizer import Optimizer

# A LlavaForConditionalGeneration; its parts carry no types.
Model = Any
TOKENS = GRID * GRID
IGNORED = -100
Batch = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


class Dialogues(Dataset[Batch]):
    """Batch `i`, drawn from the seed and `i`: ids, labels, has-picture, pixels, patch labels."""

    def __init__(self, seed: int, batch_size: int, steps: int, text_share: float) -> None:
        self.seed, self.batch_size, self.steps = seed, batch_size, steps
        self.text_share = text_share
        self.tokens = tokenizer()
        self.template = processor()

    def __len__(self) -> int:
        """Number of batches."""
        return self.steps

    def _encode(self, turns: list[Turn], picture: bool) -> tuple[list[int], list[int]]:
        """Ids and labels, in the words of the chat template; only answers are learned."""
        special = self.tokens.get_vocab()
        ids = [special["<s>"]]
        labels = [IGNORED]
        for number, turn in enumerate(turns):
            slots = [special["<image>"]] * TOKENS if picture and number == 0 else []
            words = self.tokens(turn.question, add_special_tokens=False)["input_ids"]
            asked = [special["<user>"], *slots, *words, special["<assistant>"]]
            said = self.tokens(turn.answer, add_special_tokens=False)["input_ids"]
            said = [*said, special["</s>"]]
            ids += [*asked, *said]
            labels += [*([IGNORED] * len(asked)), *said]
        return ids, labels

    def __getitem__(self, index: int) -> Batch:
        """The batch of one step."""
        rng = np.random.default_rng((self.seed, index))
        rows: list[tuple[list[int], list[int]]] = []
        pixels, patches, pictured = [], [], []
        for _ in range(self.batch_size):
            if rng.random() < self.text_share:
                rows.append(self._encode(text_turns(rng), picture=False))
                pictured.append(False)
                continue
            scene = draw(rng)
            rows.append(self._encode(picture_turns(rng, scene.things), picture=True))
            pictured.append(True)
            pixels.append(scene.pixels)
            patches.append(scene.labels.reshape(-1))
        length = max(len(ids) for ids, _ in rows)
        pad = self.tokens.pad_token_id
        ids = torch.tensor([row + [pad] * (length - len(row)) for row, _ in rows])
        labels = torch.tensor([row + [IGNORED] * (length - len(row)) for _, row in rows])
        return (
            ids,
            labels,
            torch.tensor(pictured),
            torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2),
            torch.from_numpy(np.stack(patches)),
        )


def _words() -> Tensor:
    """Ids of the things' names, and of "nothing" last: `[things + 1]`."""
    names = [*(thing.name for thing in THINGS), "nothing"]
    return torch.tensor(tokenizer().convert_tokens_to_ids(names))


def _vision(model: Model, pixels: Tensor) -> Tensor:
    with torch.no_grad():
        out = model.model.vision_tower(normalize(pixels), output_hidden_states=True)
    return out.hidden_states[-1][:, 1:]


def _image_embeddings(model: Model, pixels: Tensor, patches: Tensor, source: str) -> Tensor:
    """`[B, 36, hidden]`: word embeddings of the truth, or projected vision features."""
    if source == "vision":
        return model.model.multi_modal_projector(_vision(model, pixels))
    table = model.get_input_embeddings().weight
    truth = patches.clone()
    wrong = torch.rand(truth.shape) < 0.04
    truth[wrong] = torch.randint(0, NOTHING + 1, (int(wrong.sum()),))
    words = table[_words()[truth]]
    return words + 0.3 * table.detach().std() * torch.randn_like(words)


def train_language(
    model: Model,
    *,
    source: Literal["words", "vision"],
    steps: int,
    batch_size: int,
    rate: float,
    seed: int,
    run: Path,
) -> None:
    """Tune the language model (and, with vision features, the projector); the tower stays."""
    name = f"language-{source}"
    model.model.vision_tower.requires_grad_(False)
    model.model.multi_modal_projector.requires_grad_(source == "vision")
    optimizer = Optimizer(model, rate=rate, steps=steps)
    checkpoint, start = run / f"{name}.pt", 0
    if checkpoint.is_file():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        start = state["step"]
    data = Dialogues(seed, batch_size, steps, text_share=0.16)
    loader = DataLoader(
        data, batch_size=None, sampler=range(start, steps), num_workers=1, prefetch_factor=4
    )
    image_id = model.config.image_token_index
    columns = (*Progress.get_default_columns(), TextColumn("{task.fields[shown]}"))
    losses: list[float] = []
    hits: list[float] = []
    run.mkdir(parents=True, exist_ok=True)
    with Progress(*columns) as progress, (run / f"{name}.jsonl").open("a") as log:
        task = progress.add_task(name, total=steps, completed=start, shown="")
        for step, (ids, labels, _, pixels, patches) in enumerate(loader, start):
            with torch.autocast("cpu", torch.bfloat16):
                slots = _image_embeddings(model, pixels, patches, source)
                embedded = model.get_input_embeddings()(ids)
                is_slot = (ids == image_id).unsqueeze(-1).expand_as(embedded)
                embedded = embedded.masked_scatter(is_slot, slots.to(embedded.dtype))
                hidden = model.model.language_model(inputs_embeds=embedded).last_hidden_state
                learned = labels[:, 1:] != IGNORED
                logits = model.lm_head(hidden[:, :-1][learned]).float()
            wanted = labels[:, 1:][learned]
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
    """Teach the projector to land on the word embedding of what a patch shows.

    Returns the share of covered patches that land nearest the right word, on the last batch.
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
    """Copy the trained vision tower in."""
    model.model.vision_tower.load_state_dict(tower.state_dict())
