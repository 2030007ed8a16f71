"""`evoseg prepare DATASET SOURCE -o OUT`: a dataset folder with dataset.json and provenance.json."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from pipeline.cli.logs import messages
from pipeline.errors import InputError


class Layout(StrEnum):
    """How the source folder is laid out; the names are the keys of data_prep.prepare.LAYOUTS."""

    KITS19 = "kits19"
    NNUNET = "nnunet"
    PAIRS = "pairs"
    BUSI = "busi"
    DSB2018 = "dsb2018"
    ECSSD = "ecssd"
    GLAS = "glas"
    HKU_IS = "hku_is"
    ISIC2018 = "isic2018"
    KVASIR_SEG = "kvasir_seg"
    MSRA10K = "msra10k"
    PASCAL_S = "pascal_s"
    STARE = "stare"
    WBC = "wbc"


def prepare(
    dataset: Annotated[
        Layout,
        typer.Argument(
            metavar="DATASET",
            help="kits19: case_NNNNN/imaging + segmentation. nnunet: imagesTr, labelsTr, dataset.json. "
            "pairs: images/X + labels/X, or X_ct + X_label in one folder. "
            "Pictures, as published or with index.csv: busi, dsb2018, ecssd, glas, hku_is, isic2018, kvasir_seg, "
            "msra10k, pascal_s, stare, wbc.",
        ),
    ],
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="The folder of the dataset; it is only read.")],
    out: Annotated[Path, typer.Option("--output", "-o", help="Folder to write; a second run completes it.")],
    *,
    window: Annotated[str, typer.Option(metavar="LOW,HIGH", help="Clip intensities (HU in CT).")] = "",
    size: Annotated[
        int | None, typer.Option(help="Pad slices to squares, resize to SIZE x SIZE; pictures are stretched.")
    ] = None,
    spacing: Annotated[str, typer.Option(metavar="X,Y,Z", help="Or resample to this voxel size in mm.")] = "",
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=V,...", help="Output label k is the k-th --label: --label kidney=1,2."),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Of masks with grey levels: above this share of the range is the object.")
    ] = None,
    folds: Annotated[int, typer.Option(help="Folds for cross-validation; a patient lies in one of them.")] = 3,
    seed: Annotated[int, typer.Option(help="Draws the folds, and the test part where none is published.")] = 0,
    patient: Annotated[
        str, typer.Option(metavar="REGEX", help="Finds the patient in a case's name; else all before _scan1, ses-02.")
    ] = "",
) -> None:
    """Turn a dataset into a training folder: one grid, merged labels, signed distances, patient-wise folds.

    Pictures and their labels become PNG, with a stored split into train and test beside the folds.

    Exit status: 0 all cases done, 1 some case was refused (the others are done), 2 nothing could be started.
    """
    from data_prep.folds import Split
    from data_prep.prepare import prepare as prepare_dataset
    from data_prep.recipe import Recipe

    recipe = Recipe(
        window=_pair(window), size=size, spacing_mm=_triple(spacing), labels=_labels(label or ()), threshold=threshold
    )
    split = Split(folds=folds, seed=seed, patient=_pattern(patient))
    console = Console(stderr=True)
    with messages(console):
        prepared = prepare_dataset(
            dataset.value,
            source,
            out,
            recipe=recipe,
            split=split,
            track=lambda cases: track(cases, description="preparing", console=console),
        )
    counts = f"{len(prepared.written)} written, {len(prepared.unchanged)} unchanged, {len(prepared.failed)} refused"
    typer.echo(f"{out / 'dataset.json'}: {counts}")
    if prepared.failed:
        raise typer.Exit(1)


def _pair(text: str) -> tuple[float, float] | None:
    if not text:
        return None
    low, high = _numbers("--window", text, 2)
    return low, high


def _triple(text: str) -> tuple[float, float, float] | None:
    if not text:
        return None
    x, y, z = _numbers("--spacing", text, 3)
    return x, y, z


def _numbers(flag: str, text: str, count: int) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count:
        raise InputError(f"{flag}={text}: give {count} numbers with commas between them and no spaces")
    return numbers


def _labels(texts: Sequence[str]) -> dict[str, tuple[int, ...]] | None:
    labels: dict[str, tuple[int, ...]] = {}
    for text in texts:
        match = re.fullmatch(r"(\w[^=]*)=(\d+(?:,\d+)*)", text)
        if match is None or match[1] in labels:
            raise InputError(f"--label {text}: give NAME=VALUES, each name once, as in --label kidney=1,2")
        labels[match[1]] = tuple(int(value) for value in match[2].split(","))
    return labels or None


def _pattern(text: str) -> re.Pattern[str] | None:
    try:
        return re.compile(text) if text else None
    except re.error as error:
        raise InputError(f"--patient {text}: not a regular expression ({error})") from error
