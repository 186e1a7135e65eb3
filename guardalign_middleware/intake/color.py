"""Converting decoded PIL pictures to upright, opaque, 8-bit sRGB pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from io import BytesIO

import numpy as np
from PIL import ExifTags, Image, ImageCms, TiffImagePlugin

from guardalign_middleware.canonical import Pixels
from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ImageRejected

_TURNED: Mapping[int, Callable[[Pixels], Pixels]] = {
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright.swapaxes(0, 1)[::-1, ::-1],
    8: lambda upright: np.rot90(upright, -1),
}
"""Views of an upright picture as its file stores it, by the EXIF orientation."""
_LYING = 5
# A large picture is converted in bands, so that no step makes another copy of all of it.
_BAND_PIXELS = 4_000_000
_DEEP_GREY = {"I;16", "I;16L", "I;16B", "I;16N"}
_WITH_ALPHA = {"RGBA", "LA", "PA", "RGBa", "La"}
_PLAIN = {"1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr"}
_PROFILE_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}


def to_srgb_pixels(picture: Image.Image, policy: IntakePolicy, source: str) -> Pixels:
    """Turn a picture upright, convert it to sRGB and composite it on `policy.background`.

    Deep grey is scaled by 255/65535 (255/4095 for a 12-bit TIFF) and rounded. Float and 32-bit
    integer pixels declare no white level and are rejected. An unreadable EXIF block or colour
    profile is ignored, as in image viewers; detector and model still receive the same pixels.

    Args:
        picture: a loaded picture of any mode, never modified.
        policy: defines the background.
        source: label for messages.

    Returns:
        uint8 `[H, W, 3]`.

    Raises:
        ImageRejected: `unsupported_mode`.
    """
    profile = picture.info.get("icc_profile")
    orientation = _orientation(picture)
    white = _white(picture)
    width, height = picture.size

    def pixels_of(band: Image.Image) -> Pixels:
        colours, alpha = _split(band, white, source)
        rgb = _to_srgb(colours, profile)
        if alpha is not None:
            backdrop = Image.new("RGB", rgb.size, policy.background)
            rgb = Image.composite(rgb, backdrop, alpha)
        return np.asarray(rgb, dtype=np.uint8)

    if orientation not in _TURNED and width * height <= _BAND_PIXELS:
        # The array of a whole picture is a copy of Pillow's already.
        upright = pixels_of(picture)
    else:
        shape = (width, height) if orientation >= _LYING else (height, width)
        upright = np.empty((*shape, 3), dtype=np.uint8)
        stored = _TURNED[orientation](upright) if orientation in _TURNED else upright
        for top, band in _bands(picture):
            stored[top : top + band.height] = pixels_of(band)
    upright.flags.writeable = False
    return upright


def _bands(picture: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Parts of the picture from top to bottom, each with its first row."""
    width, height = picture.size
    rows = max(1, _BAND_PIXELS // width)
    if rows >= height:
        yield 0, picture
        return
    for top in range(0, height, rows):
        yield top, picture.crop((0, top, width, min(top + rows, height)))


def _orientation(picture: Image.Image) -> int:
    try:
        value = picture.getexif().get(ExifTags.Base.Orientation, 1)
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, OverflowError):
        return 1
    return value if isinstance(value, int) and value in _TURNED else 1


def _split(picture: Image.Image, white: int, source: str) -> tuple[Image.Image, Image.Image | None]:
    """The colours in a mode that colour profiles support, and the opacity if there is any."""
    mode = picture.mode
    if mode in _DEEP_GREY:
        return _split_deep_grey(picture, white)
    if mode not in _PLAIN | _WITH_ALPHA:
        raise ImageRejected(
            f"{source} has pixels of mode {mode!r}.",
            reason="unsupported_mode",
            source=source,
            remedy="Convert the image to 8-bit RGB first.",
        )
    if picture.has_transparency_data or mode in {"RGBa", "La"}:
        # Pillow undoes premultiplied alpha only when converting to RGBA or LA, hence two steps.
        straight = picture.convert("LA") if mode == "La" else picture
        opaque = straight.convert("RGBA")
        # Grey stays grey, so that its profile still applies.
        colours = "L" if mode in {"1", "L", "LA", "La"} else "RGB"
        return opaque.convert(colours), opaque.getchannel("A")
    if mode in {"RGB", "L", "CMYK"}:
        return picture, None
    return picture.convert("L" if mode == "1" else "RGB"), None


def _split_deep_grey(picture: Image.Image, white: int) -> tuple[Image.Image, Image.Image | None]:
    values = np.asarray(picture).astype(np.uint32)
    scaled = (np.minimum(values, white) * 255 + white // 2) // white
    grey = Image.fromarray(scaled.astype(np.uint8))
    transparent = picture.info.get("transparency")
    if not isinstance(transparent, int):
        return grey, None
    return grey, Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8))


def _white(picture: Image.Image) -> int:
    """The white level; Pillow does not scale the 12-bit levels of a TIFF."""
    tags = picture.tag_v2 if isinstance(picture, TiffImagePlugin.TiffImageFile) else {}
    return 4095 if tags.get(TiffImagePlugin.BITSPERSAMPLE) == (12,) else 65535


def _to_srgb(picture: Image.Image, profile: object) -> Image.Image:
    if isinstance(profile, bytes) and profile:
        converted = _apply_profile(picture, profile)
        if converted is not None:
            return converted
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _apply_profile(picture: Image.Image, profile: bytes) -> Image.Image | None:
    """The picture in sRGB; None if the profile is unreadable or for another colour space."""
    try:
        source_profile = ImageCms.ImageCmsProfile(BytesIO(profile))
        mode = _PROFILE_MODES.get(source_profile.profile.xcolor_space.strip())
        # A grey picture may have a profile for RGB. The reverse would take its colours away.
        if mode != picture.mode and (mode, picture.mode) != ("RGB", "L"):
            return None
        return ImageCms.profileToProfile(
            picture.convert(mode),
            source_profile,
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.PERCEPTUAL,
            outputMode="RGB",
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
