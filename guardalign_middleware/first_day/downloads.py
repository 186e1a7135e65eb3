"""What a preset fetches from the hub, asked before anything is fetched."""

from __future__ import annotations

from dataclasses import dataclass

from guardalign_middleware.config import GuardAlignConfig, RunnerConfig
from guardalign_middleware.detection.encoder_source import hub_places, tokenizer_revision
from guardalign_middleware.model_folder.hub import HubFile, HubModel, ask_hub, download, is_cached
from guardalign_middleware.model_folder.shard_index import INDEX
from guardalign_middleware.model_folder.source import SMALL, is_hub_id
from guardalign_middleware.model_folder.weights import SINGLE

ENCODER, SECOND, MODEL = "encoder", "second encoder", "model"
ENCODER_TOKENIZER = f"{ENCODER}'s tokenizer"


@dataclass(frozen=True)
class Need:
    """A repository of the hub that a preset loads from.

    Attributes:
        use: what for.
        repository: `owner/name`.
        revision: that the preset pins; None = it follows the default branch.
        patterns: the files; None = those of a model of transformers.
    """

    use: str
    repository: str
    revision: str | None
    patterns: tuple[str, ...] | None


@dataclass(frozen=True)
class Download:
    """What of a repository is needed, and what of it is missing.

    Attributes:
        need: what for.
        model: what the hub says of the repository.
        files: that are needed.
        missing: those of them that are not in the cache.
    """

    need: Need
    model: HubModel
    files: tuple[HubFile, ...]
    missing: tuple[HubFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(one.size for one in self.files)

    @property
    def to_fetch(self) -> int:
        """Bytes that are not in the cache."""
        return sum(one.size for one in self.missing)

    @property
    def weights(self) -> int:
        """Bytes of the weights."""
        return sum(one.size for one in self.files if one.name.endswith(".safetensors"))

    def fetch(self) -> None:
        """Fetch what is missing; errors are those of `hub.download`."""
        download(self.model, tuple(one.name for one in self.files), self.need.revision)


def needs_of(config: GuardAlignConfig) -> tuple[Need, ...]:
    """The repositories that a config names, without asking anybody.

    Raises:
        ModelLoadError: open_clip has no such encoder.
    """
    second = config.detection.defence.second
    encoders = {ENCODER: config.detection.encoder}
    if second is not None:
        encoders[SECOND] = second.encoder
    needs = []
    for use, encoder in encoders.items():
        first, *others = hub_places(encoder) or (None,)
        if first is None:
            continue
        needs.append(Need(use, first.repository, encoder.revision, first.patterns))
        for place in others:
            same = place.repository == first.repository
            revision = encoder.revision if same else tokenizer_revision(encoder)
            needs.append(Need(f"{use}'s tokenizer", place.repository, revision, place.patterns))
    runner = config.runner
    if runner is not None and is_hub_id(runner.model):
        needs.append(Need(MODEL, runner.model, runner.revision, None))
    return tuple(needs)


def plan(need: Need) -> Download:
    """Ask the hub what a need comes to.

    Raises:
        HubError: the hub does not say.
    """
    model = ask_hub(need.repository, need.revision)
    patterns = need.patterns
    if patterns is None:
        names = {one.name for one in model.files}
        weights = "model-*.safetensors" if INDEX in names else SINGLE
        patterns = (*SMALL, weights)
    files = model.matching(patterns)
    missing = tuple(one for one in files if not is_cached(model, one.name))
    return Download(need, model, files, missing)


def runner_dtype_factor(config: RunnerConfig) -> float:
    """How much larger or smaller a model is in memory than its file, about.

    Most are published in 16 bits.

    Args:
        config: its number format and quantization.
    """
    quantization = config.quantization or {}
    if quantization.get("load_in_4bit"):
        return 0.3
    if quantization.get("load_in_8bit"):
        return 0.55
    return 2.0 if config.dtype == "float32" else 1.0
