"""The one way from LlamaIndex's image fields to pixels: looked up without reading, then read once.

Blocks, nodes and media resources hold an image as bytes, as a path, or as a URL, often as several
of them at a time. `Found` is such a place, not read yet; `Resolver` reads it. Whoever goes on after
the guard gets the pixels that came out here, never the path or the URL.
"""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from llama_index.core.base.llms.types import DocumentBlock, ImageBlock
from llama_index.core.bridge.pydantic import WithJsonSchema
from llama_index.core.schema import (
    BaseNode,
    ImageDocument,
    ImageNode,
    MediaResource,
    Node,
    NodeWithScore,
)

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ConfigError, ImageRejected, MessageError
from guardalign_middleware.intake import load_image
from guardalign_middleware.intake.data_url import is_data_url
from guardalign_middleware.intake.load import is_remote_url
from guardalign_middleware.types import CanonicalImage

Fetch = Callable[[str], bytes]
"""Gets the bytes behind an http(s) URL; it decides which hosts, sizes and redirects are fine."""
OptionalFetch = Annotated[Fetch | None, WithJsonSchema({"type": "string"})]
"""`Fetch` as a field; a function has no schema of its own."""


@dataclass(frozen=True)
class Found:
    """An image in a message or node, not decoded yet.

    Attributes:
        place: where it stands, for messages ("messages[0].blocks").
        data: the encoded image.
        path: of a file, looked at only without data.
        url: looked at only without data and path.
    """

    place: str
    data: bytes | None = None
    path: str | None = None
    url: str | None = None


@dataclass(frozen=True)
class Resolver:
    """Reads images by an intake policy.

    Attributes:
        policy: caps and formats, and whether a path may be read.
        fetch: gets URLs in the place of the policy, which refuses them unless it names the host,
            and never goes to loopback or private addresses.
    """

    policy: IntakePolicy
    fetch: Fetch | None = None

    def __call__(self, found: Found) -> CanonicalImage:
        """Read an image: bytes before path before URL, and only the first of these, once.

        Raises:
            ImageRejected: no image that the policy accepts, or a path or URL that may not be read;
                the message names the place.
        """
        try:
            return self._load(found)
        except ImageRejected as error:
            raise ImageRejected(
                f"{found.place}: {error.message}",
                reason=error.reason,
                source=error.source,
                remedy=error.remedy,
            ) from error

    def _load(self, found: Found) -> CanonicalImage:
        if found.data is not None:
            return load_image(found.data, self.policy)
        text = found.path if found.path is not None else found.url
        if text is None:
            raise ImageRejected(
                "An image without bytes, path or URL.",
                reason="unsupported_type",
                source=found.place,
                remedy="Give the image's bytes.",
            )
        if found.path is None and is_data_url(text):
            return load_image(text, self.policy)
        if found.path is None and is_remote_url(text):
            return self._fetched(text)
        if not self.policy.allow_paths:
            raise ImageRejected(
                "A message or node may not name a local file by its path.",
                reason="path_not_allowed",
                source="<path>",
                remedy="Read the file and give its bytes, or set intake.allow_paths.",
            )
        return load_image(text, self.policy)

    def _fetched(self, url: str) -> CanonicalImage:
        if self.fetch is None or not url.lower().startswith(("http://", "https://")):
            return load_image(url, self.policy)
        data = self.fetch(url)
        if not isinstance(data, bytes):
            raise ConfigError(
                f"fetch should return bytes. Received {type(data).__name__}.",
                remedy="Return the body of the response.",
            )
        return load_image(data, self.policy)


def in_block(block: object, place: str) -> Found | None:
    """The image of a block; None when the block is of another kind.

    Raises:
        ImageRejected: bytes that are not base64, as LlamaIndex keeps them.
    """
    if isinstance(block, ImageBlock):
        return _found(place, block.image, block.path, block.url)
    if is_image_document(block):
        assert isinstance(block, DocumentBlock)
        return _found(place, block.data, block.path, block.url)
    return None


def in_node(node: object, place: str) -> Found | None:
    """The image that a node shows; None when it shows none. Errors are those of `in_block`."""
    if isinstance(node, ImageNode):
        # LlamaIndex takes the file that the metadata names, where the node has nothing else.
        path = node.image_path or (None if node.image_url else _file_path(node))
        if not node.image and not path and not node.image_url:
            return None
        return _found(place, node.image, path, node.image_url)
    if isinstance(node, Node) and node.image_resource is not None:
        return in_resource(node.image_resource, place)
    if isinstance(node, ImageDocument) and (path := _file_path(node)):
        return _found(place, None, path, None)
    return None


def in_resource(resource: MediaResource, place: str) -> Found | None:
    """The image of a media resource; None when it is empty. Errors are those of `in_block`."""
    if not resource.data and resource.path is None and resource.url is None:
        return None
    return _found(place, resource.data, resource.path, resource.url)


def in_anything(item: object, place: str) -> Found:
    """The image of what older programs call an image document.

    Args:
        item: an `ImageBlock`, a node (with or without a score), bytes, base64 or a data URL.
        place: for messages.

    Raises:
        MessageError: it carries no image.
        ImageRejected: bytes that are not base64, as LlamaIndex keeps them.
    """
    if isinstance(item, NodeWithScore):
        item = item.node
    if isinstance(item, bytes):
        return Found(place, item)
    if isinstance(item, str):
        return Found(place, url=item) if is_data_url(item) else _found(place, item, None, None)
    found = in_block(item, place) or in_node(item, place)
    if found is None:
        raise MessageError(
            f"{place} is a {type(item).__name__} and carries no image.",
            remedy="Give ImageBlock, ImageNode, ImageDocument, or a Node with an image.",
        )
    return found


def is_image_document(block: object) -> bool:
    """Whether a block is a document that is an image by its type."""
    return isinstance(block, DocumentBlock) and is_image_type(block.document_mimetype)


def is_image_type(mimetype: str | None) -> bool:
    """Whether a MIME type is that of an image."""
    return mimetype is not None and mimetype.strip().lower().startswith("image/")


def png_bytes(image: CanonicalImage) -> bytes:
    """The pixels as PNG; fast rather than small, for it is often sent but once."""
    file = io.BytesIO()
    image.to_pil().save(file, "PNG", compress_level=1)
    return file.getvalue()


def _found(place: str, data: object, path: object, url: object) -> Found:
    return Found(
        place,
        _bytes(data, place),
        None if path is None else str(path),
        None if url is None else str(url),
    )


def _bytes(data: object, place: str) -> bytes | None:
    if isinstance(data, io.IOBase):
        data.seek(0)
        return bytes(data.read())
    if isinstance(data, str):
        # Half a surrogate pair is no base64 either, and should be refused as such.
        data = data.encode("utf-8", "surrogatepass")
    if not isinstance(data, bytes) or not data:
        return None
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise ImageRejected(
            f"{place} holds an image that is not valid base64.",
            reason="bad_data_url",
            source=place,
            remedy="Build it from the file's bytes.",
        ) from error


def _file_path(node: BaseNode) -> str | None:
    path = node.metadata.get("file_path")
    return str(path) if path else None
