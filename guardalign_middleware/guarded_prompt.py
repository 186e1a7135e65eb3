"""A conversation after the guard: with cleaned images, and a notice for each blocked one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from guardalign_middleware import notices
from guardalign_middleware.generation.output import ChecksLength
from guardalign_middleware.handling import OnBlocked
from guardalign_middleware.intake.messages import ParsedConversation
from guardalign_middleware.intake.request import Sizes
from guardalign_middleware.replies import Dropped, Refused
from guardalign_middleware.sanitize import SanitizedImage
from guardalign_middleware.types import ImagePart, Message, TextPart, Verdict


@dataclass(frozen=True, eq=False)
class GuardedPrompt:
    """A conversation after the guard, as a model may see it.

    Attributes:
        messages: the conversation with every image cleaned, and a notice for each blocked image.
        images: the result for each image, in reading order.
        prefix: whether the safety prefix goes into the prompt.
        dropped: what of the conversation held neither text nor a picture.
        asked: whether the model is asked all the same if an image is blocked. It sees the notice:
            the image is from an older turn or from a tool, or `on_blocked` says so.
        refused: what could not be checked, so that a notice stands in its place.
    """

    messages: tuple[Message, ...]
    images: tuple[SanitizedImage, ...]
    prefix: bool
    dropped: tuple[Dropped, ...] = ()
    asked: bool = False
    refused: tuple[Refused, ...] = ()

    @property
    def blocked(self) -> bool:
        """True when an image may not be forwarded and the model is therefore not called."""
        return not self.asked and any(item.image is None for item in self.images)

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """The verdict on each image, in reading order."""
        return tuple(item.verdict for item in self.images)


def guarded_prompt(
    parsed: ParsedConversation,
    images: Sequence[SanitizedImage],
    on_blocked: OnBlocked,
    *,
    prefix: bool,
) -> GuardedPrompt:
    """Replace the images of a conversation by the cleaned ones.

    Args:
        parsed: the conversation.
        images: its images after the guard, in reading order.
        on_blocked: whether a reply takes the model's place if an image that the user has just sent
            is blocked.
        prefix: whether the safety prefix is in the prompt, whatever the images are.
    """
    turns = [turn for turn, each in enumerate(parsed.messages) for _ in each.images]
    # Every one of them is remembered, not only the first.
    new = [
        parsed.sent.is_new(item.original.sha256, turn)
        for turn, item in zip(turns, images, strict=True)
        if item.image is None
    ]
    # An unscanned image counts as flagged.
    flagged = any(item.verdict.flagged or item.verdict.fault is not None for item in images)
    return GuardedPrompt(
        _cleaned_messages(parsed.messages, images),
        tuple(images),
        prefix or flagged,
        parsed.dropped,
        asked=on_blocked == "notice" or not any(new),
        refused=parsed.refused,
    )


def check_length(runner: object, shown: bool, sizes: Sizes) -> None:
    """Refuse a conversation that the model cannot read, before its pictures are decoded.

    Args:
        runner: knows what it can read, if it is a local model.
        shown: whether the model gets every picture that the user has just sent, or is not asked.
            Otherwise, and in older turns, a short notice may take a picture's place.
        sizes: what was measured.

    Raises:
        ContextOverflow: its text is too long, or what the user has just sent.
    """
    if not isinstance(runner, ChecksLength):
        return
    # Some templates leave out what a model has thought.
    texts = [text for _, text in sizes.texts if "</think>" not in text]
    last = sum(turn == sizes.sent for turn, _ in sizes.pictures) if shown else 0
    runner.check_length(texts, last, len(sizes.pictures) - last)


def _cleaned_messages(
    messages: Sequence[Message], images: Sequence[SanitizedImage]
) -> tuple[Message, ...]:
    rest = iter(images)
    return tuple(
        Message(
            message.role,
            tuple(
                _cleaned(next(rest)) if isinstance(part, ImagePart) else part
                for part in message.parts
            ),
        )
        for message in messages
    )


def _cleaned(item: SanitizedImage) -> ImagePart | TextPart:
    return TextPart(notices.UNSAFE) if item.image is None else ImagePart(item.image)
