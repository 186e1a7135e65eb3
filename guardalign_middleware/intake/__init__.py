"""From whatever a caller holds to canonical RGB pictures, or a typed `ImageRejected`."""

from guardalign_middleware.intake.load import load_base64, load_frames, load_image

__all__ = ["load_base64", "load_frames", "load_image"]
