"""`guardalign ask`: one question about one image."""

from __future__ import annotations

from guardalign_middleware.cli.console import (
    ALLOWED,
    err,
    out,
    plain,
    print_json,
    without_loading_bars,
)
from guardalign_middleware.cli.scan import describe
from guardalign_middleware.config import GuardAlignConfig, Mode
from guardalign_middleware.generation import CalibratedRunner
from guardalign_middleware.guard import GuardAlign
from guardalign_middleware.intake import load_frames
from guardalign_middleware.replies import GuardedReply
from guardalign_middleware.start_checks import require_runner
from guardalign_middleware.types import ImagePart, Message, TextPart


def run_ask(
    image: str,
    question: str,
    *,
    as_json: bool,
    stream: bool,
    guarded: bool,
    preset: str,
    mode: Mode | None = None,
) -> int:
    """Print the answer on standard output, and the verdicts on standard error.

    Returns:
        The exit status 0, also for a blocked image, whose answer is the preset's blocked reply.

    Raises:
        GuardAlignError: any error; nothing was answered.
    """
    without_loading_bars()
    config = GuardAlignConfig.load(preset).in_mode(mode)
    # Read before the models load, so that a bad file is reported at once.
    frames = load_frames(image, config.intake)
    messages = (Message("user", (*map(ImagePart, frames), TextPart(question))),)
    if guarded:
        with err().status("loading the models"):
            chain = GuardAlign.from_config(config)
        if stream:
            with chain.stream(messages) as pieces:
                for piece in pieces:
                    out().print(plain(piece.text, lines=True), end="")
            out().print()
            reply = pieces.reply
        else:
            reply = chain.invoke(messages)
    else:
        with err().status("loading the model"):
            runner = CalibratedRunner.from_config(require_runner(config))
        if stream:
            with runner.stream(messages, prefix=False, calibrate=False) as tokens:
                for token in tokens:
                    out().print(plain(token, lines=True), end="")
            out().print()
            answer = tokens.result
        else:
            answer = runner.generate(messages, prefix=False, calibrate=False)
        reply = GuardedReply(
            text=answer.text,
            verdicts=(),
            calibration=answer.calibration,
            usage=answer.usage,
            finish_reason=answer.finish_reason,
            model=runner.name,
        )
    if as_json:
        print_json(reply.to_json())
        return ALLOWED
    for verdict in reply.verdicts:
        err().print(describe(verdict))
    if not stream:
        out().print(plain(reply.text, lines=True))
    return ALLOWED
