"""The files that users send most often and that a guard refuses."""

from __future__ import annotations

from guardalign_middleware.testing.photos import file_of
from guardalign_middleware.testing.pictures import all_red, picture, png


def refused_files() -> dict[str, tuple[bytes, str]]:
    """Each file and the MIME type that its sender states, by what is wrong with it."""
    first, second = picture().to_pil(), all_red().to_pil()
    animation = file_of(first, "GIF", save_all=True, append_images=[second])
    return {
        "animated GIF": (animation, "image/gif"),
        "broken upload": (png(picture())[:-40], "image/png"),
        "JPEG called PNG": (file_of(first, "JPEG"), "image/png"),
        "PDF": (file_of(first, "PDF"), "application/pdf"),
    }
