"""Reading any kind of input into canonical RGB pictures, or rejecting it with a reason."""

from guardalign_middleware.intake.load import load_base64, load_frames, load_image

__all__ = ["load_base64", "load_frames", "load_image"]
