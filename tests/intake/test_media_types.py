"""What a declared type says that a file is."""

import pytest

from guardalign_middleware.intake.media_types import media_kind


@pytest.mark.parametrize(
    ("declared", "name", "kind"),
    [
        ("image/png", None, "image"),
        ("IMAGE/JPEG; q=1", None, "image"),
        ("jpeg", None, "image"),
        ("application/pdf", "photo.png", "pdf"),
        ("audio/wav", None, "audio"),
        ("video/mp4", None, "video"),
        ("text/csv", None, "text"),
        ("application/vnd.api+json", None, "text"),
        ("image/svg+xml", None, "text"),
        ("application/zip", "notes.txt", "file"),
        ("application/octet-stream", "a.pdf", "pdf"),
        ("", "https://example.com/a.mp3", "audio"),
        (None, "scan.TIFF", "image"),
        (None, "no-suffix", "file"),
        (None, None, "file"),
        (3, ["x"], "file"),
    ],
)
def test_the_declared_type_decides_and_then_the_name(
    declared: object, name: object, kind: str
) -> None:
    assert media_kind(declared, name) == kind
