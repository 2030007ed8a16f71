"""Pictures inside a page: small enough that a page of thousands still opens, sharp enough to see a wrong contour."""

from __future__ import annotations

import base64
import io
import logging
from pathlib import Path
from typing import NamedTuple

from PIL import Image

logger = logging.getLogger(__name__)

PAGE_BYTES = 24_000_000  # of all pictures of a page; in base64 they take a third more
PICTURE_BYTES = 40_000  # of one, however few there are
WIDTHS = (1080, 720, 540, 400, 280, 200)
QUALITY, METHOD = 60, 2  # of WebP: lines of one pixel survive at little more than half the bytes of a JPEG
ROOM = 0.5  # of the allowance: the next greater of WIDTHS takes up to twice the bytes


class Thumbnail(NamedTuple):
    """A picture as a data URI, with its size in pixels."""

    uri: str
    width: int
    height: int


class Thumbnails:
    """Makes the pictures of one page, `count` at most, one after another."""

    def __init__(self, count: int) -> None:
        self.allowance = min(PICTURE_BYTES, PAGE_BYTES // max(count, 1))
        self._step = 0  # where in WIDTHS to begin: pictures of one batch are alike, and each try costs time

    def __call__(self, path: Path) -> Thumbnail | None:
        """The picture in `path` at one of WIDTHS that the allowance has room for; the least of them is taken anyway.

        None where there is no such file or it is broken.
        """
        try:
            with Image.open(path) as opened:
                picture = opened.convert("RGB")
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # what Pillow raises
            logger.debug("%s is left out of the report: %r", path, error)
            return None
        shown, encoded = _encoded(picture, WIDTHS[self._step])
        while len(encoded) > self.allowance and self._step < len(WIDTHS) - 1:
            self._step += 1
            shown, encoded = _encoded(picture, WIDTHS[self._step])
        if len(encoded) < ROOM * self.allowance and self._step:
            self._step -= 1  # for the next one
        return Thumbnail(f"data:image/webp;base64,{base64.b64encode(encoded).decode()}", *shown.size)


def _encoded(picture: Image.Image, width: int) -> tuple[Image.Image, bytes]:
    """No side is longer than `width`."""
    shown = picture.copy()
    shown.thumbnail((width, width), Image.Resampling.HAMMING)
    file = io.BytesIO()
    shown.save(file, "WEBP", quality=QUALITY, method=METHOD)
    return shown, file.getvalue()
