"""The guard at work on LangChain values: find, take in, scan together, put back.

This is what the runnable, the agent middleware and the document transformer share.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from PIL import Image

from guardalign_middleware.cache import BoundedCache
from guardalign_middleware.errors import ConfigError, GuardAlignError, ImageRejected, MessageError
from guardalign_middleware.handles import LazyGuard
from guardalign_middleware.intake.messages import parse_messages
from guardalign_middleware.types import CanonicalImage, Verdict
from langchain_guardalign.blocks import Part
from langchain_guardalign.message_walk import FoundImage, Replacement, find_images, put_images

Strategy = Literal["mask", "replace", "block", "flag"]
STRATEGIES: tuple[Strategy, ...] = ("mask", "replace", "block", "flag")
NOTICE = "[image removed: it was found unsafe]"
UNREADABLE = "[image removed: it could not be checked]"

_MAX_CACHED_BYTES = 128 * 2**20
_PART_PLACE = "messages[0].content[0]"


@dataclass(frozen=True, eq=False)
class Examined:
    """What is known about one picture.

    Attributes:
        verdict: of the scan.
        png: what may be shown in its place, as PNG bytes; None when nothing may.
    """

    verdict: Verdict
    png: bytes | None


@dataclass(frozen=True)
class _Name:
    """Which pixels an encoded image holds, so that it is not decoded again."""

    sha256: str
    source: str


@dataclass(frozen=True, eq=False)
class _Taken:
    name: _Name
    image: CanonicalImage | None
    known: Examined | None


@dataclass(frozen=True, eq=False)
class Cleaned:
    """A value after the guard.

    Attributes:
        value: the copy that may be forwarded; the same object when nothing had to change.
        verdicts: one for each image that could be read, in reading order.
        records: what the metadata say about each image, in reading order.
    """

    value: Any
    verdicts: tuple[Verdict, ...]
    records: tuple[Mapping[str, Any], ...]

    @property
    def flagged(self) -> tuple[Verdict, ...]:
        """The verdicts of the unsafe images."""
        return tuple(verdict for verdict in self.verdicts if verdict.flagged)


class ImageCleaner:
    """Cleans the images of any LangChain value; equal pictures are scanned once.

    Args:
        guard: scans and masks; loaded when the first image comes.
        strategy: what happens to an unsafe image: "mask" shows the cleaned picture, "replace" and
            "block" a text notice, "flag" leaves it and only records the verdict.
        notice: the text that stands where an image was removed.
        cache_size: how many pictures are remembered, at most 128 MiB together.

    Raises:
        ConfigError: a strategy that does not exist.
    """

    def __init__(
        self,
        guard: LazyGuard,
        strategy: Strategy = "mask",
        notice: str = NOTICE,
        cache_size: int = 256,
    ) -> None:
        if strategy not in STRATEGIES:
            raise ConfigError(
                f"There is no strategy {strategy!r}.",
                remedy=f"Use one of: {', '.join(STRATEGIES)}.",
            )
        if cache_size < 0:
            raise ConfigError(f"cache_size should be >= 0. Received {cache_size}.")
        self.guard = guard
        self.strategy = strategy
        self.notice = notice
        self.cache_size = cache_size
        self._names: BoundedCache[_Name] = BoundedCache(
            4 * cache_size, _MAX_CACHED_BYTES, lambda _: 256
        )
        self._examined: BoundedCache[Examined] = BoundedCache(
            cache_size, _MAX_CACHED_BYTES, _size, _was_scanned
        )

    def __reduce__(self) -> tuple[type[ImageCleaner], tuple[Any, ...]]:
        # The cache stays behind: it holds locks, and nothing that cannot be found out again.
        return type(self), (self.guard, self.strategy, self.notice, self.cache_size)

    def clean(self, value: object, place: str = "input", *, strict: bool = False) -> Cleaned:
        """Clean one value.

        Args:
            value: a message, a list of messages, or plain containers with images in them.
            place: what it is called in errors.
            strict: whether the value is itself message content, where nothing unknown may pass.

        Raises:
            ImageRejected: an image that the intake policy does not accept.
            MessageError: a content block that could hold an image and cannot be read.
            GuardError: a fault of the guard; nothing is forwarded.
        """
        (cleaned,) = self.clean_many([value], place, strict=strict)
        if isinstance(cleaned, Exception):
            raise cleaned
        return cleaned

    def clean_many(
        self, values: Sequence[object], place: str = "input", *, strict: bool = False
    ) -> list[Cleaned | GuardAlignError]:
        """Clean several values with one scan; a value that is refused has its error instead.

        Raises:
            GuardError: a fault of the guard, which concerns all of them.
        """
        taken = [self._take_in_all(value, place, strict) for value in values]
        images = {
            item.name.sha256: item.image
            for row in taken
            if not isinstance(row, Exception)
            for item in row
            if item is not None and item.image is not None
        }
        examined = self._examined.get_many(images, self._examine)
        return [
            row
            if isinstance(row, GuardAlignError)
            else self._finish(value, row, examined, place, strict)
            for value, row in zip(values, taken, strict=True)
        ]

    def _take_in_all(
        self, value: object, place: str, strict: bool
    ) -> list[_Taken | None] | GuardAlignError:
        try:
            return [self._take_in(item) for item in find_images(value, place, strict=strict)]
        except (ImageRejected, MessageError) as error:
            return error

    def _take_in(self, found: FoundImage) -> _Taken | None:
        """Decode an image unless it is known; None for something in a text that is no image."""
        key = _fingerprint(found.part)
        name = self._names.get(key) if key else None
        known = self._examined.get(name.sha256) if name else None
        if name and known:
            return _Taken(name, None, known)
        try:
            image = self._load(found)
        except ImageRejected:
            if found.declared:
                raise
            return None
        name = _Name(image.sha256, image.source)
        if key:
            self._names.get_many({key: name}, lambda names: names)
        return _Taken(name, image, None)

    def _load(self, found: FoundImage) -> CanonicalImage:
        # The core's own parser, so that its policy on paths and URLs is the only one.
        message = {"role": "user", "content": [found.part]}
        try:
            (parsed,) = parse_messages([message], self.guard.config.intake)
        except ImageRejected as error:
            raise ImageRejected(
                error.message.replace(_PART_PLACE, found.place),
                reason=error.reason,
                source=error.source,
                remedy=error.remedy,
            ) from error
        except MessageError as error:
            raise MessageError(
                error.message.replace(_PART_PLACE, found.place), remedy=error.remedy
            ) from error
        if len(parsed.images) > 1:
            # The block has room for one picture, and a model might look at another.
            raise ImageRejected(
                f"{found.place} holds a file of {len(parsed.images)} frames.",
                reason="multiple_frames",
                source=found.place,
                remedy="Pass the frames as single images.",
            )
        return parsed.images[0]

    def _examine(self, images: list[CanonicalImage]) -> list[Examined]:
        if not images:
            return []
        guard = self.guard.get()
        if self.strategy == "mask":
            return [
                Examined(item.verdict, None if item.image is None else _png(item.image))
                for item in guard.sanitize_many(images)
            ]
        return [
            Examined(verdict, None if verdict.flagged or self.strategy == "flag" else _png(image))
            for image, verdict in zip(images, guard.scan_many(images), strict=True)
        ]

    def _finish(
        self,
        value: object,
        row: Sequence[_Taken | None],
        examined: Mapping[str, Examined],
        place: str,
        strict: bool,
    ) -> Cleaned:
        if not row:
            return Cleaned(value, (), ())
        verdicts: list[Verdict] = []
        replacements: list[Replacement] = []
        for item in row:
            if item is None:
                record = {"decision": "block", "action": "unreadable"}
                replacements.append(Replacement(note=UNREADABLE, record=record))
                continue
            known = item.known or examined[item.name.sha256]
            verdict = replace(known.verdict, source=item.name.source)
            verdicts.append(verdict)
            replacements.append(self._replacement(verdict, known.png))
        return Cleaned(
            put_images(value, replacements, place, strict=strict),
            tuple(verdicts),
            tuple(item.record for item in replacements),
        )

    def _replacement(self, verdict: Verdict, png: bytes | None) -> Replacement:
        if not verdict.flagged:
            action = "none"
        elif self.strategy == "mask":
            action = "mask" if png is not None else "replace"
        else:
            action = self.strategy
        record = {**verdict.to_json(), "action": action}
        if png is not None:
            return Replacement(png=png, record=record)
        if self.strategy == "flag":
            return Replacement(record=record)
        return Replacement(note=self.notice, record=record)


def _fingerprint(part: Part) -> str | None:
    """Digest of an encoded image and of how it is declared; None for what is decoded already."""
    if "base64" in part:
        payload: object = part["base64"]
        how = f"base64:{part.get('mime_type')}:"
    elif "image_url" in part:
        payload, how = part["image_url"]["url"], "url:"
        if not str(payload).lower().startswith("data:"):
            # A file may change between two looks at it.
            return None
    else:
        payload, how = part.get("image"), "bytes:"
    if isinstance(payload, str) and how != "bytes:":
        payload = payload.encode("utf-8", "surrogatepass")
    if not isinstance(payload, bytes):
        return None
    digest = hashlib.sha256(how.encode("utf-8", "surrogatepass"))
    digest.update(payload)
    return digest.hexdigest()


def _png(image: CanonicalImage) -> bytes:
    buffer = io.BytesIO()
    # The fastest level: most of the size is won already, and a chat waits for this.
    Image.fromarray(image.pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _was_scanned(examined: Examined) -> bool:
    """What passed unscanned after a fault is looked at anew the next time."""
    return examined.verdict.fault is None


def _size(examined: Examined) -> int:
    evidence = examined.verdict.evidence
    arrays = evidence.patch_boxes.nbytes + evidence.patch_distances.nbytes
    return len(examined.png or b"") + arrays
