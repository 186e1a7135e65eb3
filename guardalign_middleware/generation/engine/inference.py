"""Running one batch: inputs to the device, calibrated attention, tokens to their rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessorList, StoppingCriteriaList

from guardalign_middleware.config import CalibrationConfig
from guardalign_middleware.errors import CalibrationError
from guardalign_middleware.generation.attention.activate import (
    calibrated_attention,
    find_attention_layers,
    model_lock,
)
from guardalign_middleware.generation.attention.run import AttentionLayers, CalibrationRun
from guardalign_middleware.generation.engine.collate import collate
from guardalign_middleware.generation.engine.decoding import BatchWatch, NextTokens
from guardalign_middleware.generation.engine.job import Job
from guardalign_middleware.generation.engine.loading import LoadedModel
from guardalign_middleware.generation.engine.model_settings import model_settings
from guardalign_middleware.generation.prompt.encoder import EncodedPrompts
from guardalign_middleware.replies import CalibrationReport

_PROBE_TEXT = "What is in the picture?"


class Inference:
    """Answers batches of jobs with one model, and leaves the model unchanged.

    Args:
        loaded: model and processor.
        config: mode, band and rows of the calibration; each job has its own strength.

    Raises:
        ModelLoadError: the model's `generation_config` cannot be used.
    """

    def __init__(self, loaded: LoadedModel, config: CalibrationConfig) -> None:
        self.model: Any = loaded.model
        self._config = config
        self._device = loaded.device
        self._tokenizer = loaded.processor.tokenizer
        self.settings = model_settings(loaded.model, self._tokenizer)

    @cached_property
    def all_layers(self) -> AttentionLayers:
        """The decoder layers whose attention can be calibrated, found by a short forward.

        Raises:
            CalibrationError: this model family cannot be calibrated; the message says why.
        """
        ids = self._tokenizer(_PROBE_TEXT, return_tensors="pt")["input_ids"].to(self._device)
        return find_attention_layers(self.model, ids)

    @cached_property
    def layers(self) -> AttentionLayers:
        """The layers inside the configured band; errors are those of `all_layers`."""
        return self.all_layers.band(*self._config.band)

    def answer(self, jobs: Sequence[Job]) -> None:
        """Answer every job of a batch, each as soon as its row ends.

        Raises:
            CalibrationError: calibration was requested and did not happen exactly as configured.
            GuardError: the model gave no trustworthy scores.
        """
        rows = [job.settings.options for job in jobs]
        options = self.settings.options(max(row.max_new_tokens for row in rows))
        prompts = collate([job.prompt for job in jobs], self.settings.pad)
        inputs = {name: self._to_model(value) for name, value in prompts.inputs.items()}
        with model_lock(self.model), torch.inference_mode():
            run = self._calibration(prompts, jobs)
            # For each row, the layers in which calibration took effect.
            layers: list[tuple[int, ...]] = [()] * len(jobs)
            ends: list[int] = []

            def started() -> None:
                # The prompt has been read and no text sent yet: check the evidence now.
                if run is not None:
                    run.observed_layers()
                    layers[:] = run.reached_layers()
                    for job, reached in zip(jobs, layers, strict=True):
                        self._check_reach(job, reached)
                    if restore is not None and run.cached and not run.generated:
                        restore()

            def ended(row: int) -> None:
                ends.append(row)
                # The last row is finished below, when the model is restored.
                if len(ends) < len(jobs):
                    jobs[row].finish(self._report(jobs[row], run, row, layers[row]))

            watch = BatchWatch([job.decoder for job in jobs], started=started, ended=ended)
            attention: AbstractContextManager[Callable[[], None] | None] = (
                nullcontext() if run is None else calibrated_attention(self.model, run)
            )
            with attention as restore:
                self.model.generate(
                    **inputs,
                    generation_config=options,
                    logits_processor=LogitsProcessorList(
                        [
                            NextTokens(
                                [row.temperature for row in rows],
                                [row.seed for row in rows],
                            )
                        ]
                    ),
                    stopping_criteria=StoppingCriteriaList([watch]),
                )
        if len(ends) == len(jobs):
            jobs[ends[-1]].finish(self._report(jobs[ends[-1]], run, ends[-1], layers[ends[-1]]))

    def _calibration(self, prompts: EncodedPrompts, jobs: Sequence[Job]) -> CalibrationRun | None:
        both = prompts.prefix_mask.any(dim=1) & prompts.instruction_mask.any(dim=1)
        explain = any(job.settings.explain for job in jobs)
        gammas = [job.settings.gamma for job in jobs]
        if not bool(both.any()) or not (explain or any(gammas)):
            return None
        return CalibrationRun(
            prompts.prefix_mask,
            prompts.instruction_mask,
            self._config,
            self.layers,
            gammas=gammas,
            observed=self.all_layers if explain else None,
        )

    def _check_reach(self, job: Job, layers: tuple[int, ...]) -> None:
        if layers or not _is_calibrated(job) or self._config.unsupported == "off":
            return
        raise CalibrationError(
            "No token of the instruction can attend to the safety prefix: in every layer that is "
            "calibrated, the prefix lies outside the attention window.",
            stage="calibration",
            remedy="Use prefix.placement 'before_instruction', another calibration.band, or "
            "calibration.unsupported 'off'.",
        )

    def _report(
        self, job: Job, run: CalibrationRun | None, row: int, layers: tuple[int, ...]
    ) -> CalibrationReport:
        settings = job.settings
        prefix_tokens = int(job.prompt.prefix_mask.sum())
        instruction_tokens = int(job.prompt.instruction_mask.sum())
        attention = () if run is None or not settings.explain else run.prefix_attention(row)
        reason = settings.off_reason
        if not reason and not settings.prefix:
            reason = "there is no safety prefix in the prompt"
        if not reason and instruction_tokens == 0:
            reason = "the last user message has no text"
        if not reason and not layers and self._config.unsupported == "off":
            reason = "the safety prefix lies outside the model's attention window"
        if reason:
            return CalibrationReport(
                "off",
                settings.prefix,
                self._config.mode,
                0.0,
                reason=reason,
                prefix_attention=attention,
            )
        if not layers or prefix_tokens == 0 or settings.gamma == 0.0:
            raise CalibrationError("A row was not calibrated.", stage="calibration")
        return CalibrationReport(
            state="on",
            prefix=True,
            mode=self._config.mode,
            gamma=settings.gamma,
            layers=layers,
            prefix_tokens=prefix_tokens,
            instruction_tokens=instruction_tokens,
            prefix_attention=attention,
        )

    def _to_model(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        if value.is_floating_point():
            return value.to(self._device, self.model.dtype)
        return value.to(self._device)


def _is_calibrated(job: Job) -> bool:
    spans = job.prompt.prefix_mask.any() and job.prompt.instruction_mask.any()
    return job.settings.gamma > 0.0 and bool(spans)
