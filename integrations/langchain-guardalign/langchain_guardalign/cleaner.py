"""Clean the images of a LangChain value: find, decode, scan together, put back.

The runnable, the agent middleware and the document transformer share this.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from guardalign_middleware.cache import BoundedCache
from guardalign_middleware.encode import png_bytes
from guardalign_middleware.errors import ConfigError, GuardAlignError, ImageRejected, MessageError
from guardalign_middleware.handles import LazyGuard
from guardalign_middleware.handling import OnUnsafe
from guardalign_middleware.intake.data_url import is_data_url
from guardalign_middleware.intake.part import load_picture
from guardalign_middleware.notices import UNREADABLE
from guardalign_middleware.types import CanonicalImage, Verdict
from langchain_guardalign.dialects import Part
from langchain_guardalign.found_images import FoundImage, Replacement
from langchain_guardalign.message_walk import put_images, walk_images
from langchain_guardalign.verdict_metadata import UNREADABLE_RECORD, record_of

if TYPE_CHECKING:
    from guardalign_middleware.image_guard import ImageGuard

ON_UNSAFE: tuple[OnUnsafe, ...] = ("mask", "notice", "block", "flag")
"""What the guards of messages can do about an unsafe image."""

_MAX_CACHED_BYTES = 128 * 2**20


@dataclass(frozen=True, eq=False)
class Cleaned:
    """A value after the guard.

    Attributes:
        value: the copy that may be forwarded; the same object if nothing had to change.
        verdicts: one for each image that could be decoded, in reading order.
        records: one for each picture, in reading order, as the metadata report it.
    """

    value: Any
    verdicts: tuple[Verdict, ...]
    records: tuple[Mapping[str, Any], ...]

    @property
    def flagged(self) -> tuple[Verdict, ...]:
        """The verdicts on the unsafe images."""
        return tuple(verdict for verdict in self.verdicts if verdict.flagged)


@dataclass(frozen=True, eq=False)
class _Scan:
    """The verdict on a picture, and the file that may be shown; None if nothing may be."""

    verdict: Verdict
    file: bytes | None


@dataclass(frozen=True)
class _Decoded:
    """Digests and source of an encoded image and its pixels; saves decoding it again."""

    key: str
    source: str


@dataclass(frozen=True, eq=False)
class _Picture:
    """One image of a value: its pixels if they are still to be scanned, or the cached scan.

    Without `decoded`, it is no picture that can be read; `words` as in `FoundImage`.
    """

    decoded: _Decoded | None = None
    image: CanonicalImage | None = None
    scan: _Scan | None = None
    words: bool = False


class ImageCleaner:
    """Cleans the images of any LangChain value; equal pictures are scanned once.

    Args:
        guard: scans and masks; loaded for the first image.
        on_unsafe: "mask" shows the cleaned picture, or the notice where nothing may be shown;
            "flag" leaves the picture and only records the verdict; any other value shows the
            notice.
        notice: the text in place of an unsafe image.
        cache_size: number of pictures to remember, within 128 MiB.

    Raises:
        ConfigError: a negative `cache_size`.
    """

    def __init__(
        self,
        guard: LazyGuard,
        on_unsafe: OnUnsafe,
        notice: str,
        cache_size: int,
    ) -> None:
        if cache_size < 0:
            raise ConfigError(f"cache_size should be >= 0. Received {cache_size}.")
        self.guard = guard
        self.on_unsafe = on_unsafe
        self.notice = notice
        self.cache_size = cache_size
        self._decoded: BoundedCache[_Decoded] = BoundedCache(
            4 * cache_size, _MAX_CACHED_BYTES, lambda _: 256
        )
        self._scans: BoundedCache[_Scan] = BoundedCache(
            cache_size, _MAX_CACHED_BYTES, _size, _was_scanned
        )

    def __reduce__(self) -> tuple[type[ImageCleaner], tuple[Any, ...]]:
        # Without the caches: they hold locks, and their contents can be computed again.
        return type(self), (self.guard, self.on_unsafe, self.notice, self.cache_size)

    def clean(self, value: object, place: str) -> Cleaned:
        """Clean one value.

        Args:
            value: a message, a list of messages, or plain containers with images in them.
            place: the name of the value in errors.

        Raises:
            ImageRejected: an image that the intake policy does not accept.
            MessageError: a content block that could hold an image and cannot be read.
            GuardError: a fault of the guard; nothing is forwarded.
        """
        (cleaned,) = self.clean_many([value], place)
        if isinstance(cleaned, Exception):
            raise cleaned
        return cleaned

    def clean_many(
        self, values: Sequence[object], place: str = "input"
    ) -> list[Cleaned | GuardAlignError]:
        """Clean several values with one scan; a refused value is returned as its error.

        Raises:
            GuardError: a fault of the guard, which concerns all values.
        """
        walked = [walk_images(value, place) for value in values]
        loaded = [self._load_all(found) for found, _ in walked]
        images = {
            picture.decoded.key: picture.image
            for row in loaded
            if not isinstance(row, Exception)
            for picture in row
            if picture.decoded is not None and picture.image is not None
        }
        scans = self._scans.get_many(images, self._scan)
        return [
            row if isinstance(row, GuardAlignError) else self._put_back(value, row, scans, place)
            for (_, value), row in zip(walked, loaded, strict=True)
        ]

    def _load_all(self, found: Sequence[FoundImage]) -> list[_Picture] | GuardAlignError:
        refused = next((each.refused for each in found if each.refused is not None), None)
        if refused is not None:
            return refused
        try:
            return [self._load(each) for each in found]
        except (ImageRejected, MessageError) as error:
            return error

    def _load(self, found: FoundImage) -> _Picture:
        """Decode an image unless its scan is cached."""
        key = _fingerprint(found.part)
        decoded = self._decoded.get(key) if key else None
        scan = self._scans.get(decoded.key) if decoded else None
        if decoded and scan:
            return _Picture(decoded, None, scan, found.words)
        try:
            image = load_picture(found.part, found.place, self.guard.config.intake)
        except ImageRejected as error:
            if found.declared:
                raise
            # What is no picture is not touched; one that may not be read is not forwarded.
            no_picture = not found.complete or error.reason in {"corrupt", "unknown_format"}
            return _Picture(words=found.words or (no_picture and not found.shown))
        # Equal pictures in different files go on as different files.
        decoded = _Decoded(f"{image.sha256}:{image.file_sha256}", image.source)
        if key:
            self._decoded.put(key, decoded)
        return _Picture(decoded, image, None, found.words)

    def _scan(self, images: list[CanonicalImage]) -> list[_Scan]:
        if not images:
            return []
        guard = self.guard.get()
        if self.on_unsafe == "mask":
            return [
                _Scan(item.verdict, _file(guard, item.image, item.passed))
                for item in guard.sanitize_many(images)
            ]
        images = [guard.load(image) for image in images]
        keep = self.on_unsafe == "flag"
        return [
            _Scan(verdict, None if verdict.flagged or keep else _file(guard, image, verdict))
            for image, verdict in zip(images, guard.scan_many(images), strict=True)
        ]

    def _put_back(
        self,
        value: object,
        row: Sequence[_Picture],
        scans: Mapping[str, _Scan],
        place: str,
    ) -> Cleaned:
        if not row:
            return Cleaned(value, (), ())
        verdicts: list[Verdict] = []
        replacements: list[Replacement] = []
        for picture in row:
            if picture.decoded is None:
                unread = Replacement(note=UNREADABLE, record=UNREADABLE_RECORD)
                replacements.append(Replacement() if picture.words else unread)
                continue
            scan = picture.scan or scans[picture.decoded.key]
            verdict = replace(scan.verdict, source=picture.decoded.source)
            verdicts.append(verdict)
            keep = picture.words and not verdict.flagged
            replacements.append(self._replacement(verdict, None if keep else scan.file, keep))
        return Cleaned(
            put_images(value, replacements, place),
            tuple(verdicts),
            tuple(item.record for item in replacements if item.record),
        )

    def _replacement(self, verdict: Verdict, file: bytes | None, keep: bool) -> Replacement:
        if not verdict.flagged:
            action = "none"
        elif self.on_unsafe == "mask" and file is None:
            action = "notice"
        else:
            action = self.on_unsafe
        record = record_of(verdict, action)
        if file is not None:
            return Replacement(file=file, record=record)
        if keep or self.on_unsafe == "flag":
            return Replacement(record=record)
        return Replacement(note=self.notice, record=record)


def _file(guard: ImageGuard, image: CanonicalImage | None, passed: Verdict | None) -> bytes | None:
    """The file of a picture that may be shown."""
    if image is None:
        return None
    # A picture from no file goes back as pixels, without loss.
    return png_bytes(image) if image.encoding is None else guard.encode(image, passed).data


def _fingerprint(part: Part) -> str | None:
    """Digest of an encoded image and its form; None for a decoded picture or a file."""
    if "base64" in part:
        payload: object = part["base64"]
        how = f"base64:{part.get('mime_type')}:"
    elif "image_url" in part:
        payload, how = part["image_url"]["url"], "url:"
        if not is_data_url(str(payload)):
            # The file may have changed since.
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


def _was_scanned(scan: _Scan) -> bool:
    """An image that passed unscanned after a fault is scanned again the next time."""
    return scan.verdict.fault is None


def _size(scan: _Scan) -> int:
    evidence = scan.verdict.evidence
    arrays = evidence.patch_boxes.nbytes + evidence.patch_distances.nbytes
    return len(scan.file or b"") + arrays
