"""Content in the forms of providers: mappings that some integrations merge into their requests.

`llama-index-llms-openai` updates a message's request with all of `additional_kwargs`, so whatever
stands there can reach the wire: blocks of OpenAI, Anthropic, Google or Bedrock under any key. The
declared type of a block decides; a picture found inside a file never makes the file count as read.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any

from guardalign_middleware import notices
from guardalign_middleware.errors import ImageRejected, MessageError
from guardalign_middleware.intake.block_kinds import ARGUMENTS, UNTYPED, kind_of
from guardalign_middleware.intake.block_rules import Refusal, judge
from guardalign_middleware.intake.data_url import is_data_url
from guardalign_middleware.intake.declared import Declared, declared
from guardalign_middleware.intake.dialects import ImageSlot
from guardalign_middleware.intake.extent import picture_format
from guardalign_middleware.intake.hidden_images import HiddenImage, hidden_images
from guardalign_middleware.intake.media_types import MediaKind, media_kind
from guardalign_middleware.intake.picture_traces import is_encoded_picture
from guardalign_middleware.intake.walk_modes import Mode, field_modes
from llama_index.llms.guardalign.images import Found
from llama_index.llms.guardalign.media_blocks import type_in_url
from llama_index.llms.guardalign.values import SHOWN, Inside, walk_items
from llama_index.llms.guardalign.visitors import Visitor, encoded

UNSCANNED_REMEDY = (
    "Convert its pages or frames to images, or set allow_unscanned=True to send it unscanned."
)
WORDS = frozenset(
    "text content thinking reasoning reasoning_content refusal output_text title name description"
    " role id call_id tool_call_id signature thoughtSignature thought_signature encrypted_content"
    .split()
) | frozenset(ARGUMENTS)  # fmt: skip
"""Keys whose texts are words in every dialect, even if they are nothing but base64."""

_MEDIA_TYPE_KEYS = ("media_type", "mime_type", "mimeType", "mimetype", "content_type", "format")
_REFERENCES = frozenset(
    "url uri file_id fileId file_uri fileUri image_url video_url path file_path source s3Location"
    " gcs_uri".split()
)
_CARRIERS = frozenset("data bytes base64 b64_json blob result image_bytes imageBytes".split())
_FORMAT = re.compile(r"png|jpe?g|gif|webp|bmp|tiff?|avif|hei[cf]", re.IGNORECASE)
_PICTURES = frozenset({"image", "image_url"})
_KINDS: Mapping[str, MediaKind] = {
    **dict.fromkeys(("audio", "input_audio"), "audio"),
    **dict.fromkeys(("video", "video_url", "input_video"), "video"),
}


class ProviderContent:
    """Walks through mappings and texts as content that may reach a model.

    Args:
        visitor: reads or shows the pictures.
        place: where the value is, for errors.
        allow_unscanned: whether films and files pass.
        allow_pdf: whether PDF files do.
    """

    def __init__(
        self, visitor: Visitor, place: str, *, allow_unscanned: bool, allow_pdf: bool
    ) -> None:
        self._visitor = visitor
        self._place = place
        self._allow_unscanned = allow_unscanned
        self._allow_pdf = allow_pdf
        self._written: str | None = None

    def text(self, text: str, key: object) -> Any:
        """A text: words, a picture, or a file, by its key and its form."""
        if key in WORDS or not is_encoded_picture(text):
            return self._visitor.words(text)
        whole = next((image for image in hidden_images(text) if image.whole), None)
        if whole is not None and (not whole.header or media_kind(type_in_url(text)) == "image"):
            return self._picture(whole)
        if not is_data_url(text.lstrip()):
            # Base64 of a PDF, a film, or of a picture that is cut off.
            return self._encoded_file(text, "file")
        kind = media_kind(type_in_url(text))
        if kind == "image":
            return self._from_url(text)
        return self._encoded_file(text, kind)

    def mapping(self, block: Mapping[Any, Any], walk: Inside, mode: Mode) -> Any:
        """A mapping: a block of a provider, or a part of one."""
        kind, found, verdict = _declared(block), None, None
        if mode in SHOWN or kind in {"audio", "text"}:
            found = declared(block)
            verdict = judge(block, found, self._place, "strict" if mode == "strict" else "block")
        mode_of = field_modes(block, found, mode)

        def inside(value: Any, key: object, _: Mode | None) -> Any:
            return walk(value, key, mode_of(key, value))

        if kind == "text" or (mode == "strict" and kind in {"audio", None}):
            # What contradicts its type or leads elsewhere is a file to the core.
            kind = _media(verdict) or kind
        if kind is None and not isinstance(verdict, Refusal):
            return self._items(block, inside)
        return self._visitor.unit(
            lambda: self._block(block, kind, verdict, inside),
            lambda notice: _said(block, notice),
            dict(block),
            notices.FILES.get(kind, "image" if kind in {"image", None} else "file"),
        )

    def _block(
        self, block: Mapping[Any, Any], kind: MediaKind | None, verdict: object, walk: Inside
    ) -> Any:
        if kind == "image":
            for key, value in _references(block, 0):
                raise ImageRejected(
                    f"{self._place} names an image by {key!r} ({value[:80]!r}).",
                    reason="url_not_allowed" if "://" in value else "unsupported_type",
                    source=self._place,
                    remedy="Pass the bytes of the image.",
                )
        elif kind in {"video", "pdf", "file"}:
            self._permit(kind)
        elif kind == "text" and not self._allow_unscanned:
            for key, value in _references(block, 0):
                raise self._unscannable(f"a document by {key!r} ({value[:80]!r})")
        if isinstance(verdict, Refusal) and verdict.media is None:
            raise verdict.error
        before = self._visitor.count
        new = self._items(block, walk)
        if kind == "image" and (self._visitor.count == before or _has_other_data(block, 0)):
            raise ImageRejected(
                f"{self._place} holds an image that cannot be read.",
                reason="unknown_format",
                source=self._place,
                remedy="Pass the bytes of an image in a known format.",
            )
        return new

    def _items(self, block: Mapping[Any, Any], walk: Inside) -> Any:
        outer, self._written = self._written, None
        new = walk_items(block, walk)
        if self._written is not None and new is not block and not _keeps_file(block, new):
            new = _retyped(new, self._written)
        self._written = self._written or outer
        if "content" in block or "type" in block and kind_of(block.get("type")) is not None:
            self._written = None  # The types beside a block are not its own.
        return new

    def _picture(self, image: HiddenImage) -> Any:
        item = self._visitor.picture(
            Found(self._place, base64.b64encode(image.data).decode("ascii"))
        )
        if item is None:
            return image.text
        if item.image is None:
            return notices.UNSAFE
        data, self._written = encoded(item)
        return image.write(data, self._written)

    def _from_url(self, text: str) -> Any:
        item = self._visitor.picture(Found(self._place, url=text.strip()))
        if item is None:
            return text
        if item.image is None:
            return notices.UNSAFE
        data, self._written = encoded(item)
        return f"data:{self._written};base64,{base64.b64encode(data).decode('ascii')}"

    def _encoded_file(self, text: str, kind: MediaKind) -> str:
        if kind == "text" and Declared("text", (text,)).holds_pages():
            kind = "file"
        if kind not in {"audio", "text"}:
            self._permit(kind)
        return self._visitor.words(text)

    def _permit(self, kind: MediaKind) -> None:
        if not (self._allow_pdf if kind == "pdf" else self._allow_unscanned):
            names = {"video": "a film", "pdf": "a PDF"}
            raise self._unscannable(names.get(kind, "a file"))
        self._visitor.unscanned()

    def _unscannable(self, what: str) -> MessageError:
        return MessageError(
            f"{self._place} holds {what}, whose pictures the guard cannot scan.",
            remedy=UNSCANNED_REMEDY,
        )


def _media(verdict: object) -> MediaKind | None:
    """What a block is to the core, if that is more than words or sound."""
    if isinstance(verdict, ImageSlot):
        return "image"
    return verdict.media if isinstance(verdict, Refusal) else None


def _declared(block: Mapping[Any, Any]) -> MediaKind | None:
    """What a provider's block says that it is; None for words, calls and parts of blocks."""
    name = block.get("type")
    inner: Any = block
    if not isinstance(name, str):
        name = next((key for key in (*UNTYPED, *_PICTURES) if key in block), None)
        inner = block.get(name)
        if name == "image_url" or (name in UNTYPED | _PICTURES and isinstance(inner, Mapping)):
            inner = inner if isinstance(inner, Mapping) else block
        else:
            return None
    if name in _KINDS:
        return _KINDS[name]
    kind = kind_of(name)
    if kind is None or kind.fate not in {"picture", "refused", "document"}:
        return None
    if not _is_given(inner):
        return None
    if kind.fate == "picture":
        return "image"
    declared = _stated_type(inner)
    if kind.fate == "document":
        source = inner.get("source")
        if isinstance(source, Mapping):
            named = source.get("type")
            if named in {"text", "content"} or (named is None and {"text", "content"} & {*source}):
                return None
            declared = _stated_type(source) or declared
    return media_kind(declared, inner.get("filename") or inner.get("name") or inner.get("title"))


def _is_given(block: Mapping[Any, Any]) -> bool:
    """Whether a block has any content beside its type."""
    return any(not _is_empty(value) for key, value in block.items() if key != "type")


def _is_empty(value: object) -> bool:
    # An array is neither equal nor unequal to anything.
    return value is None or (isinstance(value, str | Mapping | list) and not value)


def _stated_type(block: Mapping[Any, Any]) -> str | None:
    for key in _MEDIA_TYPE_KEYS:
        if isinstance(block.get(key), str):
            return str(block[key])
    for key in ("file_data", "data", "url", "file"):
        value = block.get(key)
        if isinstance(value, str) and is_data_url(value):
            return type_in_url(value)
        if key == "file" and isinstance(value, Mapping):
            return _stated_type(value) or _name_type(value)
    return None


def _name_type(block: Mapping[Any, Any]) -> str | None:
    name = block.get("filename")
    kinds = {"text": "text/plain", "pdf": "application/pdf", "audio": "audio/mpeg"}
    return kinds.get(media_kind(None, name)) if isinstance(name, str) else None


def _references(block: Mapping[Any, Any], level: int) -> Iterator[tuple[str, str]]:
    """Addresses, paths and ids by which a block names its content."""
    for key, value in block.items():
        if isinstance(value, Mapping) and level < 3:
            yield from _references(value, level + 1)
        elif (
            isinstance(value, str)
            and value
            and key in _REFERENCES
            and not is_data_url(value.lstrip())
            and not is_encoded_picture(value)
        ):
            yield str(key), value


def _has_other_data(block: Mapping[Any, Any], level: int) -> bool:
    """Whether something in a picture's block carries data that is no known picture."""
    for key, value in block.items():
        if isinstance(value, Mapping) and level < 3 and _has_other_data(value, level + 1):
            return True
        if key not in _CARRIERS or not value:
            continue
        if isinstance(value, str) and not is_encoded_picture(value):
            return True
        if isinstance(value, bytes | bytearray) and picture_format(value) is None:
            return True
    return False


def _keeps_file(block: Mapping[Any, Any], new: Any) -> bool:
    """Whether the block's own file is another one than the picture that was written into it."""
    return isinstance(new, dict) and any(
        isinstance(block.get(key), str | bytes | bytearray)
        and block[key]
        and new.get(key) is block[key]
        for key in _CARRIERS
    )


def _retyped(block: Any, mime_type: str) -> Any:
    """The block with its stated media types made true."""
    if not isinstance(block, dict):
        return block
    new = dict(block)
    kind = mime_type.partition("/")[2]
    if new.get("type") == "image_generation_call" and (kind != "png" or new.get("output_format")):
        new["output_format"] = kind  # Without a format it would be PNG.
    for key in _MEDIA_TYPE_KEYS:
        old = new.get(key)
        if not isinstance(old, str):
            continue
        # SVG is text.
        if old.lower().startswith("image/") and not old.lower().startswith("image/svg"):
            new[key] = mime_type
        elif _FORMAT.fullmatch(old):
            new[key] = kind
    return new


def _said(block: Mapping[Any, Any], notice: str) -> dict[str, str]:
    """A text block in the dialect of another block."""
    name = block.get("type")
    if not isinstance(name, str):
        return {"text": notice}
    return {"type": "input_text" if name.startswith("input_") else "text", "text": notice}
