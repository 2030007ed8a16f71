"""Plain folders of image and label pairs, in one of two forms.

    images/X.nii.gz       with labels/X.nii.gz or masks/X.nii.gz      equal stems in two folders
    X_ct.nii.gz           with X_label.nii.gz                         one folder; the image is X_ct, X_image or X,
                                                                      the label X_label, X_seg, X_mask, X_gt, ...
The images are taken as CT in Hounsfield units. Label values are kept unless --label merges and names them.
"""

from __future__ import annotations

import re
from pathlib import Path

from data_prep.layout import VOLUME_ENDINGS, Dataset, Scan, volumes_in
from pipeline.errors import InputError
from pipeline.io.case_ids import LABEL_ENDING

IMAGE_ENDING = re.compile(r"[_-](ct|image)$", re.IGNORECASE)


def find(source: Path) -> Dataset:
    """Every pair of `source`, and every image or label whose partner is missing; InputError when there is none."""
    scans = _two_folders(source) if (source / "images").is_dir() else _one_folder(source)
    if not scans:
        raise InputError(
            f"{source} holds no pairs of volumes ({', '.join(VOLUME_ENDINGS)}): give images/X with labels/X, "
            "or X_ct with X_label in one folder"
        )
    return Dataset(name=source.resolve().name, root=source, channels=("CT",), labels=None, scans=scans)


def _two_folders(source: Path) -> tuple[Scan, ...]:
    folders = [source / name for name in ("labels", "masks") if (source / name).is_dir()]
    if len(folders) != 1:
        found = "both labels/ and masks/" if folders else "neither labels/ nor masks/"
        raise InputError(f"{source} has images/ and {found}: exactly one of them must hold the labels")
    images, labels = volumes_in(source / "images"), volumes_in(folders[0])
    return tuple(
        Scan(id, (images.get(id, source / "images" / f"{id}.nii.gz"),), labels.get(id, folders[0] / f"{id}.nii.gz"))
        for id in sorted(images | labels)
    )


def _one_folder(source: Path) -> tuple[Scan, ...]:
    images: dict[str, Path] = {}
    labels: dict[str, Path] = {}
    for stem, path in volumes_in(source).items():
        pattern, table = (LABEL_ENDING, labels) if LABEL_ENDING.search(stem) else (IMAGE_ENDING, images)
        id = pattern.sub("", stem)
        if id in table:
            raise InputError(f"{source}: {table[id].name} and {path.name} both claim case {id}; move one away")
        table[id] = path
    return tuple(
        Scan(id, (images.get(id, source / f"{id}_image.nii.gz"),), labels.get(id, source / f"{id}_label.nii.gz"))
        for id in sorted(images | labels)
    )
