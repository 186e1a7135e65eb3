"""A repository of files that speak of pictures or look as if they held some, to be edited."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path

from guardalign_middleware.testing import data_url, picture
from guardalign_middleware.testing.harmless import files, snippets

_TYPES = {
    "font": "font/woff2",
    "wav": "audio/wav",
    "mp3 with a cover": "audio/mpeg",
    "pdf": "application/pdf",
    "zip": "application/zip",
}


def repository() -> Mapping[str, str]:
    """Texts by path: code, style sheets, SVG, minified scripts, fonts, sound and archives."""
    encoded = {title: base64.b64encode(data).decode() for title, data in files().items()}
    urls = {
        title: f"data:{_TYPES.get(title, 'application/octet-stream')};base64,{text}"
        for title, text in encoded.items()
    }
    rules = [f".rule-{n}::after {{\n  src: url({url});\n}}" for n, url in enumerate(urls.values())]
    lines = [text.rstrip() for text in snippets().values()]
    found = {
        f"/src/{name}-{at}.txt": "\n\n".join(texts[at : at + 3]) + "\n"
        for name, texts in (("notes", lines), ("assets", rules))
        for at in range(0, len(texts), 3)
    }
    wrapped = "\n".join(encoded["docx"][at : at + 76] for at in range(0, len(encoded["docx"]), 76))
    small = {title: url for title, url in urls.items() if len(url) < 10_000}
    bundle = "!function(){" + ";".join(f"a[{n}]='{url}'" for n, url in enumerate(small.values()))
    return {
        **found,
        "/dist/app.min.js": bundle + "}();\n//# sourceMappingURL=app.min.js.map\n",
        "/dist/app.min.js.map": json.dumps({"version": 3, "mappings": "AAAA;AACA", "x": small})
        + "\n",
        "/mail/report.eml": f"Content-Transfer-Encoding: base64\n\n{wrapped}\n\n-- \nMary\n",
        "/assets/icon.svg": "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'>\n"
        "  <path d='M0 0h8v8z'/>\n</svg>\n",
        "/assets/mislabelled.css": ".a {\n  src: url(data:image/png;base64,"
        + encoded["wav"]
        + ");\n}\n",
        "/index.html": f"<!doctype html>\n<img alt='logo'\n  src='{data_url(picture())}'>\n",
        "/tests/test_logo.py": 'LOGO = """\n' + encoded["png, cut off"] + '\n"""\n'
        "assert LOGO.strip().startswith('iVBOR')\n",
    }


def write(folder: Path, texts: Mapping[str, str]) -> None:
    """Create the files in a folder."""
    for path, text in texts.items():
        file = folder / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode())


def read(folder: Path) -> dict[str, str]:
    """Every file of a folder by its path, to the byte."""
    return {
        f"/{file.relative_to(folder).as_posix()}": file.read_bytes().decode()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
