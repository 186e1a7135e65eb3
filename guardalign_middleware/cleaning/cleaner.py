"""Clean the images of a value: find, decode, scan together, put back.

How images are found in it, and how others are put in their place, a subclass says.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from guardalign_middleware import notices
from guardalign_middleware.cache import BoundedCache
from guardalign_middleware.cleaning.groups import Group, Grouping, Read, ToldWith
from guardalign_middleware.cleaning.loaded_images import (
    Picture,
    Scan,
    Scans,
    fingerprint,
    has_pages,
    scan_bytes,
    were_scanned,
)
from guardalign_middleware.cleaning.loader import ImageLoader
from guardalign_middleware.cleaning.outcomes import Cleaned, Outcome, Refusal
from guardalign_middleware.cleaning.records import (
    record_of,
    refused_record,
    unscanned_record,
)
from guardalign_middleware.encode import png_bytes
from guardalign_middleware.errors import ConfigError, ImageRejected, MessageError
from guardalign_middleware.faults import memory_faults
from guardalign_middleware.handles import LazyGuard
from guardalign_middleware.handling import OnUnsafe
from guardalign_middleware.intake.found_images import FoundImage, Replacement
from guardalign_middleware.intake.pdf import pdf_not_allowed
from guardalign_middleware.intake.pdf_blocks import pdf_notice
from guardalign_middleware.intake.pdf_pages import Page, found_pdf, page_blocks
from guardalign_middleware.intake.request import Sizes
from guardalign_middleware.turns import Turn, joins_words
from guardalign_middleware.types import CanonicalImage, Verdict

if TYPE_CHECKING:
    from guardalign_middleware.handles import AnyGuard

ON_UNSAFE: tuple[OnUnsafe, ...] = ("mask", "notice", "block", "flag")
"""What the guards of messages can do about an unsafe image."""

_MAX_CACHED_BYTES = 128 * 2**20


class ImageCleaner(ABC):
    """Cleans the images of values of one kind; equal pictures are scanned once.

    Where guards of texts judge words in pictures, the pictures of a turn are scanned together, with
    what is said in it, and again when something else is said.

    Args:
        guard: scans and masks; loaded for the first image.
        on_unsafe: "mask" shows the cleaned picture, or the notice where nothing may be shown;
            "flag" leaves the picture and only records the verdict; any other value shows the
            notice.
        notice: the text in place of an unsafe image.
        cache_size: number of pictures to remember, within 128 MiB.
        allow_unscanned: whether films and files of unknown kinds pass unread, and PDF files that
            the policy refuses.

    Raises:
        ConfigError: a negative `cache_size`.
    """

    def __init__(
        self,
        guard: LazyGuard,
        on_unsafe: OnUnsafe,
        notice: str,
        cache_size: int,
        allow_unscanned: bool = False,
    ) -> None:
        if cache_size < 0:
            raise ConfigError(f"cache_size should be >= 0. Received {cache_size}.")
        self.guard = guard
        self.on_unsafe = on_unsafe
        self.notice = notice
        self.cache_size = cache_size
        self.allow_unscanned = allow_unscanned
        self._loader = ImageLoader(guard, cache_size, allow_unscanned)
        self._scans: BoundedCache[Scans] = BoundedCache(
            cache_size, _MAX_CACHED_BYTES, scan_bytes, were_scanned
        )

    def __reduce__(self) -> tuple[type[ImageCleaner], tuple[Any, ...]]:
        # Without the caches: they hold locks, and their contents can be computed again.
        options = (self.on_unsafe, self.notice, self.cache_size, self.allow_unscanned)
        return type(self), (self.guard, *options)

    @abstractmethod
    def _find(self, value: Any, place: str, sizes: Sizes) -> tuple[list[FoundImage], Any]:
        """Every image in a value, and the value without records that the guard has not written.

        Raises:
            MessageError: more text or more messages than `sizes` has a cap for.
        """

    @abstractmethod
    def _put(self, value: Any, replacements: Sequence[Replacement], place: str) -> Any:
        """A copy of the value with one replacement for each image that `_find` finds."""

    @abstractmethod
    def _told_with(self, value: Any, place: str) -> ToldWith:
        """What says in which turn of a value an image is, and what is said there."""

    def clean(self, value: object, place: str) -> Cleaned:
        """Clean one value; what cannot be read is replaced by a text that names the cause.

        Args:
            value: what may hold images.
            place: the name of the value in errors.

        Raises:
            MessageError: more text or more messages than the policy accepts in one request.
            GuardError: a fault of the guard; nothing is forwarded.
        """
        (cleaned,) = self.clean_many([value], place)
        return cleaned

    def clean_many(self, values: Sequence[object], place: str = "input") -> list[Cleaned]:
        """Clean several values with one scan; each is a request with caps of its own.

        Raises:
            MessageError: as for `clean`.
            GuardError: a fault of the guard, which concerns all values.
        """
        results = []
        for result in self.clean_each(values, place):
            if isinstance(result, MessageError):
                raise result
            results.append(result)
        return results

    def clean_each(
        self, values: Sequence[object], place: str = "input"
    ) -> list[Cleaned | MessageError]:
        """`clean_many`, with its error in the place of each value that is too large."""
        with memory_faults("intake"):
            read = [self._read(value, place) for value in values]
            new = {
                group.key: group
                for item in read
                if isinstance(item, Read)
                for group in item.groups
                if group.pictures[0].scan is None
            }
            scans = self._known_or_scanned(new)
            return [
                self._put_back(item, scans, place) if isinstance(item, Read) else item
                for item in read
            ]

    def _read(self, value: object, place: str) -> Read | MessageError:
        """Measure everything, then decode what there is room for."""
        policy = self.guard.config.intake
        sizes = Sizes(policy)
        try:
            found, rest = self._find(value, place, sizes)
        except MessageError as error:
            return error
        counted = [each.refused is None or has_pages(each, policy) for each in found]
        for each, counts in zip(found, counted, strict=True):
            if counts:
                sizes.picture(each.part)
        room = sizes.room()
        joins = joins_words(self.guard.config)
        grouping = Grouping(self._told_with(value, place) if joins and found else _alone, policy)
        keys = [fingerprint(each.part) if each.refused is None else None for each in found]
        known = self._known(found, keys, grouping)
        load = self._loader
        pictures = [
            load.enter(each, room, key, old) if counts else load.load(each, room, -1, key, old)
            for each, counts, key, old in zip(found, counted, keys, known, strict=True)
        ]
        return Read(rest, pictures, grouping.groups(pictures))

    def _known(
        self, found: Sequence[FoundImage], keys: Sequence[str | None], grouping: Grouping
    ) -> list[Picture | None]:
        """The images whose scans are cached, so that they need not be decoded."""
        known: list[Picture | None] = [None] * len(found)
        for places in grouping.places(found):
            decoded = [
                each
                for place in places
                if (key := keys[place]) and (each := self._loader.decoded(key)) is not None
            ]
            if len(decoded) < len(places):
                continue
            scans = self._scans.get(grouping.key(found[places[0]], decoded))
            for place, one, scan in zip(places, decoded, scans or (), strict=False):
                known[place] = Picture(found[place], one, scan=scan)
        return known

    def _known_or_scanned(self, groups: Mapping[str, Group]) -> dict[str, Scans]:
        """The scans of each group; who has to wait does so in the guard's queue only."""
        known = {key: scans for key in groups if (scans := self._scans.get(key)) is not None}
        new = {key: group for key, group in groups.items() if key not in known}
        made = dict(zip(new, self._scan(list(new.values())), strict=True)) if new else {}
        for key, scans in made.items():
            self._scans.put(key, scans)
        return known | made

    def _scan(self, groups: list[Group]) -> list[Scans]:
        if not groups:
            return []
        images = [each.image for group in groups for each in group.pictures if each.image]
        scans = iter(self._scan_all(images, groups))
        return [tuple(islice(scans, len(group.pictures))) for group in groups]

    def _scan_all(self, images: list[CanonicalImage], groups: list[Group]) -> list[Scan]:
        guard = self.guard.get()
        turns = [Turn(group.text, len(group.pictures)) for group in groups]
        options = {"turns": turns} if joins_words(self.guard.config) else {}
        if self.on_unsafe == "mask":
            return [
                Scan(item.verdict, _file(guard, item.image, item.passed))
                for item in guard.sanitize_many(images, **options)
            ]
        images = [guard.load(image) for image in images]
        keep = self.on_unsafe == "flag"
        return [
            Scan(verdict, None if verdict.flagged or keep else _file(guard, image, verdict))
            for image, verdict in zip(images, guard.scan_many(images, **options), strict=True)
        ]

    def _put_back(self, read: Read, scanned: Mapping[str, Scans], place: str) -> Cleaned:
        value, row = read.value, read.pictures
        if not row:
            return Cleaned(value)
        scans = {
            picture: scan
            for group in read.groups
            for picture, scan in zip(group.pictures, scanned.get(group.key, ()), strict=False)
        }
        replacements: list[Replacement] = []
        outcomes: list[Outcome] = []
        for picture in row:
            pairs = [self._replacement(each, scans) for each in picture.pages or (picture,)]
            outcomes += [outcome for _, outcome in pairs if outcome is not None]
            new = pairs[0][0] if not picture.pages else self._paged(picture, [n for n, _ in pairs])
            replacements.append(new)
        return Cleaned(self._put(value, replacements, place), tuple(outcomes))

    def _paged(self, picture: Picture, pages: Sequence[Replacement]) -> Replacement:
        """The pages of a PDF file in the place of its block."""
        records = tuple(page.record for page in pages)
        if self.on_unsafe == "flag":
            return Replacement(records=records)
        shown = [Page(page.file or b"", page.note or "") for page in pages]
        return Replacement(blocks=page_blocks(picture.found.block or {}, shown), records=records)

    def _replacement(
        self, picture: Picture, scans: Mapping[Picture, Scan]
    ) -> tuple[Replacement, Outcome | None]:
        found = picture.found
        if picture.refused is not None:
            return self._refused(found, picture.refused)
        if picture.noted is not None:
            record = refused_record(pdf_not_allowed(found.place))
            note = pdf_notice(picture.noted)
            return Replacement(note=note, record=record), Outcome(record, found.place, found.turn)
        if picture.decoded is None:
            return Replacement(), None
        scan = picture.scan or scans[picture]
        verdict = replace(scan.verdict, source=picture.decoded.source)
        keep = found.words and not verdict.flagged
        new = self._shown(verdict, None if keep else scan.file, keep)
        hidden = self.on_unsafe == "block" or (self.on_unsafe == "mask" and scan.file is None)
        # Of a picture among words, a model would have seen nothing.
        blocked = verdict.flagged and hidden and not found.words
        return new, Outcome(new.record, found.place, found.turn, verdict, blocked=blocked)

    def _refused(self, found: FoundImage, error: Refusal) -> tuple[Replacement, Outcome]:
        file = found_pdf(found)
        read = file is not None and self.guard.config.intake.pdf != "refuse"
        if self.allow_unscanned and found.media is not None and not read:
            record = unscanned_record(found.media)
            return Replacement(record=record), Outcome(record, found.place, found.turn)
        record = refused_record(error)
        if file is not None and isinstance(error, ImageRejected):
            note = pdf_notice(file, error)
        else:
            note = notices.refused(error, notices.FILES.get(found.media, "image"))
        outcome = Outcome(record, found.place, found.turn, refused=error, declared=found.declared)
        return Replacement(note=note, record=record), outcome

    def _shown(self, verdict: Verdict, file: bytes | None, keep: bool) -> Replacement:
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


def _alone(_: FoundImage) -> None:
    """Where no words are judged, every picture is scanned by itself."""


def _file(guard: AnyGuard, image: CanonicalImage | None, passed: Verdict | None) -> bytes | None:
    """The file of a picture that may be shown."""
    if image is None:
        return None
    # A picture from no file goes back as pixels, without loss.
    return png_bytes(image) if image.encoding is None else guard.encode(image, passed).data
