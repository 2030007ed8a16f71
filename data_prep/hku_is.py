"""HKU-IS, photographs with one salient object or several (Li and Yu, Visual Saliency Based on Multiscale Deep
Features, CVPR 2015).

Official: HKU-IS/imgs/0004.png with gt/0004.png.
"""

from __future__ import annotations

from pathlib import Path

from data_prep.picture_layout import COLOUR, PictureSet, folder_with, from_row, index_rows, paired
from data_prep.picture_read import clear_cut


def find(source: Path) -> PictureSet:
    """Every picture of `source`, all to be tested on; InputError when it is laid out otherwise."""
    rows = index_rows(source)
    root = source if rows is not None else folder_with(source, "imgs", "gt")
    return PictureSet(
        name="HKU-IS",
        root=root,
        channels=COLOUR,
        labels={1: "salient object"},
        read_label=clear_cut,
        pictures=paired(root / "imgs", root / "gt", part="test")
        if rows is None
        else tuple(from_row(source, row, part="test") for row in rows),
        grey_masks=True,
        protocol="a test set, as in the papers",
    )
