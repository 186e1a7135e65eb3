"""Texts and files that look as if they held pictures, and that a guard has to leave alone.

`snippets()` is what developers write every day; `files()` are sound, archives, fonts, programs and
documents, some with a whole picture inside. Neither holds a picture that stands by itself.
"""

from __future__ import annotations

import base64
import io
import random
import zipfile

from guardalign_middleware.testing.photos import file_of
from guardalign_middleware.testing.pictures import base64_png, picture, png


def snippets() -> dict[str, str]:
    """Ordinary texts about data URLs and base64, by what they are."""
    half = base64_png(picture(red=True))[:200]
    return {
        "css with svg": ".a { background: url(\"data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/"
        "2000/svg' width='8' height='8'%3E%3Cpath d='M0 0h8v8z'/%3E%3C/svg%3E\"); }\n",
        "css with svg in base64": ".b{background:url(data:image/svg+xml;base64,"
        "PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciPjwvc3ZnPg==)}",
        "css with a font": "@font-face{src:url(data:font/woff2;base64,"
        f"{base64.b64encode(files()['font']).decode()}) format('woff2')}}",
        "python": 'url = f"data:image/png;base64,{base64.b64encode(data).decode()}"\n'
        'assert url.startswith("data:image/png;base64,iVBORw0KGgo")\n',
        "javascript": "const m = /^data:image\\/(png|jpeg);base64,([A-Za-z0-9+/=]+)$/.exec(s);\n"
        "img.src = 'data:image/jpeg;base64,' + btoa(bytes); // /9j/4AAQSkZJRg…\n",
        "a question": "Why does data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAUA in my page "
        "show nothing? Is data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP too short?",
        "an explanation": "A PNG in base64 begins with iVBORw0KGgo, a JPEG with /9j/, a GIF with "
        "R0lGODlh or R0lGODdh, a WebP with UklGR and a BMP with Qk.",
        "markdown": "![logo](data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAA"
        "…)\n\nwords after it\n",
        "a log, cut off": f"2026-11-28 POST /upload body={half}... (truncated)\nnext line\n",
        "json, formatted": '{\n  "image" : "data:image/jpeg;base64,/9j/4AAQSkZJRgABAQ",\n'
        '\t"n":1.50, "e":1E5, "u":"\\u00fc\\/", "a":[1,2 ,3], "a":2\n}\n',
        "json, a block": '{"type": "image_url", "image_url": {"url":"data:image/png;base64,'
        f'{half}"}}}}',
        "json, an address": '[ {"type":"image","url":"https://example.org/a.png"},'
        '{"type":"image","file_id":"file-1"} ]',
        "addresses": "https://cdn.example.org/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBgcGBQgHBwcJCQg/"
        "iVBORw0KGgo/photo.jpg?sig=/9j/wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "html": "<img src='data:image/png;base64,iVBORw0KGgo!!!AAAA' alt='data:image/png'> &amp; "
        "<svg><image href=\"data:image/svg+xml;utf8,<svg xmlns='x'/>\"/></svg>",
        "wrapped": "\n".join(half[at : at + 76] for at in range(0, 200, 76)) + "\n-- \nMary\n",
        "token": "Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJpbWciOiIvOWovNEFBUSJ9.9j_9j_9jwAA",
    }


def files() -> dict[str, bytes]:
    """Files that are no pictures, although they hold the first bytes of some, or whole ones."""
    whole, jpeg = png(picture(red=True)), file_of(picture(red=True).to_pil(), "JPEG")
    rng = random.Random(1)
    hiss = b"".join(rng.randint(-60, 60).to_bytes(2, "little", signed=True) for _ in range(8000))
    # FF D8 FF where base64 shows it as /9j/.
    pcm = hiss[:300] + b"\xff\xd8\xff\xe0\x00\x10JFIF" + hiss[300:]
    riff = b"RIFF" + (len(pcm) + 36).to_bytes(4, "little") + b"WAVEfmt " + bytes(24) + b"data"
    return {
        "pcm": pcm,
        "pcm that begins like a jpeg": b"\xff\xd8\xff\xe0" + hiss,
        "wav": riff + pcm,
        "zip": _zip({"shots/a.png": whole, "b.jpg": jpeg}),
        "docx": _zip({"word/document.xml": b"<w/>", "word/media/image1.png": whole}),
        "mp3 with a cover": _aligned(b"ID3\x04\x00\x00\x00\x00\x10\x00APIC") + jpeg + hiss,
        "pdf": _aligned(b"%PDF-1.7\n1 0 obj<</Filter/DCTDecode>>stream\n") + jpeg + b"\n%%EOF\n",
        "executable": _aligned(b"\x7fELF\x02\x01\x01" + bytes(57)) + whole + bytes(100),
        "font": _aligned(b"wOF2\x00\x01\x00\x00") + hiss[:200] + b"\xff\xd8\xff\xe1" + hiss[:99],
        "jpeg, cut off": jpeg[: len(jpeg) // 2],
        "png, cut off": whole[: len(whole) // 2],
        "a jpeg's first bytes": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01" + hiss,
        "a gif's first bytes": b"GIF89a" + hiss,
        "a bmp's first bytes": b"BM" + bytes(60) + hiss,
        "a tiff's first bytes": b"II*\x00\x08\x00\x00\x00" + hiss,
        "a webp's first bytes": b"RIFF\x00\x10\x00\x00WEBPVP8 " + hiss,
    }


def _aligned(head: bytes) -> bytes:
    """Filled up so that base64 shows what follows as it would by itself."""
    return head + b" " * (-len(head) % 3)


def _zip(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()
