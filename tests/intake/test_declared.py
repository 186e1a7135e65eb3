"""What a block declares, against the first bytes of its file."""

import base64

import pytest

from guardalign_middleware.intake import declared as module
from guardalign_middleware.intake.declared import declared, file_bytes
from guardalign_middleware.testing import picture, png

RAW = png(picture(red=True))
B64 = base64.b64encode(RAW).decode()
SPACES = " " * 600
FORMS = {
    "base64": B64,
    "behind spaces": SPACES + B64,
    "between spaces": B64[:4] + SPACES + B64[4:],
    "data URL": f"data:audio/wav;base64,{B64}",
    "data URL behind spaces": f"{SPACES}data:audio/wav;base64,{SPACES}{B64}",
    "data URL with a long header": f"data:audio/wav;a={'b' * 2000};base64,{B64}",
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_the_first_bytes_are_found_behind_spaces(text: str) -> None:
    assert file_bytes(text) == RAW
    head = file_bytes(text, 64)
    assert head
    assert RAW.startswith(head)
    assert len(head) >= 64


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_a_picture_that_is_declared_sound_is_found_behind_spaces(text: str) -> None:
    found = declared({"type": "audio", "mime_type": "audio/wav", "data": text})
    assert found is not None
    assert found.media == "audio"
    assert found.holds_picture()
    assert found.holds_pages()


def test_plain_base64_is_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[object] = []
    decode = module._lenient_bytes

    def lenient(payload: object, count: int | None = None) -> bytes | None:
        if count is None:
            read.append(payload)
        return decode(payload, count)

    monkeypatch.setattr(module, "_lenient_bytes", lenient)
    plain = base64.b64encode(b"OggS" + bytes(60)).decode()
    foreign = [f"{plain}-", f"{plain}_"]
    for text in (plain, *foreign):
        found = declared({"type": "audio", "base64": text, "mime_type": "audio/ogg"})
        assert found is not None
        found.holds_film()
    assert read == foreign
