"""PDF files in nodes: a node of its own for each page, before the walk.

The walk then guards a page as any other image. Only bytes count, and what the policy lets read: a
path or URL that may not be followed is a reference that no model is shown, and stays.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llama_index.core.schema import BaseNode, MediaResource, Node

from guardalign_middleware.encode import encode
from guardalign_middleware.errors import ImageRejected
from guardalign_middleware.intake.media_types import media_kind
from guardalign_middleware.intake.pdf import pdf_not_allowed
from guardalign_middleware.intake.pdf_blocks import PdfFile, file_name, load_pdf_file, pdf_notice
from guardalign_middleware.intake.request import Sizes
from guardalign_middleware.types import CanonicalImage
from llama_index.llms.guardalign.images import Resolver, base64_text
from llama_index.llms.guardalign.nodes import only_text

RESOURCES = ("text_resource", "image_resource", "audio_resource", "video_resource")
"""The fields in which a `Node` holds its media."""
PAGE_LABEL = "page_label"
"""The metadata field in which LlamaIndex's readers write a page's number."""


@dataclass(frozen=True)
class NodePdf:
    """A PDF file of a node.

    Attributes:
        field: that holds it.
        file: the file.
    """

    field: str
    file: PdfFile


def node_pdfs(node: BaseNode, resolve: Resolver) -> Iterator[NodePdf]:
    """Every PDF file of a node that could be read."""
    for field in RESOURCES if isinstance(node, Node) else ():
        resource: MediaResource | None = getattr(node, field)
        if resource is None:
            continue
        place = resource.path or resource.url
        address = None if place is None else str(place)
        if media_kind(resource.mimetype, address) != "pdf":
            continue
        name = file_name(address) or file_name(str(node.metadata.get("file_name")))
        data = _bytes(resource)
        if data is not None:
            yield NodePdf(field, PdfFile(data, None, name))
        elif address is not None and resolve.policy.pdf == "pages" and _may_read(resource, resolve):
            yield NodePdf(field, PdfFile(None, address, name))


def paged(node: BaseNode, place: str, resolve: Resolver) -> list[BaseNode]:
    """The node without its PDF files, if there is anything left, and a node for each page.

    With `intake.pdf: notice`, it has a notice in its text instead. A file that cannot be drawn
    stays, and the walk refuses it; with `refuse`, every file.

    Args:
        node: stays unchanged.
        place: the name of the node in errors.
        resolve: has the policy, and fetches URLs.

    Raises:
        MessageError: the node has more text than a request may have.
        GuardError: no process can be started to draw the pages.
    """
    if resolve.policy.pdf == "refuse" or not isinstance(node, Node):
        return [node]
    pages: list[BaseNode] = []
    rest = node
    for found in node_pdfs(node, resolve):
        if resolve.policy.pdf == "notice":
            rest = _without(rest, found.field, pdf_notice(found.file))
            continue
        _check_text(node, resolve)
        try:
            images = load_pdf_file(found.file, place, resolve.policy, fetch=resolve.fetch)
        except ImageRejected:
            continue
        rest = _without(rest, found.field)
        formats = resolve.policy.formats
        pages += [
            _page(node, found.field, number, image, formats)
            for number, image in enumerate(images, 1)
        ]
    if rest is node:
        return [node]
    return [rest, *pages] if _has_content(rest) else pages


def refuse(found: NodePdf, place: str, resolve: Resolver) -> None:
    """Say why a file that `paged` has left in its place cannot be drawn.

    Raises:
        ImageRejected: as `load_pdf_file` does, or `pdf_not_allowed`.
    """
    load_pdf_file(found.file, place, resolve.policy, fetch=resolve.fetch)
    raise pdf_not_allowed(place)


def _check_text(node: Node, resolve: Resolver) -> None:
    sizes = Sizes(resolve.policy)
    for name in RESOURCES:
        sizes.heard(getattr(getattr(node, name), "text", None) or "")


def _bytes(resource: MediaResource) -> bytes | None:
    text = base64_text(resource.data)
    if not text:
        return None
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return text.encode("utf-8", "surrogatepass")


def _may_read(resource: MediaResource, resolve: Resolver) -> bool:
    if resource.path is not None:
        return resolve.policy.allow_paths
    return resolve.fetch is not None or bool(resolve.policy.allow_url_hosts)


def _without(node: Node, field: str, notice: str = "") -> Node:
    update = {field: only_text(getattr(node, field)), "embedding": None}
    copy = node.model_copy(update=update)
    if not notice:
        return copy
    text = copy.text_resource.text if copy.text_resource is not None else None
    shown = "\n".join(filter(None, [text, notice]))
    return copy.model_copy(update={"text_resource": MediaResource(text=shown)})


def _page(
    node: Node, field: str, number: int, image: CanonicalImage, formats: Sequence[str]
) -> BaseNode:
    """A node like the file's that shows one page, with an id of its own."""
    encoded = encode(image, formats=formats)
    shown = MediaResource(data=base64.b64encode(encoded.data), mimetype=encoded.mime_type)
    empty = dict.fromkeys(name for name in RESOURCES if getattr(node, name) is not None)
    return node.model_copy(
        update={
            **empty,
            "id_": f"{node.node_id}-{field}-page{number}",
            "image_resource": shown,
            "embedding": None,
            "metadata": {**node.metadata, PAGE_LABEL: str(number)},
            "relationships": dict(node.relationships),
        }
    )


def _has_content(node: Node) -> bool:
    held = (getattr(node, name) for name in RESOURCES)
    return any(each is not None and (each.hash or (each.text or "").strip()) for each in held)
