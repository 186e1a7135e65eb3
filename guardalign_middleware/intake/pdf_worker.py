"""Draws the pages of one PDF file, as a script in a process of its own.

`pdf_process.py` starts it without the caller's environment and speaks with it through pipes. It
imports PDFium and nothing of this package, so that it starts fast. A file that makes PDFium crash,
hang or run out of memory ends this process only.

Input: 8 bytes with the length of the file, the file, then a line of JSON with the background and
the size of each page in pixels. Output: a line of JSON with the size of each page in points or an
error code, then for each page one byte, 1 or 0, and if it is 1 the pixels as RGB.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys

MAX_BYTES = 2 << 30
"""Address space of the process: a scanned page of 40 megapixels takes a tenth of it."""


def _limit(seconds: int) -> None:
    try:
        import resource
    except ImportError:
        return  # Windows: only the time is limited there.
    # The caller ends this process in time, unless it has died itself.
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (MAX_BYTES, MAX_BYTES))


def main() -> None:
    """Serve one file, then end."""
    source, sink = sys.stdin.buffer, sys.stdout.buffer

    def say(**values: object) -> None:
        sink.write(json.dumps(values).encode() + b"\n")
        sink.flush()

    most_pages, seconds = map(int, sys.argv[1:3])
    sys.path[:0] = sys.argv[3:]
    _limit(seconds)
    try:
        import pypdfium2
        import pypdfium2.raw as pdfium
    except (ImportError, OSError) as error:
        say(error="import", detail=str(error)[:200])
        return
    data = source.read(int.from_bytes(source.read(8), "big"))
    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        locked = {pdfium.FPDF_ERR_PASSWORD, pdfium.FPDF_ERR_SECURITY}
        say(error="encrypted" if error.err_code in locked else "corrupt")
        return
    if document.get_formtype() == pdfium.FORMTYPE_XFA_FULL:
        say(error="dynamic_form")
        return
    document.init_forms()
    count = len(document)
    if count < 1:
        say(error="corrupt")
        return
    sizes = []
    # Of a file with too many pages, the number is enough.
    for index in range(count if count <= most_pages else 0):
        size = pdfium.FS_SIZEF()
        if not pdfium.FPDF_GetPageSizeByIndexF(document, index, size):
            say(error="corrupt")
            return
        sizes.append((size.width, size.height))
    say(count=count, sizes=sizes)

    order = json.loads(source.readline() or b"null")
    if order is None:
        return
    flags = pdfium.FPDF_ANNOT | pdfium.FPDF_REVERSE_BYTE_ORDER
    for index, (width, height) in enumerate(order["sizes"]):
        pixels = bytearray(bytes(order["background"]) * (width * height))
        buffer = (ctypes.c_ubyte * len(pixels)).from_buffer(pixels)
        bitmap = pdfium.FPDFBitmap_CreateEx(width, height, pdfium.FPDFBitmap_BGR, buffer, width * 3)
        try:
            page = document[index]
        except pypdfium2.PdfiumError:
            sink.write(b"\0")
            break
        area = (bitmap, page, 0, 0, width, height, 0, flags)
        pdfium.FPDF_RenderPageBitmap(*area)
        if document.formenv:
            pdfium.FPDF_FFLDraw(document.formenv, *area)
        pdfium.FPDFBitmap_Destroy(bitmap)
        page.close()
        sink.write(b"\1")
        sink.write(pixels)
    sink.flush()


if __name__ == "__main__":
    main()
    # PDFium's own clean-up can crash on a hostile file even after the pages have been sent.
    os._exit(0)
