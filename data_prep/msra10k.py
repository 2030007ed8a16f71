"""MSRA10K, 10 000 photographs with one salient object (Cheng et al., Global Contrast Based Salient Region Detection,
IEEE TPAMI 37, 2015).

Official: MSRA10K_Imgs_GT/Imgs/74.jpg with 74.png, the mask, beside it.
"""

from __future__ import annotations

from pathlib import Path

from data_prep.picture_layout import COLOUR, Picture, PictureSet, folder_with, from_row, index_rows, pictures_in
from data_prep.picture_read import clear_cut


def find(source: Path) -> PictureSet:
    """Every picture of `source`, all to be trained on; InputError when it is laid out otherwise."""
    rows = index_rows(source)
    root = source if rows is not None else folder_with(source, "Imgs/*.jpg", "Imgs/*.png") / "Imgs"
    return PictureSet(
        name="MSRA10K",
        root=root,
        channels=COLOUR,
        labels={1: "salient object"},
        read_label=clear_cut,
        pictures=_official(root) if rows is None else tuple(from_row(source, row, part="train") for row in rows),
        grey_masks=True,
        protocol="a training set, as in the papers",
    )


def _official(folder: Path) -> tuple[Picture, ...]:
    """Every image or mask, whose partner may be missing at its expected place."""
    images, masks = pictures_in(folder, endings=(".jpg",)), pictures_in(folder, endings=(".png",))
    return tuple(
        Picture(id=id, image=folder / f"{id}.jpg", masks=(folder / f"{id}.png",), part="train")
        for id in sorted(images | masks)
    )
