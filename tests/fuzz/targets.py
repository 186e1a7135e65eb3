"""The fuzzed targets: how a case is made, and what must hold for it.

A check returns a short name for its outcome, which is counted. Only documented errors are outcomes;
any other exception is a finding.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import (
    GuardAlignError,
    ImageRejected,
    MessageError,
    OutOfMemory,
)
from guardalign_middleware.intake import load_frames, load_image
from guardalign_middleware.intake.messages import parse_messages
from guardalign_middleware.types import CanonicalImage
from tests.fuzz.conversations import some_messages, some_url
from tests.fuzz.mutate import mutate
from tests.fuzz.seeds import FORMATS, colour_profile, exif_block, seed_files
from tests.support.pictures import encode, gradient

REASONS = frozenset(re.findall(r"`([a-z_]+)`", str(ImageRejected.__doc__))) - {"reason"}
# Small limits keep most cases cheap; a few run with the shipped limits.
_SMALL = {"max_pixels": 20_000, "max_total_pixels": 40_000, "max_frames": 4}


@dataclass(frozen=True)
class Target:
    """One thing to fuzz.

    Attributes:
        make: makes a case from random numbers alone, so a seed identifies it.
        check: returns the outcome of a case in a word or two.

    Raises:
        Exception: anything that `check` raises is a finding.
    """

    make: Callable[[Random], Any]
    check: Callable[[Any], str]


def make_file(random: Random) -> bytes:
    """A damaged file, or an undamaged one with damaged metadata."""
    files = seed_files()
    if random.random() < 0.9:
        return mutate(random, random.choice(files), files)
    image_format = random.choice(("JPEG", "PNG", "WEBP"))
    exif = mutate(random, exif_block(), files)[:30_000]
    profile = mutate(random, colour_profile(), files)[:30_000]
    return encode(gradient(8, 6), image_format, exif=exif, icc_profile=profile)


def make_intake(random: Random) -> tuple[bytes, IntakePolicy]:
    """A file and the policy to load it with."""
    caps = _SMALL if random.random() < 0.95 else {}
    frames = random.choice(("reject", "scan_all"))
    return make_file(random), IntakePolicy(formats=FORMATS, frames=frames, **caps)


def check_intake(case: tuple[bytes, IntakePolicy]) -> str:
    """Canonical images within the limits, the same each time, or a rejection."""
    data, policy = case
    return _outcome(lambda: _frames(data, policy))


def check_url(url: str) -> str:
    """The same for URLs, none of which may be fetched."""
    policy = IntakePolicy(formats=FORMATS, **_SMALL)
    # Only a program may pass a path; this text comes from outside.
    text = url if url[:5].lower() == "data:" else f"data:{url}"
    return _outcome(lambda: _frames(text, policy))


def check_messages(messages: Any) -> str:
    """The core's own messages: all images are taken in, or there is a typed error."""
    policy = IntakePolicy(**_SMALL)

    def parse() -> str:
        parsed = parse_messages(messages, policy)
        images = [image for message in parsed for image in message.images]
        for image in images:
            _check_image(image, policy)
        return f"accepted with {min(len(images), 2)} images"

    return _outcome(parse)


def typed(error: GuardAlignError) -> str:
    """The name of a typed refusal; a finding if it lacks its reason or remedy.

    A lack of memory is a fault, and says nothing about the input; it is counted separately.
    """
    assert str(error), "an error without a message"
    if isinstance(error, OutOfMemory):
        return f"OutOfMemory: {error.stage}"
    if isinstance(error, ImageRejected):
        assert error.reason in REASONS, f"an undocumented reason {error.reason!r}"
        assert error.remedy, "a rejection without a remedy"
        return f"ImageRejected: {error.reason}"
    assert isinstance(error, MessageError), f"{type(error).__name__} is not a refusal of an input"
    return "MessageError"


def _outcome(run: Callable[[], str]) -> str:
    try:
        return run()
    except GuardAlignError as error:
        return typed(error)


def _frames(source: bytes | str, policy: IntakePolicy) -> str:
    images = load_frames(source, policy)
    assert 1 <= len(images) <= policy.max_frames
    assert sum(image.width * image.height for image in images) <= policy.max_total_pixels
    for image in images:
        _check_image(image, policy)
    digests, count = [image.sha256 for image in images], len(images)
    # While somebody has the pictures, equal bytes are not decoded again.
    del image, images
    # Memory that a reader left unwritten would differ, and leak its former content.
    again = [image.sha256 for image in load_frames(source, policy)]
    assert again == digests, "the same bytes gave other pixels"
    return "accepted" if count == 1 else "accepted with several frames"


def _check_image(image: CanonicalImage, policy: IntakePolicy) -> None:
    assert image.pixels.dtype == np.uint8
    assert not image.pixels.flags.writeable
    assert 1 <= image.width * image.height <= policy.max_pixels
    assert max(image.width, image.height) <= policy.max_aspect * min(image.width, image.height)
    # What is forwarded as PNG is what was scanned.
    if image.width * image.height <= 1_000:
        assert load_image(encode(image.to_pil()), policy).sha256 == image.sha256


def target(name: str) -> Target:
    """The target of a name, with everything that it imports: torch needs more than a case may.

    A framework is imported only for its own target.

    Raises:
        KeyError: there is no such target.
    """
    if name == "langchain":
        from tests.fuzz.langchain import check_langchain, make_langchain

        return Target(make_langchain, check_langchain)
    if name == "llama-index":
        from tests.fuzz.llama_index import check_llama_index, make_llama_index

        return Target(make_llama_index, check_llama_index)
    if name == "templates":
        from tests.fuzz.templates import check_template, make_template

        return Target(make_template, check_template)
    if name in _FILES:
        from tests.fuzz.model_files import MODEL_FILES

        return MODEL_FILES[name]
    if name.startswith("broken-"):
        from tests.fuzz.broken import BROKEN

        return BROKEN[name]
    return _TARGETS[name]


_TARGETS = {
    "intake": Target(make_intake, check_intake),
    "data-url": Target(some_url, check_url),
    "messages": Target(some_messages, check_messages),
}
_FILES = ("presets", "anchors", "profiles", "indexes")
NAMES = (*_TARGETS, "langchain", "llama-index", *_FILES, "templates")
