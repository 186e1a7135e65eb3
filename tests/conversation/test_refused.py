"""What cannot be looked at is refused where it is new, and becomes a notice where it is old."""

from typing import Any

import numpy as np
import pytest

from guardalign_middleware.conversation import (
    CHAT,
    MESSAGES,
    RESPONSES,
    ConversationGuard,
    Dialect,
    Handling,
    dialect_of,
)
from guardalign_middleware.errors import ImageRejected, MessageError
from guardalign_middleware.handling import OnUnsafeSent
from guardalign_middleware.testing import all_red, has_red, picture, png, red_guard
from guardalign_middleware.testing.histories import INERT, SPOKEN
from tests.conversation.positions import (
    LOOK,
    WORDS,
    answered,
    ask,
    b64,
    block,
    chat,
    in_messages,
    link,
    respond,
    result,
    said,
    shot,
    shown,
    url,
)

LINK = "https://example.org/a.png"
BROKEN = png(all_red())[:40]
HOPELESS = png(all_red())
TOKENS = np.array([1, 2])
PDF = b64(b"%PDF-1.7\n")


@pytest.fixture(scope="module")
def guard() -> ConversationGuard:
    return ConversationGuard(red_guard())


UNSEEN: dict[str, tuple[Dialect, dict[str, Any]]] = {
    "chat: address": (CHAT, {"type": "image_url", "image_url": {"url": LINK}}),
    "chat: address as a string": (CHAT, {"type": "image_url", "image_url": LINK}),
    "chat: local file": (CHAT, {"type": "image_url", "image_url": {"url": "file:///etc/a.png"}}),
    "chat: broken": (CHAT, link(BROKEN)),
    "chat: nothing": (CHAT, {"type": "image_url"}),
    "chat: file id": (CHAT, {"type": "file", "file": {"file_id": "file-abc123"}}),
    "chat: PDF": (
        CHAT,
        {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PDF}"}},
    ),
    "chat: film": (CHAT, {"type": "video_url", "video_url": {"url": LINK}}),
    "chat: two pictures": (CHAT, {**link(HOPELESS), "source": {"data": b64(HOPELESS)}}),
    "chat: unknown kind": (CHAT, {"type": "hologram_image", "ref": "x"}),
    "chat: document by address": (CHAT, {"type": "document_url", "document_url": LINK}),
    "chat: document as data": (
        CHAT,
        {"type": "document_url", "document_url": f"data:application/pdf;base64,{PDF}"},
    ),
    "chat: file by address": (CHAT, {"type": "file_url", "file_url": {"url": LINK}}),
    "chat: unknown kind of address": (CHAT, {"type": "hologram_url", "hologram_url": LINK}),
    "chat: a picture that claims to be sound": (
        CHAT,
        {"type": "input_audio", "input_audio": {"data": b64(HOPELESS), "format": "wav"}},
    ),
    "chat: capitals": (CHAT, {"type": "image_url", "Image_URL": {"url": LINK}}),
    "chat: capital type": (CHAT, {"Type": "image_url", "image_url": {"url": LINK}}),
    "chat: capitals in a text": (CHAT, {**LOOK, "Image_URL": {"url": LINK}}),
    "chat: an address beside a text": (CHAT, {**LOOK, "image_url": {"url": LINK}}),
    "chat: a file beside a text": (CHAT, {**LOOK, "file_id": "file-abc123"}),
    "chat: a film beside a text": (CHAT, {**LOOK, "video_url": {"url": LINK}, "uuid": "u"}),
    "chat: a picture in numbers beside a text": (CHAT, {**LOOK, "image_embeds": "UEsDBAAA"}),
    "chat: a picture that the service has seen": (
        CHAT,
        {**LOOK, "image_url": None, "uuid": "u"},
    ),
    "chat: a film without a type": (CHAT, {"video_url": {"url": LINK}}),
    "chat: a file without a type": (CHAT, {"file": {"file_id": "file-abc123"}}),
    "chat: a picture in numbers": (CHAT, {"type": "prompt_embeds", "data": "UEsDBAAA"}),
    "chat: sound in numbers": (CHAT, {"type": "audio_embeds", "audio_embeds": "UEsDBAAA"}),
    "messages: a picture beside a thought": (
        MESSAGES,
        {"type": "thinking", "thinking": "", "uuid": "u", "image_url": LINK},
    ),
    "responses: address": (RESPONSES, {"type": "input_image", "image_url": LINK}),
    "responses: file id": (RESPONSES, {"type": "input_image", "file_id": "file-abc123"}),
    "responses: file by id": (RESPONSES, {"type": "input_file", "file_id": "file-abc123"}),
    "responses: file by address": (RESPONSES, {"type": "input_file", "file_url": LINK}),
    "messages: address": (MESSAGES, {"type": "image", "source": {"type": "url", "url": LINK}}),
    "messages: file id": (
        MESSAGES,
        {"type": "image", "source": {"type": "file", "file_id": "file_011abc"}},
    ),
    "messages: document by address": (
        MESSAGES,
        {"type": "document", "source": {"type": "url", "url": LINK}},
    ),
    "messages: PDF": (
        MESSAGES,
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
        },
    ),
    "messages: upload": (MESSAGES, {"type": "container_upload", "file_id": "file_011abc"}),
}


def request(dialect: Dialect, *turns: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": "m", dialect.walk.turns_key: [*turns], **more}


@pytest.mark.parametrize(("dialect", "part"), UNSEEN.values(), ids=UNSEEN)
def test_what_cannot_be_looked_at(
    guard: ConversationGuard, dialect: Dialect, part: dict[str, Any]
) -> None:
    key = dialect.walk.turns_key
    with pytest.raises((ImageRejected, MessageError)) as caught:
        guard.clean(request(dialect, said("user", part)), dialect)
    assert f"{key}[0].content[0]" in str(caught.value)
    # Later, the conversation goes on without it.
    later = request(dialect, said("user", part), {"role": "assistant", "content": "?"}, WORDS)
    cleaned = guard.clean(later, dialect)
    (noted,) = cleaned.body[key][0]["content"]
    assert "not shown" in noted["text"]
    assert noted["type"] == ("input_text" if dialect is RESPONSES else "text")
    assert cleaned.to_json()["refused"][0]["place"] == f"{key}[0].content[0]"
    assert cleaned.body[key][1:] == later[key][1:]
    assert LINK not in str(cleaned.body)


def test_a_refused_message_does_not_end_a_conversation(guard: ConversationGuard) -> None:
    bad = said("user", UNSEEN["chat: address"][1])
    for _ in range(2):
        with pytest.raises(ImageRejected):
            guard.clean(chat(bad), CHAT)
    goes_on = guard.clean(chat(bad, said("user", LOOK)), CHAT)
    assert LINK not in str(goes_on.body)


@pytest.mark.parametrize(
    "item", [LINK, {"url": LINK}, {"image_url": LINK}, {"type": "image_url", "image_url": LINK}]
)
def test_a_picture_beside_a_message_is_looked_at_or_refused(
    guard: ConversationGuard, item: Any
) -> None:
    for images in ([item], item):
        body = chat({"role": "user", "content": "x", "images": images})
        with pytest.raises((ImageRejected, MessageError), match=r"messages\[0\]\.images"):
            guard.clean(body, CHAT)
        older = chat(*body["messages"], {"role": "assistant", "content": "?"}, WORDS)
        assert LINK not in str(guard.clean(older, CHAT).body)


FIELDS: dict[str, tuple[Dialect, dict[str, Any]]] = {
    "stored answer": (RESPONSES, {"previous_response_id": "resp_1"}),
    "stored conversation": (RESPONSES, {"conversation": "conv_1"}),
    "stored prompt": (RESPONSES, {"prompt": {"id": "pmpt_1"}}),
    "answer to be fetched later": (RESPONSES, {"background": True}),
    "embeddings": (CHAT, {"prompt_embeds": "AAAA"}),
    "unknown field": (CHAT, {"attachments": [{"url": LINK}]}),
    "numbers of a picture": (CHAT, {"images": list(HOPELESS)}),
    "a picture's number": (CHAT, {"image_id": 7}),
    "a number of a file": (CHAT, {"file": 7}),
    "another size than the guard's": (CHAT, {"max_pixels": 784}),
    "a brighter picture than the guard's": (CHAT, {"mm_processor_kwargs": {"rescale_factor": 0.2}}),
    "other frames than the guard's": (CHAT, {"media_io_kwargs": {"video": {"num_frames": 8}}}),
    "capital messages": (CHAT, {"Messages": [said("user", link(HOPELESS))]}),
    "files of a container": (MESSAGES, {"container": {"id": "c"}}),
    "remote servers": (MESSAGES, {"mcp_servers": [{"type": "url", "url": "https://x.example"}]}),
    "a stored thread": (
        MESSAGES,
        {"thread": {"type": "continue", "previous_message_id": "msg_1"}},
    ),
    # Gateways translate from one dialect to another.
    "stored answer, in chat": (CHAT, {"previous_response_id": "resp_1"}),
    "stored prompt, in chat": (CHAT, {"prompt": {"id": "pmpt_1"}}),
    "files of a container, in chat": (CHAT, {"container": "cntr_1"}),
    "remote servers, in chat": (CHAT, {"mcp_servers": [{"type": "url", "name": "x"}]}),
    "Google's cache": (CHAT, {"cached_content": "cachedContents/a"}),
    "Google's cache, in capitals": (CHAT, {"cachedContent": "cachedContents/a"}),
    "Google's cache, in its place": (
        CHAT,
        {"extra_body": {"google": {"cached_content": "cachedContents/a"}}},
    ),
    "tools in the extra body": (CHAT, {"extra_body": {"tools": [{"url_context": {}}]}}),
    "tools of another model": (
        CHAT,
        {"fallbacks": ["a", {"model": "b", "tools": [{"url_context": {}}]}]},
    ),
    "tools in a fallback's extra body": (
        CHAT,
        {"fallbacks": [{"model": "b", "extra_body": {"tools": [{"url_context": {}}]}}]},
    ),
    "a stored answer in the extra body": (CHAT, {"extra_body": {"previous_response_id": "r"}}),
    "a stored prompt in the extra body": (CHAT, {"extra_body": {"prompt": {"id": "pmpt_1"}}}),
    "pictures scaled, in the extra body": (
        RESPONSES,
        {"extra_body": {"mm_processor_kwargs": {"rescale_factor": 0.01}}},
    ),
    "pictures in grey, for another model": (
        CHAT,
        {"fallbacks": [{"model": "b", "media_io_kwargs": {"image": {"image_mode": "L"}}}]},
    ),
    "pictures scaled, in Google's field": (MESSAGES, {"google": {"MM_processor_kwargs": {"x": 1}}}),
    "search of another type, in the extra body": (
        CHAT,
        {"extra_body": {"web_search_options": {"type": "urlContext"}}},
    ),
    "remote tool of Responses": (RESPONSES, {"tools": [{"type": "mcp", "server_url": LINK}]}),
    "code interpreter": (RESPONSES, {"tools": [{"type": "code_interpreter", "container": {}}]}),
    "fetching tool": (MESSAGES, {"tools": [{"type": "web_fetch_20250910", "name": "web_fetch"}]}),
    "unknown tool": (CHAT, {"tools": [{"type": "holodeck"}]}),
    "mask by address": (
        RESPONSES,
        {"tools": [{"type": "image_generation", "input_image_mask": {"file_id": "file-abc123"}}]},
    ),
}


@pytest.mark.parametrize("name", ["previous_response_id", "tools", "prompt_embeds"])
@pytest.mark.parametrize("dialect", [CHAT, RESPONSES, MESSAGES])
def test_arrays_in_fields_that_are_judged(
    guard: ConversationGuard, dialect: Dialect, name: str
) -> None:
    with pytest.raises(MessageError, match=name):
        guard.clean(request(dialect, said("user", LOOK), **{name: TOKENS}), dialect)


def test_an_array_as_a_thread(guard: ConversationGuard) -> None:
    for thread in (TOKENS, {"type": TOKENS}):
        with pytest.raises(MessageError, match="thread"):
            guard.clean(ask(said("user", LOOK), thread=thread), MESSAGES)


@pytest.mark.parametrize(("dialect", "more"), FIELDS.values(), ids=FIELDS)
def test_fields_that_lead_elsewhere(
    guard: ConversationGuard, dialect: Dialect, more: dict[str, Any]
) -> None:
    with pytest.raises((MessageError, ImageRejected), match=next(iter(more))):
        guard.clean(request(dialect, said("user", LOOK), **more), dialect)


@pytest.mark.parametrize(
    ("dialect", "name", "remedy"),
    [
        (RESPONSES, "previous_response_id", "Send the earlier turns"),
        (RESPONSES, "conversation", "Send the earlier turns"),
        (RESPONSES, "prompt", "Send its text as instructions and input."),
        (RESPONSES, "background", "Leave it out, and wait"),
        (CHAT, "prompt_embeds", "Send its text."),
        (MESSAGES, "container", "Leave it out."),
        (MESSAGES, "mcp_servers", "Call their tools in your program"),
    ],
)
def test_what_to_send_instead_is_named(
    guard: ConversationGuard, dialect: Dialect, name: str, remedy: str
) -> None:
    with pytest.raises(MessageError) as caught:
        guard.clean(request(dialect, said("user", LOOK), **{name: "abc_1"}), dialect)
    assert caught.value.remedy.startswith(remedy)


@pytest.mark.parametrize(
    ("item", "remedy"),
    [
        ({"type": "item_reference", "id": "msg_1"}, "Send the item itself."),
        (INERT["openai drawing by its id"], "as base64"),
    ],
)
def test_what_to_send_instead_of_an_item(
    guard: ConversationGuard, item: dict[str, Any], remedy: str
) -> None:
    refused = [
        each.refused for each in guard.clean(respond(WORDS, item, WORDS), RESPONSES).outcomes
    ]
    assert [remedy in each.remedy for each in refused if each is not None] == [True]


def test_an_operator_may_let_files_pass_and_is_told() -> None:
    guard = ConversationGuard(red_guard(), Handling(allow_unscanned=True))
    body = respond(
        said("user", UNSEEN["responses: file by id"][1]),
        previous_response_id="resp_1",
        tools=[{"type": "mcp", "server_url": "https://x.example"}],
    )
    cleaned = guard.clean(body, RESPONSES)
    assert cleaned.body == body
    assert [each["action"] for each in cleaned.to_json()["unscanned"]] == ["unscanned"] * 3
    with pytest.raises(ImageRejected):
        guard.clean(respond(said("user", UNSEEN["responses: address"][1])), RESPONSES)


def test_a_tool_that_works_elsewhere_is_left_out_where_notices_are_wanted() -> None:
    guard = ConversationGuard(red_guard(), Handling(on_refused="notice"))
    remote = {"type": "mcp", "server_url": "https://x.example", "server_description": HOPELESS_URL}
    kept = {"type": "function", "name": "f", "parameters": {}}
    body = respond(said("user", shot(png(picture(red=True)))), tools=[remote, kept])
    cleaned = guard.clean(body, RESPONSES).body
    assert cleaned["tools"] == [kept]
    assert not any(map(has_red, shown(cleaned)))


HOPELESS_URL = shot(HOPELESS)["image_url"]


def test_references_become_an_answer_in_words(guard: ConversationGuard) -> None:
    items = [{"type": "item_reference", "id": "msg_1"}, {"id": "msg_2"}, INERT_DRAWING]
    cleaned = guard.clean(respond(WORDS, *items, WORDS), RESPONSES)
    for item in cleaned.body["input"][1:4]:
        assert set(item) == {"role", "content"}
        assert "not shown" in item["content"]


INERT_DRAWING = INERT["openai drawing by its id"]


def test_a_blocked_screenshot_becomes_a_blank_one(guard: ConversationGuard) -> None:
    screen = {"type": "computer_screenshot", "image_url": shot(HOPELESS)["image_url"]}
    item = {"type": "computer_call_output", "call_id": "c", "output": screen}
    (output,) = guard.clean(respond(item), RESPONSES).body["input"]
    assert output["output"]["type"] == "computer_screenshot"
    assert output["output"]["image_url"].startswith("data:image/png;base64,")


def test_only_new_pictures_of_the_user_bring_a_reply(guard: ConversationGuard) -> None:
    assert guard.clean(chat(said("user", LOOK, link(HOPELESS))), CHAT).blocked
    assert guard.clean(ask(said("user", LOOK, block(HOPELESS))), MESSAGES).blocked
    assert guard.clean(respond(said("user", shot(HOPELESS))), RESPONSES).blocked
    older = in_messages()["older user"](HOPELESS)
    by_tools = (
        (chat(said("user", link(HOPELESS)), said("assistant", LOOK), said("user", LOOK)), CHAT),
        (answered([link(HOPELESS)]), CHAT),
        (ask(said("user", LOOK), said("user", result([block(HOPELESS)]))), MESSAGES),
        (older, MESSAGES),
    )
    for body, dialect in by_tools:
        cleaned = guard.clean(body, dialect)
        assert not cleaned.blocked
        assert "[image removed: it was found unsafe]" in str(cleaned.body)


PAGE = {"url": "https://example.org/a.html", "title": "A page", "date": None}
CITED: dict[str, dict[str, Any]] = {
    "addresses": {"citations": [PAGE["url"]]},
    "Perplexity": {"citations": [PAGE["url"]], "search_results": [PAGE]},
    "Azure": {"context": {"citations": [{**PAGE, "content": "x", "filepath": "a.pdf"}]}},
    "Cohere": {
        "citations": [
            {"text": "x", "sources": [{"type": "document", "id": "d", "document": {**PAGE}}]}
        ]
    },
}


@pytest.mark.parametrize("fields", CITED.values(), ids=CITED)
def test_what_an_answer_cites_stays(guard: ConversationGuard, fields: dict[str, Any]) -> None:
    body = chat(said("user", LOOK), {"role": "assistant", "content": "x", **fields}, WORDS)
    cleaned = guard.clean(body, CHAT)
    assert cleaned.body is body
    assert cleaned.outcomes == ()
    # A user's message has no sources.
    with pytest.raises(MessageError, match="field that this guard does not know"):
        guard.clean(chat({**said("user", LOOK), **fields}), CHAT)


@pytest.mark.parametrize(
    "cited",
    [
        [url(HOPELESS)],
        [{"title": "x", "thumbnail": b64(HOPELESS)}],
        [{"type": "image_url", "image_url": LINK}],
        [{"type": "file", "file_id": "file-abc123"}],
    ],
)
@pytest.mark.parametrize("key", ["citations", "search_results", "context"])
def test_a_picture_among_what_an_answer_cites_does_not(
    guard: ConversationGuard, key: str, cited: list[Any]
) -> None:
    answer = {"role": "assistant", "content": "x", key: cited}
    cleaned = guard.clean(chat(said("user", LOOK), answer, WORDS), CHAT)
    assert cleaned.body["messages"][1] == {"role": "assistant", "content": "x"}
    assert cleaned.to_json()["refused"][0]["place"] == f"messages[1].{key}"


SCHEMA = {"type": "object", "properties": {"image": {"type": "string"}, "image_url": {}}}
HARMLESS: dict[str, tuple[Dialect, dict[str, Any]]] = {
    "tools": (
        CHAT,
        chat(
            said("user", LOOK),
            tools=[{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}],
            response_format={"type": "json_schema", "json_schema": {"schema": SCHEMA}},
            tool_choice="auto",
        ),
    ),
    "reasoning": (
        CHAT,
        chat(
            said("user", LOOK),
            {
                "role": "assistant",
                "content": "x",
                "reasoning_content": "y",
                "annotations": [{"type": "url_citation", "url_citation": {"url": LINK}}],
            },
            {"role": "user", "content": f"Look at {LINK}"},
        ),
    ),
    "fields without a value": (
        CHAT,
        chat(said("user", {**LOOK, "image_url": None, "file": None}, {**LOOK, "video_url": ""})),
    ),
    "no pictures beside a message": (
        CHAT,
        chat(
            {"role": "user", "content": "x", "images": None},
            {"role": "assistant", "content": "y", "images": []},
        ),
    ),
    "nothing stored": (
        CHAT,
        chat(
            said("user", LOOK),
            previous_response_id=None,
            mcp_servers=[],
            fallbacks=["a", {"model": "b", "temperature": 0}],
            extra_body={
                "google": {"thinking_config": {"include_thoughts": True}, "cached_content": None},
                "tools": [],
                "top_k": 3,
                "web_search_options": {"search_context_size": "low"},
                "mm_processor_kwargs": {},
                "media_io_kwargs": None,
            },
        ),
    ),
    "arrays": (CHAT, chat(said("user", LOOK), stop_token_ids=TOKENS)),
    "keys that are no texts": (
        CHAT,
        chat({**said("user", LOOK), 1: 2}, extra_body={1: {2: 3}}, **{"logit_bias": {50256: 1}}),
    ),
    "tools in a tuple": (
        CHAT,
        chat(said("user", LOOK), tools=({"type": "function", "function": {"name": "f"}},)),
    ),
    "a thread that begins": (MESSAGES, ask(said("user", LOOK), thread={"type": "create"})),
    "sound": (
        CHAT,
        chat(
            said(
                "user",
                {"type": "input_audio", "input_audio": {"data": b64(b"RIFF1234"), "format": "wav"}},
            )
        ),
    ),
    "settings": (
        CHAT,
        chat(
            said("user", LOOK),
            num_frames=8,
            max_image_size=1024,
            image_tokens=256,
            video_fps=0.5,
            files=0,
            keep_images=True,
            return_images=True,
            mm_processor_kwargs={},
            media_io_kwargs=None,
        ),
    ),
    "tools of Responses": (
        RESPONSES,
        respond(
            WORDS,
            tools=[
                {"type": "function", "name": "f", "parameters": SCHEMA, "strict": True},
                {"type": "web_search", "filters": {"allowed_domains": ["example.org"]}},
                {"type": "custom", "name": "g", "format": {"type": "text"}},
            ],
            text={"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}},
            background=False,
            previous_response_id=None,
        ),
    ),
    "tools of Messages": (
        MESSAGES,
        ask(
            said("user", LOOK),
            system=[{**LOOK, "cache_control": {"type": "ephemeral"}}],
            tools=[
                {"name": "f", "description": "See data:image/png", "input_schema": SCHEMA},
                {"type": "computer_20250124", "name": "computer", "display_width_px": 1024},
            ],
            thinking={"type": "enabled", "budget_tokens": 1024},
        ),
    ),
    "spoken in chat": (
        CHAT,
        chat(said("user", LOOK), said("assistant", *SPOKEN.values()), said("user", LOOK)),
    ),
    "inert in chat": (
        CHAT,
        chat(said("user", LOOK), said("assistant", *INERT.values()), said("user", LOOK)),
    ),
}


@pytest.mark.parametrize(("dialect", "body"), HARMLESS.values(), ids=HARMLESS)
def test_what_holds_no_picture_stays_the_same_object(
    guard: ConversationGuard, dialect: Dialect, body: dict[str, Any]
) -> None:
    cleaned = guard.clean(body, dialect)
    assert cleaned.body is body
    assert cleaned.outcomes == ()


@pytest.mark.parametrize(
    ("body", "dialect"),
    [
        (chat(said("user", LOOK)), CHAT),
        (answered("x"), CHAT),
        (respond(WORDS), RESPONSES),
        ({"input": "Hello"}, RESPONSES),
        (ask(said("user", LOOK), system="Be brief."), MESSAGES),
        (ask(said("user", result("x"))), MESSAGES),
    ],
)
def test_the_dialect_of_a_body(body: dict[str, Any], dialect: Dialect) -> None:
    assert dialect_of(body) is dialect


TOOL = {"type": "function", "function": {"name": "draw", "description": f"As {url(HOPELESS)}."}}
IN_WORDS: dict[str, tuple[Dialect, dict[str, Any]]] = {
    "chat: a user": (CHAT, chat({"role": "user", "content": f"See {url(HOPELESS)}."})),
    "chat: a tool's description": (CHAT, chat(said("user", LOOK), tools=[TOOL])),
    "responses: instructions": (RESPONSES, respond(WORDS, instructions=url(HOPELESS))),
    "messages: system": (MESSAGES, ask(said("user", LOOK), system=f"As {url(HOPELESS)}.")),
}


@pytest.mark.parametrize("on_unsafe", ["mask", "block"])
@pytest.mark.parametrize(("dialect", "body"), IN_WORDS.values(), ids=IN_WORDS)
def test_a_blocked_picture_among_words_ends_nothing(
    on_unsafe: OnUnsafeSent, dialect: Dialect, body: dict[str, Any]
) -> None:
    cleaned = ConversationGuard(red_guard(), Handling(on_unsafe)).clean(body, dialect)
    assert cleaned.blocked == ()
    assert cleaned.decision in {"mask", "block"}
    assert b64(HOPELESS)[40:80] not in str(cleaned.body)
    assert "found unsafe" in str(cleaned.body)
