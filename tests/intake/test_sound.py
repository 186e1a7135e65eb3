"""Sound and films in the same containers: their tracks say which they are."""

import base64

import pytest

from guardalign_middleware.intake.declared import declared
from guardalign_middleware.intake.sound import is_no_sound
from guardalign_middleware.testing import picture, png

MATROSKA = b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\x82\x84webm"
ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
FILM_STREAM = bytes.fromhex("c0ef19bc4d5bcf11a8fd00805f5c442b")


def box(kind: bytes, content: bytes = b"") -> bytes:
    return (8 + len(content)).to_bytes(4, "big") + kind + content


def mp4(brand: bytes, *handlers: bytes) -> bytes:
    tracks = [box(b"hdlr", bytes(8) + handler + bytes(13)) for handler in handlers]
    movie = box(b"moov", b"".join(box(b"trak", box(b"mdia", track)) for track in tracks))
    return box(b"ftyp", brand + bytes(4) + b"isomM4A mp42") + box(b"mdat", b"\x21" * 40) + movie


def matroska(*codecs: bytes) -> bytes:
    return MATROSKA + b"".join(b"\xae\x90\x86\x85" + codec for codec in codecs) + bytes(40)


SOUND = {
    "wav": b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(20),
    "mp3": b"ID3\x04\x00\x00\x00\x00\x00#TSSE" + bytes(40),
    "mp3 without tags": b"\xff\xfb\x90\x64" + bytes(40),
    "flac": b"fLaC\x00\x00\x00" + bytes(40),
    "ogg": b"OggS\x00\x02" + bytes(22) + b"OpusHead" + bytes(40),
    "m4a": mp4(b"M4A ", b"soun"),
    "m4a whose tracks are elsewhere": box(b"ftyp", b"M4A " + bytes(4)) + bytes(40),
    "mp4 with sound": mp4(b"isom", b"soun"),
    "QuickTime with sound": mp4(b"qt  ", b"soun", b"text"),
    "3gp with sound": mp4(b"3gp4", b"soun"),
    "webm with sound": matroska(b"A_OPUS"),
    "matroska with sound": matroska(b"A_AAC", b"A_FLAC"),
    "wma": ASF + bytes(80),
    "nothing": b"",
    "noise": bytes(range(256)),
}
FILMS = {
    "PDF": b"%PDF-1.7\n" + bytes(40),
    "mp4": mp4(b"isom", b"soun", b"vide"),
    "mp4 that calls itself sound": mp4(b"M4A ", b"vide", b"soun"),
    "mp4 whose tracks are elsewhere": box(b"ftyp", b"isom" + bytes(4)) + bytes(40),
    "QuickTime without a brand": mp4(b"qt  ", b"vide")[28:],
    "QuickTime with hidden tracks": mp4(b"M4A ", b"soun") + box(b"moov", box(b"cmov", bytes(9))),
    "picture in a film's container": mp4(b"msf1", b"pict", b"soun"),
    "webm": matroska(b"V_VP9", b"A_OPUS"),
    "webm whose tracks are elsewhere": matroska(),
    "avi": b"RIFF\x24\x00\x00\x00AVI LIST" + bytes(40),
    "ogg": b"OggS\x00\x02" + bytes(22) + b"\x80theora" + bytes(40),
    "flv": b"FLV\x01\x05" + bytes(40),
    "mpeg": b"\x00\x00\x01\xba\x44" + bytes(40),
    "wmv": ASF + FILM_STREAM + bytes(40),
}


@pytest.mark.parametrize("data", SOUND.values(), ids=SOUND)
def test_sound_is_sound_in_every_container(data: bytes) -> None:
    assert not is_no_sound(data)
    found = declared({"type": "audio", "base64": base64.b64encode(data).decode()})
    assert found is not None
    assert found.media == "audio"
    assert not found.holds_film()


@pytest.mark.parametrize("data", FILMS.values(), ids=FILMS)
def test_films_and_pdf_files_are_none(data: bytes) -> None:
    assert is_no_sound(data)
    plain = base64.b64encode(data).decode()
    # Python's decoder leaves out what is no base64, and reads the rest.
    for text in (
        plain,
        f"{plain[:2]}!{plain[2:]}",
        "-" * 600 + plain,
        f"{plain[:40]}.{plain[40:]}",
    ):
        found = declared({"type": "audio", "mime_type": "audio/mp4", "base64": text})
        assert found is not None
        assert found.holds_film()


def test_sound_without_a_type_may_not_begin_like_a_picture() -> None:
    cut = base64.b64encode(png(picture())[:-20]).decode()
    for block, media in (
        ({"type": "audio", "base64": cut}, "file"),
        ({"type": "audio", "base64": cut, "mimeType": "audio/wav"}, "file"),
        ({"type": "audio", "base64": cut, "mime_type": "audio/wav"}, "audio"),
        ({"type": "input_audio", "input_audio": {"data": cut, "format": "wav"}}, "audio"),
    ):
        found = declared(block)
        assert found is not None
        assert found.media == media


@pytest.mark.parametrize(
    "block",
    [
        {"type": "audio", "url": "https://example.org/a", "mime_type": "audio/mpeg"},
        {"type": "audio", "url": "https://example.org/a.mp3"},
        {"type": "audio", "url": "HTTPS://example.org/a.m4a", "title": "A song"},
        {"type": "audio", "file_id": "f", "mime_type": "audio/wav"},
        {"type": "audio", "source_type": "url", "url": "gs://a/b", "mime_type": "audio/wav"},
        {"type": "audio", "source_type": "id", "id": "f", "mime_type": "audio/wav"},
        {"audio": {"format": "mp3", "source": {"s3Location": {"uri": "s3://a/b"}}}},
        {"type": "audio_url", "audio_url": {"url": "https://example.org/a"}},
        {"type": "input_audio", "input_audio": "https://example.org/a"},
    ],
)
def test_sound_behind_an_address_that_is_said_to_be_sound(block: dict[str, object]) -> None:
    found = declared(block)
    assert found is not None
    assert found.media == "audio"


@pytest.mark.parametrize(
    "block",
    [
        {"type": "audio", "url": "https://example.org/a"},
        {"type": "audio", "url": "https://example.org/a.png"},
        {"type": "audio", "url": "https://example.org/a.mp3?b"},
        {"type": "audio", "url": "https://example.org/a.png?b.mp3"},
        {"type": "audio", "url": "gs://a/b.mp3"},
        {"type": "audio", "url": "https://example.org/a", "media_type": "audio/mpeg"},
        {"type": "audio", "url": "https://example.org/a", "audio": {"format": "mp3"}},
        {"type": "audio", "url": "https://example.org/a", "filename": "a.mp3"},
        {"type": "audio", "url": "https://example.org/a", "mime_type": ""},
        {"type": "audio", "url": "https://example.org/a.mp3", "file_id": "f"},
        {"type": "audio", "file_id": "f.mp3"},
        {"type": "audio", "source_type": "url", "url": "https://example.org/a"},
        {"type": "audio", "source_type": "id", "id": "f"},
        {"type": "audio", "url": "https://www.youtube.com/watch?v=1", "mime_type": "audio/mp3"},
        {"type": "audio", "url": "https://youtu.be/1/a.mp3"},
        {"audio": {"source": {"s3Location": {"uri": "s3://a/b"}}}},
    ],
)
def test_sound_behind_an_address_that_could_be_anything(block: dict[str, object]) -> None:
    found = declared(block)
    assert found is not None
    assert found.media == "file"
