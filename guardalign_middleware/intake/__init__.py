"""From whatever a caller holds to one canonical RGB picture, or a typed `ImageRejected`."""

from guardalign_middleware.intake.load import load_base64, load_image

__all__ = ["load_base64", "load_image"]
