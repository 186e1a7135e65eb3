"""What reads is loaded from the installed wheel, or not at all."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from guardalign_middleware.errors import ConfigError, ModelLoadError
from guardalign_middleware.words import models
from guardalign_middleware.words.models import DIGESTS, ReadingModels
from guardalign_middleware.words.reader import RapidReader


@pytest.mark.parametrize("missing", ["rapidocr", "onnxruntime"])
def test_a_missing_extra_is_an_error_that_names_it(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == missing else find(name)
    )
    with pytest.raises(ConfigError, match=r"pip install 'guardalign-core\[words\]'"):
        ReadingModels.load(1)


def test_a_version_with_other_weights_is_an_error_that_names_the_right_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(models, "FINDER", "PP-OCRv9_det.onnx")
    with pytest.raises(ConfigError, match=r"rapidocr>=3.10,<3.11"):
        ReadingModels.load(1)


def test_weights_with_another_digest_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DIGESTS, models.SPELLER, "0" * 64)
    with pytest.raises(ModelLoadError, match="different SHA-256"):
        ReadingModels.load(1)


def test_the_digests_of_the_weights_are_recorded(reader: RapidReader) -> None:
    assert reader.models.provenance.files == DIGESTS
    assert reader.models.fingerprint in reader.fingerprint


def test_the_threads_of_a_pass_are_bounded(reader: RapidReader) -> None:
    import torch

    for session in (reader.models.finder, reader.models.speller):
        options = session.get_session_options()
        assert options.intra_op_num_threads == torch.get_num_threads()
        assert options.inter_op_num_threads == 1


def test_reading_never_runs_the_code_of_rapidocr_which_can_download() -> None:
    code = (
        "import sys\nfrom guardalign_middleware.words.models import ReadingModels\n"
        "ReadingModels.load(1)\nassert 'rapidocr' not in sys.modules, 'loaded'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
