"""Pictures leave LlamaIndex's guards about as large as they came, and a second guard is free."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor

import pytest
from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
from llama_index.core.schema import ImageNode, MediaResource, Node, NodeWithScore

from guardalign_middleware.config import OutputConfig
from guardalign_middleware.intake import load_image
from guardalign_middleware.output import PASSED
from guardalign_middleware.testing import (
    coarse_guard,
    counting_guard,
    picture,
    png,
    red_config,
    red_guard,
)
from guardalign_middleware.testing.photos import file_of, photo
from llama_index.llms.guardalign import (
    GuardAlignGuardedLLM,
    GuardAlignImageTransform,
    GuardAlignNodePostprocessor,
)
from llama_index_support.doubles import PlainLLM

FORMATS = {"jpeg": "jpeg", "png": "png", "webp": "webp", "gif": "png", "bmp": "png"}
"""In which format a picture leaves, by the one in which it came."""


@pytest.fixture(autouse=True)
def _nothing_passed() -> None:
    PASSED.forget()


def ask(block: ImageBlock) -> list[ChatMessage]:
    return [ChatMessage(role="user", blocks=[TextBlock(text="What is it?"), block])]


def seen_by(inner: PlainLLM) -> ImageBlock:
    (block,) = (block for block in inner.calls[-1][-1].blocks if isinstance(block, ImageBlock))
    return block


def file_in(block: ImageBlock | MediaResource | ImageNode) -> bytes:
    held = block.data if isinstance(block, MediaResource) else block.image
    return base64.b64decode(held)


def image_node(file: bytes, kind: str) -> ImageNode:
    return ImageNode(
        image=base64.b64encode(file).decode(),
        image_mimetype=f"image/{kind}",
        metadata={"file_type": f"image/{kind}", "file_name": f"a.{kind}"},
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("quality", "subsampling"), [(85, 2), pytest.param(92, 0, marks=pytest.mark.evidence)]
)
def test_a_photo_of_12_megapixels_leaves_as_large_as_it_came(
    quality: int, subsampling: int
) -> None:
    file = file_of(photo(4000, 3000), "JPEG", quality=quality, subsampling=subsampling)
    guard, inner = coarse_guard(), PlainLLM()
    GuardAlignGuardedLLM(inner, guard=guard).chat(ask(ImageBlock(image=file)))
    assert len(file_in(seen_by(inner))) <= 1.15 * len(file)
    assert seen_by(inner).image_mimetype == "image/jpeg"
    (node,) = GuardAlignImageTransform(guard=guard)([image_node(file, "jpeg")])
    assert len(file_in(node)) <= 1.15 * len(file)


@pytest.mark.parametrize("red", [False, True])
@pytest.mark.parametrize("kind", FORMATS)
def test_types_follow_the_picture(kind: str, red: bool) -> None:
    file = file_of(picture(red=red).to_pil(), kind.upper())
    new, guard, inner = FORMATS[kind], red_guard(), PlainLLM()
    GuardAlignGuardedLLM(inner, guard=guard).chat(ask(ImageBlock(image=file)))
    assert seen_by(inner).image_mimetype == f"image/{new}"
    assert load_image(file_in(seen_by(inner))).encoding.image_format == new.upper()
    (node,) = GuardAlignImageTransform(guard=guard)([image_node(file, kind)])
    assert node.image_mimetype == node.metadata["file_type"] == f"image/{new}"
    suffix = kind if kind == new else new
    assert node.metadata["file_name"] == f"a.{suffix}"
    resource = MediaResource(data=file, mimetype=f"image/{kind}")
    (item,) = GuardAlignNodePostprocessor(guard=guard).postprocess_nodes(
        [NodeWithScore(node=Node(image_resource=resource))]
    )
    assert item.node.image_resource.mimetype == f"image/{new}"
    assert load_image(file_in(item.node.image_resource)).encoding.image_format == new.upper()


@pytest.mark.parametrize("red", [False, True])
@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_a_guarded_llm_over_transformed_nodes_scans_nothing(kind: str, red: bool) -> None:
    quality = {"quality": 95} if kind == "jpeg" else {}
    file = file_of(picture(red=red).to_pil(), kind.upper(), **quality)
    (node,) = GuardAlignImageTransform(guard=red_guard())([image_node(file, kind)])
    second, encoder = counting_guard()
    inner = PlainLLM()
    llm = GuardAlignGuardedLLM(inner, guard=second)

    def turns(_: int) -> None:
        for _ in range(2):
            llm.chat(ask(ImageBlock(image=base64.b64decode(node.image))))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(turns, range(4)))
    assert encoder.batches == 0
    assert file_in(seen_by(inner)) == base64.b64decode(node.image)


def test_a_flagged_picture_that_stays_is_scanned_again() -> None:
    unsafe = png(picture(red=True))
    flagging = GuardAlignImageTransform(guard=red_guard(), on_unsafe="flag")
    (node,) = flagging([image_node(unsafe, "png")])
    (again,) = GuardAlignImageTransform(guard=red_guard())([node])
    assert again.metadata["guardalign_decision"] == "mask"


def test_original_forwards_allowed_bytes_and_no_others() -> None:
    guard, inner = red_guard(red_config(output=OutputConfig(original=True))), PlainLLM()
    llm = GuardAlignGuardedLLM(inner, guard=guard)
    file = file_of(picture().to_pil(), "GIF") + b"trailing"
    llm.chat(ask(ImageBlock(image=file)))
    assert file_in(seen_by(inner)) == file
    llm.chat(ask(ImageBlock(image=png(picture(red=True)) + b"trailing")))
    assert b"trailing" not in file_in(seen_by(inner))


@pytest.mark.parametrize("red", [False, True])
@pytest.mark.parametrize("stated", [{}, {"output_format": "webp"}])
@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_a_drawing_states_its_format(kind: str, stated: dict[str, str], red: bool) -> None:
    file = file_of(
        picture(red=red).to_pil(), kind.upper(), **({"quality": 95} if kind == "jpeg" else {})
    )
    body = base64.b64encode(file).decode()
    drawn = {"type": "image_generation_call", "id": "ig_1", "result": body, **stated}
    message = ChatMessage(role="assistant", content="Here.")
    message.additional_kwargs["content"] = [drawn]
    inner = PlainLLM()
    GuardAlignGuardedLLM(inner, guard=red_guard()).chat([message, ChatMessage("And?")])
    (new,) = inner.calls[-1][0].additional_kwargs["content"]
    written = load_image(base64.b64decode(new["result"])).encoding.image_format.lower()
    assert written == kind
    assert new.get("output_format", "png") == kind
