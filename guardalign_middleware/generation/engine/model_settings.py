"""What a model's own `generation_config` decides, checked when the runner is made.

The runner chooses tokens itself, greedily or by its own sampling, and ends answers itself. Of the
model's entries it keeps those that change scores row by row, such as `repetition_penalty`. Entries
for sampling and beams have no effect. Entries that would decode in another way, or end answers
without the runner, are refused.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.generation import logits_process

from guardalign_middleware.errors import ModelLoadError
from guardalign_middleware.generation.model_faults import MODEL_FAULTS

# transformers fills None with the model's own value, so neutral values are written out.
_OURS: dict[str, Any] = {
    "do_sample": False,
    "guidance_scale": 1.0,
    "num_beams": 1,
    "num_return_sequences": 1,
    "output_attentions": False,
    "output_hidden_states": False,
    "output_logits": False,
    "output_scores": False,
    "return_dict_in_generate": False,
    # Without a cache every token would read the whole prompt again, after the calibration ended.
    "use_cache": True,
}
# None and False mean that an entry is not used; transformers has no neutral value for most.
_REFUSED = (
    "assistant_early_exit",
    "constraints",
    "dola_layers",
    "force_words_ids",
    "max_time",
    "penalty_alpha",
    "prompt_lookup_num_tokens",
    "stop_strings",
    "token_healing",
    "use_mtp",
    "watermarking_config",
)
_NEUTRAL: dict[str, float] = {
    "encoder_no_repeat_ngram_size": 0,
    "encoder_repetition_penalty": 1.0,
    "min_length": 0,
    "min_new_tokens": 0,
    "no_repeat_ngram_size": 0,
    "repetition_penalty": 1.0,
}
# Makers of what changes the scores, from the entry's value, the end tokens and a prompt `[1, L]`.
_Maker = Callable[[Any, Any, Any], Any]
_SCORES: dict[str, _Maker] = {
    "bad_words_ids": lambda v, eos, ids: logits_process.NoBadWordsLogitsProcessor(v, eos),
    "begin_suppress_tokens": lambda v, eos, ids: (
        logits_process.SuppressTokensAtBeginLogitsProcessor(v, ids.shape[1])
    ),
    "encoder_no_repeat_ngram_size": lambda v, eos, ids: (
        logits_process.EncoderNoRepeatNGramLogitsProcessor(v, ids)
    ),
    "encoder_repetition_penalty": lambda v, eos, ids: (
        logits_process.EncoderRepetitionPenaltyLogitsProcessor(v, ids)
    ),
    "exponential_decay_length_penalty": lambda v, eos, ids: (
        logits_process.ExponentialDecayLengthPenalty(v, eos, ids.shape[1])
    ),
    "forced_bos_token_id": lambda v, eos, ids: logits_process.ForcedBOSTokenLogitsProcessor(v),
    "forced_eos_token_id": lambda v, eos, ids: logits_process.ForcedEOSTokenLogitsProcessor(
        ids.shape[1] + 1, v
    ),
    "min_length": lambda v, eos, ids: logits_process.MinLengthLogitsProcessor(v, eos),
    "min_new_tokens": lambda v, eos, ids: logits_process.MinNewTokensLengthLogitsProcessor(
        ids.shape[1], v, eos
    ),
    "no_repeat_ngram_size": lambda v, eos, ids: logits_process.NoRepeatNGramLogitsProcessor(v),
    "repetition_penalty": lambda v, eos, ids: logits_process.RepetitionPenaltyLogitsProcessor(v),
    "sequence_bias": lambda v, eos, ids: logits_process.SequenceBiasLogitsProcessor(v),
    "suppress_tokens": lambda v, eos, ids: logits_process.SuppressTokensLogitsProcessor(v),
}
# These count padding as part of the prompt, or count to the longest answer of the batch.
_WHOLE_BATCH = (
    "encoder_no_repeat_ngram_size",
    "encoder_repetition_penalty",
    "forced_eos_token_id",
    "min_length",
    "no_repeat_ngram_size",
)


@dataclass(frozen=True, eq=False)
class ModelSettings:
    """How a model is decoded, whatever the request.

    Attributes:
        eos: tokens that end an answer; may be empty.
        pad: the token that pads prompts and ended rows.
        alone: whether requests may share no pass, because an entry would mix them.
    """

    eos: frozenset[int]
    pad: int
    alone: bool
    _base: GenerationConfig

    def options(self, max_new_tokens: int) -> GenerationConfig:
        """The options of one `generate` call."""
        options: Any = copy.deepcopy(self._base)
        options.max_new_tokens = max_new_tokens
        return options  # type: ignore[no-any-return]


def model_settings(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> ModelSettings:
    """Read and check the model's `generation_config`.

    Raises:
        ModelLoadError: an entry has an impossible value, or asks for a decoding that the runner
            does not do.
    """
    given = model.generation_config
    base: Any = GenerationConfig() if given is None else copy.deepcopy(given)
    for name in _REFUSED:
        value = getattr(base, name, None)
        if value is not None and value is not False:
            raise _refused(name, value, "the runner does not decode in this way")
    if base.cache_implementation == "paged":
        raise _refused("cache_implementation", "paged", "the runner has no paged cache")
    vocabulary = int(model.config.get_text_config().vocab_size)
    eos = _ids("eos_token_id", base.eos_token_id) or _ids("eos_token_id", tokenizer.eos_token_id)
    pads = [tokenizer.pad_token_id, base.pad_token_id, *sorted(eos)]
    pad = next((p for p in pads if isinstance(p, int) and 0 <= p < vocabulary), 0)
    used = [
        name
        for name in _SCORES
        if getattr(base, name, None) is not None and getattr(base, name) != _NEUTRAL.get(name)
    ]
    for name in used:
        _try_scores(name, getattr(base, name), eos, vocabulary)
    try:
        base.update(**_OURS, eos_token_id=sorted(eos) or None, pad_token_id=pad)
        base.validate()
    except MODEL_FAULTS as error:
        raise ModelLoadError(
            f"The model's generation_config cannot be used: {error}",
            remedy="Correct its generation_config.json.",
        ) from error
    return ModelSettings(frozenset(eos), pad, any(name in _WHOLE_BATCH for name in used), base)


def _ids(name: str, value: Any) -> list[int]:
    items = value if isinstance(value, list | tuple) else [] if value is None else [value]
    if not all(isinstance(i, int) and not isinstance(i, bool) and i >= 0 for i in items):
        raise _refused(name, value, "token ids are integers from 0")
    return list(items)


def _try_scores(name: str, value: Any, eos: list[int], vocabulary: int) -> None:
    """Change the scores of a made-up prompt once, as the entry says."""
    ids = torch.tensor([[0, min(1, vocabulary - 1)]])
    scores = torch.linspace(-1.0, 1.0, vocabulary)[None]
    end = torch.tensor(eos, dtype=torch.int64)
    try:
        changed = _SCORES[name](value, end, ids)(ids, scores.clone())
    except MODEL_FAULTS as error:
        raise _refused(name, value, str(error)) from error
    if changed.shape != scores.shape or bool(changed.isnan().any()):
        raise _refused(name, value, "it makes NaN of scores")


def _refused(name: str, value: Any, reason: str) -> ModelLoadError:
    return ModelLoadError(
        f"The model's generation_config has {name} = {str(value)[:100]}: {reason}.",
        remedy="Correct or delete the entry in its generation_config.json.",
    )
