"""A tiny model that really calls a tool: it is trained on one answer, in a second or two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoProcessor

from guardalign_middleware.config import CalibrationConfig
from guardalign_middleware.generation import CalibratedRunner
from guardalign_middleware.intake.messages import parse_messages
from tests.support.tiny.models import LLAVA_TEMPLATE, save_tiny_model

BOS = "{{ bos_token }}"
TOOL_TEMPLATE = LLAVA_TEMPLATE.replace("IMAGE", "<image>").replace(
    BOS,
    BOS + "{% if tools %}SYSTEM: {% for t in tools %}{{ t | tojson }}{% endfor %}\n"
    "Call with <tool_call>JSON</tool_call>.\n{% endif %}",
)


def tool_model(directory: Path) -> Path:
    """A tiny LLaVA whose chat template takes tools."""
    save_tiny_model(directory)
    processor: Any = AutoProcessor.from_pretrained(directory)
    processor.chat_template = TOOL_TEMPLATE
    processor.save_pretrained(directory)
    return directory


def runner_of(directory: Path) -> CalibratedRunner:
    """The runner of a tiny model, without calibration."""
    return CalibratedRunner.from_pretrained(
        str(directory), calibration=CalibrationConfig(gamma=0.0), max_new_tokens=120
    )


def teach(
    runner: CalibratedRunner,
    conversation: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]],
    answer: str,
    steps: int = 120,
) -> None:
    """Train the model until it gives exactly this answer to exactly this conversation."""
    prompts = runner._prompts
    encoded = prompts.encode(
        [parse_messages(conversation)], prefix=[True], spans=False, tools=tools
    ).inputs
    eos = prompts._tokenizer.eos_token_id
    target = torch.tensor([[*runner.token_ids(answer), eos]])
    ids = torch.cat([encoded["input_ids"], target], dim=1)
    labels = torch.cat([torch.full_like(encoded["input_ids"], -100), target], dim=1)
    more = {k: v for k, v in encoded.items() if k not in {"input_ids", "attention_mask"}}
    model: Any = runner._model
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        loss = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels, **more).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss.item() < 0.01:
            return
