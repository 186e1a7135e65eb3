"""A guard of texts that is a transformers model for text classification."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from guardalign_middleware.errors import ConfigError, GuardError, ModelLoadError
from guardalign_middleware.model_folder import loading_faults
from guardalign_middleware.model_folder.source import ModelName, open_source, pinned_weights
from guardalign_middleware.provenance import digest_files
from guardalign_middleware.words.guards.guard import Assessment
from guardalign_middleware.words.judge import STAGE

# Everything is in the folder by now, and its own code is never run.
_SAFE: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
_TOKENS = 512
_BATCH = 16


class ClassifierGuard:
    """Distance 1 − p of the unsafe labels.

    With one label of several, p is the softmax probability of the unsafe labels together, and the
    category that of the likeliest. With independent labels (`problem_type` of the model is
    `multi_label_classification`, or it has one label), p is the largest sigmoid of them.

    A text longer than the model reads is cut into overlapping windows, of which the nearest counts.

    Args:
        model: in evaluation mode.
        tokenizer: its own; a fast one, which can cut windows.
        unsafe: unsafe label of the model → category.
        name: of the model and its weights; verdicts are cached under it.

    Raises:
        ConfigError: `unsafe` is empty or names no label of the model, or the tokenizer is slow.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        unsafe: Mapping[str, str],
        *,
        name: str,
    ) -> None:
        # A config that was saved with one of its two tables lacks the other.
        labels = {label: int(index) for index, label in (model.config.id2label or {}).items()}
        missing = sorted(set(unsafe) - set(labels))
        if missing or not unsafe:
            raise ConfigError(
                f"{name} has no label {missing[0]!r}." if missing else "No label is unsafe.",
                remedy=f"Name the unsafe ones of {', '.join(labels)}.",
            )
        if not tokenizer.is_fast:
            raise ConfigError(
                f"The tokenizer of {name} cannot cut long texts into windows.",
                remedy="Save it with tokenizer.json.",
            )
        if tokenizer.pad_token_id is None or model.config.pad_token_id is None:
            raise ConfigError(
                f"{name} has no padding token, so it cannot read texts of different lengths.",
                remedy="Set pad_token of the tokenizer and pad_token_id of the model's config.",
            )
        self._model, self._tokenizer = model, tokenizer
        # A fast tokenizer sets its truncation anew in each call, and fails if two do so at once.
        self._turn = threading.Lock()
        self._unsafe = {labels[label]: category for label, category in unsafe.items()}
        self._several = (
            model.config.problem_type == "multi_label_classification" or len(labels) == 1
        )
        self._fingerprint = f"classifier:{name}:{sorted(self._unsafe.items())}"
        positions = getattr(model.config, "max_position_embeddings", None) or _TOKENS
        self._tokens = min(tokenizer.model_max_length, positions, _TOKENS)

    @classmethod
    def load(
        cls,
        model: str,
        unsafe: Mapping[str, str],
        *,
        revision: str | None = None,
        local_files_only: bool = False,
        device: str = "cpu",
    ) -> Self:
        """Load a local directory or a hub id, from safetensors only and without remote code.

        Args:
            model: directory or hub id.
            unsafe: unsafe label → category.
            revision: of a hub model; name a commit, so that thresholds stay valid.
            local_files_only: do not ask the hub.
            device: of torch.

        Raises:
            ModelLoadError: the model is missing, pickled, incomplete, or no classifier of texts.
            ConfigError: from the constructor.
        """
        named = ModelName(model, revision, local_files_only)
        source = open_source(named, weights=True)
        provenance = pinned_weights(source, named)
        with loading_faults(
            f"The classifier of texts {model}",
            "It needs safetensors weights, config.json and a tokenizer.",
        ):
            loaded, report = AutoModelForSequenceClassification.from_pretrained(
                str(source.folder), use_safetensors=True, output_loading_info=True, **_SAFE
            )
            tokenizer = AutoTokenizer.from_pretrained(str(source.folder), **_SAFE)
            loaded = loaded.to(torch.device(device)).eval()
        # transformers fills gaps with random weights: a model without its head guards nothing.
        if lacking := [*report["missing_keys"], *report["mismatched_keys"]]:
            raise ModelLoadError(
                f"{model} lacks the weights {', '.join(map(str, sorted(lacking)[:3]))}.",
                remedy="Name a model that was trained for text classification.",
            )
        files = {**provenance.files, **digest_files(source.folder.glob("*.json"))}
        digest = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()
        name = f"{source.name}@{digest}"
        return cls(loaded, tokenizer, unsafe, name=name)

    @property
    def fingerprint(self) -> str:
        """Made of the name and the unsafe labels."""
        return self._fingerprint

    def assess(self, texts: Sequence[str]) -> tuple[Assessment, ...]:
        """Classify texts.

        Raises:
            GuardError: the model failed, or gave NaN.
        """
        with self._turn:
            windows = self._tokenizer(
                list(texts),
                truncation=True,
                max_length=self._tokens,
                stride=min(self._tokens // 4, 64),
                return_overflowing_tokens=True,
                padding=True,
                return_tensors="pt",
            )
        owners = windows.pop("overflow_to_sample_mapping").tolist()
        best: dict[int, Assessment] = {}
        for first in range(0, len(owners), _BATCH):
            part = {key: rows[first : first + _BATCH] for key, rows in windows.items()}
            for offset, one in enumerate(self._classified(part)):
                owner = owners[first + offset]
                best[owner] = min(one, best.get(owner, one), key=lambda found: found.distance)
        return tuple(best[index] for index in range(len(texts)))

    def _classified(self, inputs: Mapping[str, torch.Tensor]) -> list[Assessment]:
        try:
            with torch.inference_mode():
                moved = {key: rows.to(self._model.device) for key, rows in inputs.items()}
                logits = self._model(**moved).logits.double().cpu()
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise GuardError(
                f"The classifier of texts failed: {str(error)[:300]}",
                stage=STAGE,
                remedy="Check that model and tokenizer belong together.",
            ) from error
        if not bool(torch.isfinite(logits).all()):
            raise GuardError(
                "The classifier of texts gave NaN or infinity.",
                stage=STAGE,
                remedy="Check the weights and their precision.",
            )
        shares = torch.sigmoid(logits) if self._several else torch.softmax(logits, dim=-1)
        columns = list(self._unsafe)
        unsafe = shares[:, columns]
        largest = unsafe.argmax(dim=-1).tolist()
        total = unsafe.amax(dim=-1) if self._several else unsafe.sum(dim=-1)
        return [
            Assessment(self._unsafe[columns[index]], 1.0 - min(share, 1.0))
            for index, share in zip(largest, total.tolist(), strict=True)
        ]
