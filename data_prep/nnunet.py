"""The nnU-Net and Medical Segmentation Decathlon layout: imagesTr/, labelsTr/ and a dataset.json in its two versions.

    version 1 (MSD)      "modality": {"0": "CT"}, "labels": {"0": "background", "1": "liver"}
    version 2 (nnU-Net)  "channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1}, "file_ending": ".nii.gz"

Every file of labelsTr is a scan. Its image is imagesTr/ID (the Decathlon: all channels in one four-dimensional
file) where that exists, else imagesTr/ID_0000, ID_0001, ... (a file per channel). imagesTs has no labels: never read.
Not read: regions (a label given as a list of values) and the `ignore` label, unless --label says what to make of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data_prep.layout import VOLUME_ENDINGS, Dataset, Scan, volumes_in
from pipeline.errors import InputError
from pipeline.io.json_file import read_json


def find(source: Path) -> Dataset:
    """Every labelled scan of `source`; InputError when the layout or its dataset.json is not as above."""
    missing = [name for name in ("dataset.json", "imagesTr", "labelsTr") if not (source / name).exists()]
    if missing:
        raise InputError(
            f"{source} has no {', '.join(missing)}, which the nnunet layout needs: is it the right folder?"
        )
    description = read_json(source / "dataset.json")
    channels = _channel_names(description, source)
    ending = description.get("file_ending", ".nii.gz")
    if ending not in VOLUME_ENDINGS:
        raise InputError(f"dataset.json has file_ending {ending}: prepare reads volumes ({', '.join(VOLUME_ENDINGS)})")
    labels = volumes_in(source / "labelsTr")
    if not labels:
        raise InputError(f"{source / 'labelsTr'} holds no volume ({', '.join(VOLUME_ENDINGS)})")
    images = source / "imagesTr"
    scans = tuple(Scan(id, _image_files(images, id, len(channels), ending), path) for id, path in labels.items())
    name = description.get("name") or source.resolve().name
    names = _label_names(description)
    undecided = "its dataset.json has regions, an `ignore` label or no labels" if names is None else None
    return Dataset(name=name, root=source, channels=channels, labels=names, scans=scans, undecided=undecided)


def _channel_names(description: dict[str, Any], source: Path) -> tuple[str, ...]:
    names = description.get("channel_names") or description.get("modality")
    if not isinstance(names, dict) or sorted(names) != sorted(str(index) for index in range(len(names))):
        raise InputError(f'{source / "dataset.json"} names no channels: add "channel_names": {{"0": "CT"}}')
    return tuple(str(names[str(index)]) for index in range(len(names)))


def _label_names(description: dict[str, Any]) -> dict[int, str] | None:
    """Value -> name; None where single values do not describe the labels, so that only --label can."""
    table = description.get("labels", {})
    try:
        if all(key.isdigit() for key in table):  # version 1
            names = {int(value): str(name) for value, name in table.items()}
        else:
            names = {int(value): str(name) for name, value in table.items()}
    except (AttributeError, TypeError, ValueError):  # no table; a region: its value is a list
        return None
    if any(name.lower() == "ignore" for name in names.values()):
        return None
    return {value: name for value, name in sorted(names.items()) if value != 0} or None


def _image_files(folder: Path, id: str, channels: int, ending: str) -> tuple[Path, ...]:
    single = folder / f"{id}{ending}"
    return (
        (single,) if single.exists() else tuple(folder / f"{id}_{channel:04d}{ending}" for channel in range(channels))
    )
