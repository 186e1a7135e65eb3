"""`guardalign explain-attention`: a question's attention to the safety prefix, per layer."""

from __future__ import annotations

from pathlib import Path

from guardalign_middleware.cli.console import (
    ALLOWED,
    err,
    out,
    plain,
    print_json,
    without_loading_bars,
)
from guardalign_middleware.cli.plots import check_plot
from guardalign_middleware.config import CalibrationConfig, GuardAlignConfig
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.generation import CalibratedRunner
from guardalign_middleware.generation.attention.plot import plot_prefix_attention, save_figure
from guardalign_middleware.output import load_as_scanned
from guardalign_middleware.start_checks import require_runner
from guardalign_middleware.types import ImagePart, Message, TextPart


def run_explain(
    image: str, question: str, *, target: Path, gamma: float | None, as_json: bool, preset: str
) -> int:
    """Run the prompt with and without calibration, and plot each layer's attention to the prefix.

    The image is not scanned, and the model's answer is not shown.

    Args:
        image: an image file.
        question: the instruction.
        target: the output file.
        gamma: strength; None = the preset's, or the default if that is 0.
        as_json: print the numbers.
        preset: the preset with the model.

    Returns:
        The exit status 0.

    Raises:
        GuardAlignError: any error; nothing was written.
    """
    check_plot(target)
    without_loading_bars()
    config = GuardAlignConfig.load(preset)
    picture = load_as_scanned(image, config.intake, config.output)
    runner = require_runner(config)
    strength = runner.calibration.gamma or CalibrationConfig().gamma if gamma is None else gamma
    if strength <= 0.0:
        raise ConfigError(f"--gamma should be > 0. Received {strength}.")
    calibration = runner.calibration.model_copy(update={"gamma": strength})
    with err().status("loading the model"):
        model = CalibratedRunner.from_config(runner.model_copy(update={"calibration": calibration}))
    messages = (Message("user", (ImagePart(picture), TextPart(question))),)
    bare, calibrated = (
        model.generate(messages, calibrate=on, explain=True, max_new_tokens=1).calibration
        for on in (False, True)
    )
    if not bare.prefix_attention:
        raise ConfigError("The question is empty.", remedy="Pass a question.")
    save_figure(plot_prefix_attention(bare, calibrated, title=model.name), target)
    if as_json:
        print_json(
            {
                "model": model.name,
                "gamma": strength,
                "layers": list(calibrated.layers),
                "plain": bare.to_json()["prefix_attention"],
                "calibrated": calibrated.to_json()["prefix_attention"],
            }
        )
    else:
        out().print(plain(str(target)))
    return ALLOWED
