"""Whether a file that is declared sound is a film or a PDF.

MP4, WebM and their relatives hold sound or films and begin alike: the tracks that they name say
which. Nothing is decoded.
"""

from __future__ import annotations

import re

from guardalign_middleware.intake.pdf_marks import is_pdf, may_be_pdf

# The boxes with which MP4 and QuickTime files begin.
_BOXES = {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp", b"moof"}
_HANDLER = re.compile(rb"hdlr.{8}(soun|vide|pict|auxv)", re.DOTALL)
# QuickTime's compressed tracks cannot be searched.
_COMPRESSED = re.compile(rb"moov.{4}cmov", re.DOTALL)
_SOUND_BRANDS = {b"M4A ", b"M4B ", b"M4P ", b"F4A ", b"F4B "}
_MATROSKA = b"\x1aE\xdf\xa3"
_FILM_CODEC = re.compile(
    rb"V_(?:VP[89]|AV1|AVS|MPEG|MS/VFW|THEORA|REAL|QUICKTIME|UNCOMPRESSED|MJPEG|PRORES|FFV1|DIRAC)"
)
_SOUND_CODEC = re.compile(rb"A_[A-Z]{2}")
_THEORA = b"\x80theora"
_WINDOWS_MEDIA = bytes.fromhex("3026b2758e66cf11")
_WINDOWS_FILM = bytes.fromhex("c0ef19bc4d5bcf11a8fd00805f5c442b")
_FILMS = (b"FLV\x01", b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3")


def may_be_film(head: bytes) -> bool:
    """Whether a file may hold more than sound, by its first bytes."""
    return (
        head[4:8] in _BOXES
        or head.startswith((_MATROSKA, _WINDOWS_MEDIA, b"OggS", *_FILMS))
        or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")
        or may_be_pdf(head)
    )


def is_no_sound(data: bytes) -> bool:
    """Whether a file is a film or a PDF, or could be a film and has no track of sound."""
    if is_pdf(data):
        return True
    if data[4:8] in _BOXES:
        tracks = set(_HANDLER.findall(data))
        if tracks - {b"soun"} or _COMPRESSED.search(data):
            return True
        return not tracks and data[8:12] not in _SOUND_BRANDS
    if data.startswith(_MATROSKA):
        return _FILM_CODEC.search(data) is not None or _SOUND_CODEC.search(data) is None
    if data.startswith(b"OggS"):
        return _THEORA in data
    if data.startswith(_WINDOWS_MEDIA):
        return _WINDOWS_FILM in data
    return data.startswith(_FILMS) or (data[:4] == b"RIFF" and data[8:12] == b"AVI ")
