"""PDF files: caps before anything is drawn, typed errors, and pages as a viewer shows them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from guardalign_middleware import bare_python
from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.encode import encode as encode_image
from guardalign_middleware.errors import GuardError, ImageRejected
from guardalign_middleware.intake import load_frames, load_image, pdf_process
from guardalign_middleware.intake.pdf import is_pdf, load_pdf, page_size
from guardalign_middleware.testing import open_png, picture
from guardalign_middleware.testing.pdf import (
    BLUE_PAGE,
    PAGES,
    RED_PAGE,
    drawn_pdf,
    encrypted_pdf,
    scanned_pdf,
    stream,
)
from tests.support.pictures import encode, gradient

QUARTERS = b"1 0 0 rg 0 50 50 50 re f 0 1 0 rg 50 50 50 50 re f"
"""On a page of 100 by 100: red at the upper left, green at the upper right."""
SQUARE = b"/MediaBox[0 0 100 100]"
RED, GREEN, BLUE, WHITE = [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]


def rejected(source: object, policy: IntakePolicy = PAGES) -> ImageRejected:
    with pytest.raises(ImageRejected) as caught:
        load_frames(source, policy)  # type: ignore[arg-type]
    assert caught.value.remedy
    return caught.value


def only_page(data: bytes, policy: IntakePolicy = PAGES) -> np.ndarray:
    (page,) = load_frames(data, policy)
    return page.pixels


@pytest.fixture
def drawn_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(*arguments: object) -> None:
        raise AssertionError("a page was drawn")

    monkeypatch.setattr(pdf_process.PdfProcess, "draw", draw)


class TestWhatIsDrawn:
    def test_every_page_in_order_with_its_number(self) -> None:
        pages = load_frames(drawn_pdf(BLUE_PAGE, RED_PAGE, BLUE_PAGE), PAGES)
        assert [page.source for page in pages] == [f"<bytes>#page{n}" for n in (1, 2, 3)]
        assert [np.array_equal(page.pixels, picture().pixels) for page in pages] == [1, 0, 1]
        assert np.array_equal(pages[1].pixels, picture(red=True).pixels)
        assert not pages[0].pixels.flags.writeable

    @pytest.mark.parametrize(
        ("turn", "corners"),
        [
            (0, [RED, GREEN, WHITE, WHITE]),
            (90, [WHITE, RED, WHITE, GREEN]),
            (180, [WHITE, WHITE, GREEN, RED]),
            (270, [GREEN, WHITE, RED, WHITE]),
        ],
    )
    def test_a_turned_page_is_upright(self, turn: int, corners: list[list[int]]) -> None:
        pixels = only_page(drawn_pdf(QUARTERS, page=SQUARE + b"/Rotate %d" % turn))
        spots = [(25, 25), (25, 75), (75, 25), (75, 75)]
        assert [pixels[spot].tolist() for spot in spots] == corners

    def test_what_is_transparent_shows_the_background(self) -> None:
        policy = PAGES.model_copy(update={"background": (0, 255, 0)})
        half = b"/Resources<</ExtGState<</G<</ca 0.5>>>>>>"
        pixels = only_page(drawn_pdf(b"/G gs 1 0 0 rg 0 0 100 50 re f", page=SQUARE + half), policy)
        assert pixels[10, 10].tolist() == GREEN
        assert np.abs(pixels[90, 10].astype(int) - [127, 127, 0]).max() <= 2

    @pytest.mark.parametrize("kind", ["/Stamp", "/Widget/FT/Btn/Ff 65536/T(a)"])
    def test_annotations_and_form_fields_are_drawn(self, kind: str) -> None:
        look = stream(b"1 0 0 rg 0 0 50 50 re f", b"/Type/XObject/Subtype/Form/BBox[0 0 50 50]")
        note = b"<</Type/Annot/Subtype%s/F 4/Rect[0 0 50 50]/AP<</N 3 0 R>>>>" % kind.encode()
        data = drawn_pdf(
            b"",
            page=SQUARE + b"/Annots[4 0 R]",
            catalog=b"/AcroForm<</Fields[4 0 R]>>" if b"Widget" in note else b"",
            objects=[look, note],
        )
        pixels = only_page(data)
        assert pixels[75, 25].tolist() == RED
        assert pixels[25, 75].tolist() == WHITE

    @pytest.mark.parametrize("state", ["ON", "OFF"])
    def test_layers_are_shown_as_by_default(self, state: str) -> None:
        layer = b"<</Type/OCG/Name(l)>>"
        catalog = b"/OCProperties<</OCGs[3 0 R]/D<</%s[3 0 R]>>>>" % state.encode()
        data = drawn_pdf(
            b"/OC /L BDC 1 0 0 rg 0 0 100 100 re f EMC",
            page=SQUARE + b"/Resources<</Properties<</L 3 0 R>>>>",
            catalog=catalog,
            objects=[layer],
        )
        assert only_page(data)[50, 50].tolist() == (RED if state == "ON" else WHITE)

    def test_only_what_the_crop_box_shows(self) -> None:
        data = drawn_pdf(QUARTERS, page=SQUARE + b"/CropBox[50 50 100 100]")
        pixels = only_page(data)
        assert pixels.shape == (50, 50, 3)
        assert (pixels == GREEN).all()

    def test_the_resolution_is_the_policys(self) -> None:
        data = drawn_pdf(BLUE_PAGE)
        for dpi, side in ((36, 32), (72, 64), (150, 133)):
            policy = IntakePolicy(pdf="pages", pdf_dpi=dpi)
            assert only_page(data, policy).shape == (side, side, 3)

    def test_scans_from_pillow(self) -> None:
        data = scanned_pdf()
        assert data.index(b"\xff\xd8\xff") % 3 == 0
        pages = load_frames(data, PAGES)
        assert len(pages) == 2
        for page, original in zip(pages, (picture(), picture(red=True)), strict=True):
            assert np.abs(page.pixels.astype(int) - original.pixels).mean() < 6

    def test_print_leaves_as_png_and_a_scan_as_jpeg(self) -> None:
        print_page = load_frames(drawn_pdf(RED_PAGE), PAGES)[0]
        encoded = encode_image(print_page)
        assert encoded.mime_type == "image/png"
        assert np.array_equal(open_png(encoded.data).pixels, print_page.pixels)
        noise = np.random.default_rng(1).integers(0, 256, (300, 200, 3), dtype=np.uint8)
        scan = load_frames(encode(Image.fromarray(noise), "PDF", quality=95), PAGES)[0]
        encoded = encode_image(scan)
        assert encoded.mime_type == "image/jpeg"
        assert len(encoded.data) < scan.width * scan.height

    def test_threads_get_their_own_pages(self) -> None:
        files = [drawn_pdf(*[BLUE_PAGE] * n, RED_PAGE) for n in range(4)] * 2
        with ThreadPoolExecutor(8) as pool:
            drawn = list(pool.map(lambda data: load_frames(data, PAGES), files))
            for data, pages in zip(files, drawn, strict=True):
                assert np.array_equal(pages[-1].pixels, picture(red=True).pixels)
                assert len(pages) == data.count(b"/Type/Page/")


class TestWhereAFileComesFrom:
    def test_a_path_names_the_pages(self, tmp_path: Path) -> None:
        path = tmp_path / "report.pdf"
        path.write_bytes(drawn_pdf(BLUE_PAGE, RED_PAGE))
        assert [p.source for p in load_frames(path, PAGES)] == [f"{path}#page1", f"{path}#page2"]

    @pytest.mark.parametrize("junk", [b"\n", b"x" * 1019])
    def test_a_header_may_lie_behind_other_bytes(self, junk: bytes) -> None:
        data = junk + drawn_pdf(BLUE_PAGE)
        assert is_pdf(data)
        assert rejected(data, IntakePolicy()).reason == "pdf_not_allowed"

    def test_further_behind_it_is_none(self) -> None:
        assert not is_pdf(b"x" * 1024 + drawn_pdf(BLUE_PAGE))

    def test_a_picture_that_holds_a_pdf_header_is_a_picture(self) -> None:
        data = encode(gradient(), "JPEG", comment=b"%PDF-1.7")
        assert is_pdf(data)
        for policy in (PAGES, IntakePolicy()):
            assert load_image(data, policy).width == 24

    def test_a_wrong_type_is_refused(self) -> None:
        url = "data:image/png;base64,JVBERi0xLjcK"
        assert rejected(url).reason == "bad_data_url"
        png = encode(gradient())
        assert load_frames(png, PAGES)
        with pytest.raises(ImageRejected) as caught:
            load_pdf(png, PAGES)
        assert caught.value.reason == "corrupt"

    def test_one_picture_is_one_page(self) -> None:
        assert load_image(drawn_pdf(RED_PAGE), PAGES).source == "<bytes>#page1"
        with pytest.raises(ImageRejected) as caught:
            load_image(drawn_pdf(RED_PAGE, BLUE_PAGE), PAGES)
        assert caught.value.reason == "multiple_frames"

    @pytest.mark.parametrize("setting", ["refuse", "notice"])
    def test_without_pages_no_process_is_started(
        self, setting: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(subprocess, "Popen", None)
        policy = IntakePolicy(pdf=setting)  # type: ignore[arg-type]
        error = rejected(drawn_pdf(RED_PAGE), policy)
        assert error.reason == "pdf_not_allowed"
        assert "guardalign-core[pdf]" in error.remedy


class TestRefusals:
    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"", "empty"),
            (drawn_pdf(), "corrupt"),
            (encrypted_pdf(), "encrypted"),
            (b"%PDF-1.7\n", "corrupt"),
            (b"%PDF-1.7\n" + bytes(1000), "corrupt"),
            (drawn_pdf(BLUE_PAGE)[:60], "corrupt"),
            (
                drawn_pdf(
                    BLUE_PAGE, catalog=b"/NeedsRendering true/AcroForm<</Fields[]/XFA[(a) 3 0 R]>>"
                ),
                "dynamic_form",
            ),
        ],
        ids=["no bytes", "no pages", "encrypted", "header", "zeros", "cut off", "dynamic form"],
    )
    def test_a_file_that_cannot_be_drawn(self, data: bytes, reason: str) -> None:
        assert rejected(data).reason == reason

    def test_a_static_form_is_drawn(self) -> None:
        data = drawn_pdf(RED_PAGE, catalog=b"/AcroForm<</Fields[]/XFA[(a) 3 0 R]>>")
        assert np.array_equal(only_page(data), picture(red=True).pixels)

    def test_a_page_that_is_missing_fails_the_whole_file(self) -> None:
        data = drawn_pdf(BLUE_PAGE, BLUE_PAGE).replace(b"/Kids[3 0 R 5 0 R]", b"/Kids[3 0 R 9 0 R]")
        assert rejected(data).reason == "corrupt"

    @pytest.mark.usefixtures("drawn_nothing")
    @pytest.mark.parametrize(
        ("data", "changes", "reason", "remedy"),
        [
            (drawn_pdf(*[BLUE_PAGE] * 3), {"max_pdf_pages": 2}, "too_many_pages", "max_pdf_pages"),
            (drawn_pdf(BLUE_PAGE, count=1_000_000), {}, "too_many_pages", "max_pdf_pages"),
            (drawn_pdf(BLUE_PAGE), {"max_pixels": 64 * 64 - 1}, "too_many_pixels", "max_pixels"),
            (
                drawn_pdf(BLUE_PAGE, BLUE_PAGE),
                {"max_total_pixels": 2 * 64 * 64 - 1},
                "too_many_pixels",
                "max_total_pixels",
            ),
            (
                drawn_pdf(BLUE_PAGE, page=b"/MediaBox[0 0 5 1000]"),
                {},
                "extreme_aspect",
                "max_aspect",
            ),
            (drawn_pdf(BLUE_PAGE), {"max_bytes": 100}, "too_many_bytes", "max_bytes"),
        ],
        ids=["pages", "a million", "one page", "all pages", "narrow", "bytes"],
    )
    def test_a_cap_is_checked_before_a_page_is_drawn(
        self, data: bytes, changes: dict[str, int], reason: str, remedy: str
    ) -> None:
        error = rejected(data, PAGES.model_copy(update=changes))
        assert error.reason == reason
        assert f"intake.{remedy}" in error.remedy

    def test_exactly_as_many_as_allowed_are_drawn(self) -> None:
        caps = {"max_pdf_pages": 2, "max_pixels": 64 * 64, "max_total_pixels": 2 * 64 * 64}
        policy = PAGES.model_copy(update=caps)
        assert len(load_frames(drawn_pdf(BLUE_PAGE, BLUE_PAGE), policy)) == 2

    def test_a_million_pages_by_reference(self) -> None:
        data = drawn_pdf(BLUE_PAGE, count=10**9)
        many = data.replace(b"/Kids[3 0 R]", b"/Kids[" + b"3 0 R " * 200_000 + b"]")
        assert rejected(many).reason in {"too_many_pages", "corrupt"}

    @pytest.mark.parametrize("box", [b"0 0 14400 14400", b"0 0 1000000000 999999999"])
    def test_a_huge_page_is_drawn_small(self, box: bytes) -> None:
        data = drawn_pdf(b"1 0 0 rg 0 0 9999999 9999999 re f", page=b"/MediaBox[%s]" % box)
        policy = PAGES.model_copy(update={"max_pdf_side": 100})
        tracemalloc.start()
        try:
            pixels = only_page(data, policy)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert pixels.shape == (100, 100, 3)
        assert peak < 10_000_000

    @pytest.mark.parametrize(
        "size", [(0, 5), (5, -1), (float("nan"), 5), (float("inf"), float("inf"))]
    )
    def test_a_page_without_a_size(self, size: tuple[float, float]) -> None:
        with pytest.raises(ImageRejected) as caught:
            page_size(*size, PAGES)
        assert caught.value.reason == "corrupt"

    @given(
        width=st.floats(1e-3, 1e9),
        height=st.floats(1e-3, 1e9),
        dpi=st.integers(36, 600),
        side=st.integers(1, 5000),
    )
    def test_no_page_size_passes_a_cap(
        self, width: float, height: float, dpi: int, side: int
    ) -> None:
        policy = IntakePolicy(pdf="pages", pdf_dpi=dpi, max_pdf_side=side)
        x, y = 1, 1
        with suppress(ImageRejected):
            x, y = page_size(width, height, policy)
        assert 1 <= min(x, y)
        assert max(x, y) <= side
        assert x * y <= policy.max_pixels


class TestHostileFiles:
    def test_one_that_draws_for_years_is_ended(self) -> None:
        """2 KB: each form draws the next one ten times, twenty levels deep."""
        form = b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</F %d 0 R>>>>"
        forms = [stream(b"/F Do " * 10, form % (number + 1)) for number in range(3, 23)]
        forms.append(stream(b"0 0 1 1 re f", b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]"))
        page = b"/MediaBox[0 0 64 64]/Resources<</XObject<</F 3 0 R>>>>"
        data = drawn_pdf(b"/F Do", page=page, objects=forms)
        before = set(threading.enumerate())
        error = rejected(data, PAGES.model_copy(update={"max_pdf_seconds": 1.0}))
        assert error.reason == "too_complex"
        assert "max_pdf_seconds" in error.remedy
        # The slot is free again.
        assert len(load_frames(drawn_pdf(BLUE_PAGE), PAGES)) == 1
        for thread in set(threading.enumerate()) - before:
            thread.join(60)
            assert not thread.is_alive()

    def test_one_that_ends_the_process_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        script = "import sys; sys.stdin.buffer.read(8); sys.exit(139)"
        _start(monkeypatch, "-c", script)
        assert rejected(drawn_pdf(BLUE_PAGE)).reason == "too_complex"

    def test_one_that_ends_it_while_drawing_is_refused(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        said = '{"count": 1, "sizes": [[64, 64]]}'
        _start(monkeypatch, "-c", f"print('{said}\\n\\1half')")
        assert rejected(drawn_pdf(BLUE_PAGE)).reason in {"too_complex", "corrupt"}

    @settings(max_examples=40, deadline=None)
    @given(cuts=st.lists(st.tuples(st.integers(0, 3000), st.binary(max_size=3)), max_size=6))
    def test_a_damaged_file_is_drawn_or_refused(self, cuts: list[tuple[int, bytes]]) -> None:
        data = bytearray(_SEED)
        for place, new in cuts:
            data[place % len(data) : place % len(data) + len(new)] = new or b""
            if not new:
                del data[place % len(data) or 9 :]
        with suppress(ImageRejected):
            pages = load_pdf(bytes(data), PAGES)
            assert 1 <= len(pages) <= PAGES.max_pdf_pages


class TestTheProcess:
    def test_a_missing_library_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bare_python, "find_spec", lambda name: None)
        error = rejected(drawn_pdf(BLUE_PAGE))
        assert error.reason == "format_not_installed"
        assert "pip install 'guardalign-core[pdf]'" in error.remedy

    def test_a_library_that_does_not_load_is_named(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        for name in ("pypdfium2", "pypdfium2_raw"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "__init__.py").write_text("raise ImportError('wrong platform')")
        path = {name: tmp_path / name / "__init__.py" for name in ("pypdfium2", "pypdfium2_raw")}
        monkeypatch.setattr(
            bare_python,
            "find_spec",
            lambda name: importlib.util.spec_from_file_location(name, path[name]),
        )
        error = rejected(drawn_pdf(BLUE_PAGE))
        assert error.reason == "format_not_installed"
        assert "wrong platform" in error.message

    @pytest.mark.parametrize("program", ["", "/nonexistent/python"])
    def test_no_python_is_a_fault_and_no_refusal(
        self, program: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "executable", program)
        with pytest.raises(GuardError) as caught:
            load_frames(drawn_pdf(BLUE_PAGE), PAGES)
        assert caught.value.stage == "pdf"

    def test_it_gets_no_secrets(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", "secret")
        given: list[dict[str, str]] = []
        real = subprocess.Popen

        def start(*arguments: object, **options: object) -> object:
            given.append(options["env"])  # type: ignore[arg-type]
            return real(*arguments, **options)  # type: ignore[call-overload]

        monkeypatch.setattr(subprocess, "Popen", start)
        only_page(drawn_pdf(BLUE_PAGE))
        assert len(given) == 1
        assert not {key for key in given[0] if "KEY" in key or key == "HOME"}

    def test_this_process_never_loads_pdfium(self) -> None:
        script = (
            "import sys\nfrom guardalign_middleware.config import IntakePolicy\n"
            "from guardalign_middleware.intake import load_frames\n"
            f"load_frames({drawn_pdf(BLUE_PAGE)!r}, IntakePolicy(pdf='pages'))\n"
            "assert not [name for name in sys.modules if 'pdfium' in name]"
        )
        subprocess.run([sys.executable, "-c", script], check=True)


def _start(monkeypatch: pytest.MonkeyPatch, *command: str) -> None:
    """Replace the process by another one."""
    real = subprocess.Popen

    def start(_: object, **options: object) -> object:
        return real([sys.executable, *command], **options)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "Popen", start)


def _seed() -> bytes:
    more = [Image.new("L", (9, 9))]
    return encode(Image.new("RGB", (20, 20), "red"), "PDF", save_all=True, append_images=more)


_SEED = _seed()
