"""What a dataset of pictures tells the common work: where pictures and masks lie, and what its publisher divided.

Every dataset of pictures is read in two layouts: as its publisher ships it, and as a folder with index.csv, a row per
picture with the columns id, image, mask (paths relative to the folder) and whatever the dataset needs beside them.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from pipeline.errors import InputError

PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
INDEX = "index.csv"

GREY = ("grey",)
COLOUR = ("red", "green", "blue")

Part = Literal["train", "stop", "test"]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One picture and where its files are expected; whether they are there is checked when it is prepared."""

    id: str
    image: Path
    masks: tuple[Path, ...]
    """All that say what is labelled; the dataset's `read_label` knows how."""
    patient: str | None = None
    """None where the publisher does not tell: then the picture is its own patient."""
    category: str = ""
    """benign, malignant, ...; "" where there is none."""
    part: Part | None = None
    """Its place in the split of the publisher or the paper; None: in none."""
    subset: str = ""
    """What the publisher calls that place: testA, stage1_train, ..."""
    fold: int | None = None
    """Of published folds, from 0."""


@dataclass(frozen=True, kw_only=True)
class PictureSet:
    """All pictures of a source folder."""

    name: str
    root: Path
    """The folder that recorded file names are relative to."""
    channels: tuple[str, ...]
    """GREY or COLOUR: what every picture is turned into."""
    labels: dict[int, str]
    """Value -> name without the background; with `instances` the one name of them all."""
    read_label: Callable[[Picture], NDArray]
    """(rows, columns) of whole numbers: values of `labels`, or instance ids."""
    pictures: tuple[Picture, ...]
    protocol: str
    """Where the split comes from, in a sentence for dataset.json."""
    test_share: float = 0.2
    """Of the pictures, drawn where no picture has a part."""
    instances: bool = False
    grey_masks: bool = False
    """Masks may have levels between background and object: `--threshold` says where the object begins."""
    aside: tuple[str, ...] = ()
    """Categories that training and testing leave out unless they are asked for."""


def index_rows(source: Path, columns: Sequence[str] = ()) -> list[dict[str, str]] | None:
    """The rows of index.csv, which must have `columns` beside id, image and mask; None where there is no such file."""
    path = source / INDEX
    if not path.is_file():
        return None
    rows = read_rows(path, ("id", "image", "mask", *columns))
    twice = [id for id, count in Counter(row["id"].casefold() for row in rows).items() if count > 1]
    unsafe = [row["id"] for row in rows if not re.fullmatch(r"\w[\w .()-]*", row["id"])]
    outside = [row["id"] for row in rows for key in ("image", "mask") if not _lies_within(row[key])]
    for ids, rule in (
        (twice, "each id must stand once"),
        (unsafe, "an id names files: letters, digits, spaces and _.()- only"),
        (outside, "image and mask must be paths relative to the folder and inside it"),
    ):
        if ids:
            raise InputError(f"{path}: {ids[0]!r} and {len(ids) - 1} more: {rule}")
    return rows


def read_rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a publisher's CSV file, blanks around its cells removed; InputError where a column is missing."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = [[cell.strip() for cell in row] for row in csv.reader(file)]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a table ({error}): fetch it again") from error
    header, lines = (table[0], [line for line in table[1:] if line]) if table else ([], [])
    missing = [column for column in columns if column not in header]
    if missing or not lines:
        raise InputError(f"{path} has {'no column ' + ', '.join(missing) if missing else 'no rows'}: fetch it again")
    short = next((line for line in lines if len(line) < len(header)), None)
    if short is not None:
        raise InputError(f"{path}: the row {','.join(short)} is shorter than the header: fetch it again")
    return [dict(zip(header, line, strict=False)) for line in lines]


def from_row(source: Path, row: dict[str, str], **known: Any) -> Picture:
    """The picture of a row of index.csv; known: its further fields."""
    return Picture(id=row["id"], image=source / row["image"], masks=(source / row["mask"],), **known)


def folder_with(source: Path, *names: str) -> Path:
    """`source`, or the one folder in it, that holds the files or folders `names`, which may have wildcards.

    InputError when there is none: the layout is another one.
    """
    candidates = [source, *sorted(path for path in source.iterdir() if path.is_dir())]
    found = [folder for folder in candidates if all(any(folder.glob(name)) for name in names)]
    if not found:
        raise InputError(f"{source} holds neither {INDEX} nor {', '.join(names)}: is it the right folder?")
    return found[0]


def pictures_in(folder: Path, pattern: str = "(.+)", endings: Sequence[str] = PICTURE_ENDINGS) -> dict[str, Path]:
    """Id -> file for the pictures whose stem `pattern` matches (in any case), its first group being the id; sorted.

    endings: of the files that are taken, where images and masks lie in one folder.

    InputError when two files claim one id (x.png, x.jpg).
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        match = re.fullmatch(pattern, path.stem, re.IGNORECASE)
        if match is None or path.suffix.lower() not in endings or path.name.startswith("."):
            continue
        if match[1] in found:
            raise InputError(f"{folder}: {found[match[1]].name} and {path.name} are one picture twice; remove one")
        found[match[1]] = path
    return found


def paired(images: Path, masks: Path, mask_name: str = "{id}.png", **known: Any) -> tuple[Picture, ...]:
    """The pictures of two folders by id, and every image or mask whose partner is missing, at its expected place.

    mask_name: what the mask of a picture is called; known: further fields of all of them.
    """
    ending = re.escape(Path(mask_name).stem).replace(re.escape("{id}"), "(.+)")
    there, labelled = pictures_in(images), pictures_in(masks, ending)
    return tuple(
        Picture(
            id=id,
            image=there.get(id, images / f"{id}.jpg"),
            masks=(labelled.get(id, masks / mask_name.format(id=id)),),
            **known,
        )
        for id in sorted(there | labelled)
    )


def _lies_within(path: str) -> bool:
    return bool(path) and not Path(path).is_absolute() and ".." not in Path(path).parts
