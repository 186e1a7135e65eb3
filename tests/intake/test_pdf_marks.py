"""PDF files in disguise, and texts that speak of them."""

import base64

import pytest

from guardalign_middleware.intake.declared import declared
from guardalign_middleware.intake.pdf_marks import is_pdf

BODY = b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n"
PDFS = {
    "plain": b"%PDF-1.7\n% a page",
    "behind a line": b"\n" + BODY,
    "behind a byte order mark": b"\xef\xbb\xbf%PDF-1.4 rest",
    "behind zeros": bytes(900) + b"%PDF-1.4 rest",
    "behind words": b"Dear reader,\n" + BODY,
    "behind many words": b"x" * 1024 + BODY,
    "with comments": b"words %PDF-1.7\n1%\n 0%a\nobj",
    "with an object far away": b"words %PDF-1.7\n" + b"x" * 5000 + b"\n12\x000\r\nobj<<>>",
}
TEXTS = {
    "nothing": b"",
    "words": b"Hello.",
    "about a header": b"A file begins with %PDF-1.7 and a comment. An obj follows, 1 or 0.",
    "code": b"def is_pdf(obj):\n    return obj.startswith(b'%PDF-1.7') and 1 == 0 or obj\n",
    "header too late": b"x" * 1025 + BODY,
}


def file(data: bytes, **more: object) -> dict[str, object]:
    encoded = base64.b64encode(data).decode()
    return {"type": "file", "base64": encoded, "mime_type": "text/plain", **more}


@pytest.mark.parametrize("data", PDFS.values(), ids=PDFS)
def test_a_pdf_file_is_known_as_readers_know_it(data: bytes) -> None:
    assert is_pdf(data)
    found = declared(file(data))
    assert found is not None
    assert found.media == "text"
    assert found.holds_pages()
    heard = declared(file(data, mime_type="audio/mpeg"))
    assert heard is not None
    assert heard.holds_film()


@pytest.mark.parametrize("data", TEXTS.values(), ids=TEXTS)
def test_a_text_stays_a_text(data: bytes) -> None:
    assert not is_pdf(data)
    found = declared(file(data, filename="notes.txt"))
    assert found is not None
    assert found.media == "text"
    assert not found.holds_pages()


@pytest.mark.parametrize(
    ("mime_type", "name", "media"),
    [
        ("text/plain", "a.pdf", "file"),
        ("text/plain", "A.PNG", "file"),
        ("text/plain", "https://example.org/a.mp4?b=c.txt", "file"),
        ("audio/wav", "a.jpeg", "file"),
        ("audio/wav", "a.pdf", "file"),
        ("audio/mp4", "a.mp4", "audio"),
        ("audio/webm", "a.webm", "audio"),
        ("text/plain", "index.ts", "text"),
        ("text/markdown", "a.pdf.md", "text"),
        ("text/html", "logo.svg", "text"),
        ("text/plain", "README", "text"),
        ("application/pdf", "a.txt", "pdf"),
    ],
)
def test_a_name_that_contradicts_the_type(mime_type: str, name: str, media: str) -> None:
    found = declared(file(b"words", mime_type=mime_type, filename=name))
    assert found is not None
    assert found.media == media
    inner = {"file_data": f"data:{mime_type};base64,d29yZHM=", "filename": name}
    found = declared({"type": "file", "file": inner})
    assert found is not None
    assert found.media == media


def test_words_may_have_the_name_of_the_file_that_they_are_from() -> None:
    for block in (
        {"type": "file", "source_type": "text", "text": "words", "filename": "a.pdf"},
        {"type": "document", "source": {"type": "text", "data": "words"}, "name": "a.pdf"},
        {"type": "resource", "resource": {"uri": "file:///a.pdf", "text": "words"}},
    ):
        found = declared(block)
        assert found is not None
        assert found.media == "text"
