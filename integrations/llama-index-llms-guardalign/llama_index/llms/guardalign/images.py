"""Where LlamaIndex keeps an image, translated into the core's image parts.

Blocks, nodes and media resources hold an image as base64, a path or a URL, often several of them.
`Found` is such an image before it is read, and `Resolver` has the core read it, once. The model
gets the pixels that were read, never the path or the URL.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from llama_index.core.base.llms.types import DocumentBlock, ImageBlock
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import (
    BaseNode,
    ImageDocument,
    ImageNode,
    MediaResource,
    Node,
    NodeWithScore,
)
from PIL import Image

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import MessageError
from guardalign_middleware.intake.data_url import decode_base64, is_data_url, is_image_type
from guardalign_middleware.intake.part import Fetch, load_picture
from guardalign_middleware.types import CanonicalImage

# LlamaIndex guesses a type from the first 8192 bytes: at least as many, in whole base64 groups.
_SIGNATURE = 10924
_FIRST_LINE = 104
_BASE64_TEXT = re.compile(rb"[A-Za-z0-9+/]{60}")


@dataclass(frozen=True)
class Found:
    """An image in a message or node, before it is read.

    Attributes:
        place: where it is, for error messages ("messages[0].blocks").
        data: the encoded image, as base64.
        path: of a file; ignored if there is data.
        url: ignored if there is data or a path.
        mime_type: the stated type of the data; None if LlamaIndex may have guessed it.
        pillow: a Pillow image, instead of all the others.
        page: a drawn page, instead of all the others.
        digest: of a Pillow image that each pass makes anew, of an array.
        sure: whether it is a picture; else it is numbers that could be one, and stay if they
            cannot be read.
    """

    place: str
    data: str | None = None
    path: str | None = None
    url: str | None = None
    mime_type: str | None = None
    pillow: Image.Image | None = None
    page: CanonicalImage | None = None
    digest: str | None = None
    sure: bool = True


class PageBlock(ImageBlock):
    """A page that was drawn; it is never forwarded, only what the guard makes of it.

    Attributes:
        page_sha256: digest of its pixels, by which equal pages are recognized.
    """

    page_sha256: str = ""
    _page: CanonicalImage = PrivateAttr()

    @classmethod
    def of(cls, page: CanonicalImage) -> Self:
        """A block for a page."""
        block = cls(page_sha256=page.sha256)
        block._page = page
        return block

    @property
    def page(self) -> CanonicalImage:
        """The drawn page."""
        return self._page


@dataclass(frozen=True)
class Resolver:
    """Reads images under an intake policy.

    Attributes:
        policy: caps and formats, and whether a file or a URL may be read.
        fetch: gets http(s) URLs instead of the policy.
    """

    policy: IntakePolicy
    fetch: Fetch | None = None

    def __call__(self, found: Found) -> CanonicalImage:
        """Read an image from its data, else its path, else its URL.

        Raises:
            ImageRejected: an image that the policy does not accept.
            MessageError: an image without data, path and URL. Both name the place.
        """
        return load_picture(self.part(found), found.place, self.policy, fetch=self.fetch)

    def part(self, found: Found) -> dict[str, Any]:
        """The image as a part of the core; nothing is decoded but base64.

        Raises:
            ImageRejected: `bad_data_url`, `empty` or `too_many_bytes`.
        """
        if found.page is not None:
            return {"type": "image", "image": found.page}
        if found.pillow is not None:
            return {"type": "image", "image": found.pillow}
        if found.data is not None and found.mime_type is not None:
            return {"type": "image", "base64": found.data, "mime_type": found.mime_type}
        if found.data is not None:
            data = decode_base64(found.data, self.policy, found.place)
            return {"type": "image", "image": data}
        if found.path is not None:
            return {"type": "image", "path": found.path}
        return {"type": "image", "url": found.url}


class Remembering:
    """Reads each image once, however often it is asked for.

    Args:
        resolve: reads one image.
    """

    def __init__(self, resolve: Callable[[Found], CanonicalImage]) -> None:
        self._resolve = resolve
        self._read: dict[Found, CanonicalImage] = {}

    def __call__(self, found: Found) -> CanonicalImage:
        """The image; errors are those of `Resolver`."""
        if found not in self._read:
            self._read[found] = self._resolve(found)
        return self._read[found]


def in_block(block: object, place: str) -> Found | None:
    """The image in a block; None for other kinds of blocks."""
    if isinstance(block, PageBlock):
        return Found(place, page=block.page)
    if isinstance(block, ImageBlock):
        return _found(place, block.image, block.path, block.url, block.image_mimetype)
    if is_image_document(block):
        assert isinstance(block, DocumentBlock)
        return _found(place, block.data, block.path, block.url, block.document_mimetype)
    return None


def in_node(node: object, place: str) -> Found | None:
    """The image that a node shows; None if it shows none."""
    if isinstance(node, ImageNode):
        # LlamaIndex falls back to the file named in the metadata.
        path = node.image_path or (None if node.image_url else _file_path(node))
        if not node.image and not path and not node.image_url:
            return None
        return _found(place, node.image, path, node.image_url, node.image_mimetype)
    if isinstance(node, Node) and node.image_resource is not None:
        return in_resource(node.image_resource, place)
    if isinstance(node, ImageDocument) and (path := _file_path(node)):
        return Found(place, path=path)
    return None


def in_resource(resource: MediaResource, place: str) -> Found | None:
    """The image in a media resource; None if the resource is empty."""
    if not resource.data and resource.path is None and resource.url is None:
        return None
    return _found(place, resource.data, resource.path, resource.url, resource.mimetype)


def in_anything(item: object, place: str) -> Found:
    """The image in one of the objects that `image_documents` may hold.

    Args:
        item: an `ImageBlock`, a node with or without a score, bytes, base64 or a data URL.
        place: where it is, for error messages.

    Raises:
        MessageError: it carries no image.
    """
    if isinstance(item, NodeWithScore):
        item = item.node
    if isinstance(item, bytes):
        return Found(place, base64.b64encode(item).decode())
    if isinstance(item, str):
        return Found(place, url=item) if is_data_url(item) else Found(place, item)
    found = in_block(item, place) or in_node(item, place)
    if found is None:
        raise MessageError(
            f"{place} is a {type(item).__name__} and carries no image.",
            remedy="Pass an ImageBlock, ImageNode, ImageDocument, or a Node with an image.",
        )
    return found


def as_block(found: Found) -> ImageBlock:
    """An `ImageBlock` for the image, which is not read."""
    # Not validated: that would look for the file before the policy has allowed it.
    return ImageBlock.model_construct(
        image=None if found.data is None else _encoded(found.data),
        image_mimetype=found.mime_type or _guess(found.data),
        path=None if found.path is None else Path(found.path),
        url=found.url,
    )


def is_image_document(block: object) -> bool:
    """Whether a block is a document whose type is an image type."""
    return isinstance(block, DocumentBlock) and is_image_type(block.document_mimetype)


def _found(place: str, data: object, path: object, url: object, mimetype: str | None) -> Found:
    elsewhere = path is not None or url is not None
    found = Found(
        place,
        # Empty data counts as none beside a path or a URL; alone, the core says that it is empty.
        (base64_text(data) or None) if elsewhere else base64_text(data),
        None if path is None else str(path),
        None if url is None else str(url),
    )
    # LlamaIndex fills in the types that it guesses, and no field says which ones it did.
    if found.data is None or not mimetype or mimetype in _guesses(found):
        return found
    return replace(found, mime_type=mimetype)


def base64_text(data: object) -> str | None:
    """The base64 of what a block, a node or a resource holds as bytes; None if it holds none."""
    if isinstance(data, io.IOBase):
        data.seek(0)
        return base64.b64encode(data.read()).decode()
    text = data.decode("latin-1") if isinstance(data, bytes) else data
    if not isinstance(text, str):
        return None
    try:
        # LlamaIndex takes base64 with line ends for the bytes of a file and encodes it again.
        if _BASE64_TEXT.match(base64.b64decode(text[:_FIRST_LINE])):
            return base64.b64decode(text).decode("latin-1")
    except (binascii.Error, ValueError):
        pass  # The core reports what is wrong with it.
    return text


def _guesses(found: Found) -> set[str | None]:
    """The types that LlamaIndex guesses from the data or from a file name."""
    names = [name for name in (found.path, found.url) if name is not None]
    return {_guess(found.data), *(MediaResource(path=Path(name)).mimetype for name in names)}


def _guess(data: str | None) -> str | None:
    return MediaResource(data=_encoded(data[:_SIGNATURE])).mimetype if data else None


def _encoded(text: str) -> bytes:
    # Half a surrogate pair is not base64 either, and the core should be the one to say so.
    return text.encode("utf-8", "surrogatepass")


def _file_path(node: BaseNode) -> str | None:
    path = node.metadata.get("file_path")
    return str(path) if path else None
