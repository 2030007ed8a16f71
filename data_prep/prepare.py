"""From a source folder to a dataset folder, for every layout.

    OUT/images/ID.nii.gz      what was done to each scan: data_prep/recipe.py
    OUT/labels/ID.nii.gz
    OUT/distances/ID.nii.gz
    OUT/dataset.json          labels, settings, folds, one entry per case
    OUT/provenance.json       where each case came from, which case was refused and why
Datasets of pictures: data_prep/prepare_pictures.py.
The source is only read. A second run does nothing for cases whose source files and arguments are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from data_prep import (
    busi,
    dsb2018,
    ecssd,
    glas,
    hku_is,
    isic2018,
    kits19,
    kvasir_seg,
    msra10k,
    nnunet,
    pairs,
    pascal_s,
    stare,
    wbc,
)
from data_prep.folds import Split, assign_folds, patient_of
from data_prep.layout import Dataset, Scan
from data_prep.picture_layout import PictureSet
from data_prep.prepare_pictures import prepare_pictures
from data_prep.provenance import Provenance, fingerprints
from data_prep.read import read_scan, require_files
from data_prep.recipe import Recipe, apply
from data_prep.work import Prepared, Track, work_through
from data_prep.write import ENDING, KINDS, facts, write_dataset, write_example
from pipeline.errors import InputError

LAYOUTS: dict[str, Callable[[Path], Dataset | PictureSet]] = {
    "kits19": kits19.find,
    "nnunet": nnunet.find,
    "pairs": pairs.find,
    "busi": busi.find,
    "dsb2018": dsb2018.find,
    "ecssd": ecssd.find,
    "glas": glas.find,
    "hku_is": hku_is.find,
    "isic2018": isic2018.find,
    "kvasir_seg": kvasir_seg.find,
    "msra10k": msra10k.find,
    "pascal_s": pascal_s.find,
    "stare": stare.find,
    "wbc": wbc.find,
}


def prepare(layout: str, source: Path, out: Path, *, recipe: Recipe, split: Split, track: Track = iter) -> Prepared:
    """Prepare every case of `source` into `out`; one bad case is recorded and the others go on.

    layout: a key of LAYOUTS. track: wraps the cases to show progress.
    InputError when nothing can start: no such source, an `out` inside it, no case in it, fewer patients than folds.
    """
    _require_apart(source, out)
    dataset = LAYOUTS[layout](source)
    if isinstance(dataset, PictureSet):
        return prepare_pictures(layout, dataset, out, source=source, recipe=recipe, split=split, track=track)
    return _prepare_volumes(layout, dataset, out, source=source, recipe=recipe, split=split, track=track)


def _prepare_volumes(
    layout: str, dataset: Dataset, out: Path, *, source: Path, recipe: Recipe, split: Split, track: Track
) -> Prepared:
    if recipe.threshold is not None:
        raise InputError("--threshold is for pictures whose masks have grey levels: leave it out")
    if dataset.undecided is not None and recipe.labels is None:
        raise InputError(f"{source}: {dataset.undecided}; say by --label NAME=VALUES which values are which label")
    patients = {scan.id: patient_of(scan.id, split.patient) for scan in dataset.scans}
    folds = assign_folds(patients.values(), split)
    arguments = {"layout": layout, "channels": list(dataset.channels), **recipe.as_json()}
    provenance = Provenance(out, source.resolve().name, arguments, split.as_json(), kinds=KINDS, ending=ENDING)
    provenance.forget_all_but(set(patients))
    prepared = work_through(
        dataset.scans,
        lambda scan: _prepare_scan(dataset, scan, recipe, provenance),
        provenance=provenance,
        root=dataset.root,
        track=track,
    )
    assignment = {id: (patient, folds[patient]) for id, patient in patients.items()}
    write_dataset(out, dataset, recipe=recipe, split=split, cases=provenance.cases, assignment=assignment)
    return prepared


def _require_apart(source: Path, out: Path) -> None:
    if not source.is_dir():
        raise InputError(f"{source} is not a folder: SOURCE is the folder that holds the dataset")
    if out.resolve().is_relative_to(source.resolve()):
        raise InputError(f"OUT {out} lies inside SOURCE {source}, which is never written to: name a folder elsewhere")


def _prepare_scan(dataset: Dataset, scan: Scan, recipe: Recipe, provenance: Provenance) -> bool:
    """Write the three files of a scan; False when they are there already, made from the same source files."""
    require_files(scan)
    sources = fingerprints(dataset.root, (*scan.images, scan.label))
    if provenance.is_current(scan.id, sources):
        return False
    image, label = read_scan(scan, len(dataset.channels))
    example = apply(recipe, image, label, is_ct=dataset.channels == ("CT",), known=dataset.labels)
    write_example(example, provenance.out, scan.id)
    provenance.record(scan.id, sources, facts(example))
    return True
