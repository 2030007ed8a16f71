"""From a source folder to a dataset folder: the work that all layouts share.

    OUT/images/ID.nii.gz      what was done to each scan: data_prep/recipe.py
    OUT/labels/ID.nii.gz
    OUT/distances/ID.nii.gz
    OUT/dataset.json          labels, settings, folds, one entry per case
    OUT/provenance.json       where each case came from, which case was refused and why
The source is only read. A second run does nothing for cases whose source files and arguments are the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data_prep import kits19, nnunet, pairs
from data_prep.folds import Split, assign_folds, patient_of
from data_prep.layout import Dataset, Scan
from data_prep.provenance import Provenance, fingerprints
from data_prep.read import read_scan, require_files
from data_prep.recipe import Recipe, apply
from data_prep.write import facts, write_dataset, write_example
from pipeline.errors import CaseError, InputError

logger = logging.getLogger(__name__)

LAYOUTS: dict[str, Callable[[Path], Dataset]] = {"kits19": kits19.find, "nnunet": nnunet.find, "pairs": pairs.find}


@dataclass(frozen=True)
class Prepared:
    """What became of each case, by id: written now, unchanged since an earlier run, or refused."""

    written: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    failed: dict[str, CaseError] = field(default_factory=dict)


def prepare(
    layout: str,
    source: Path,
    out: Path,
    *,
    recipe: Recipe,
    split: Split,
    track: Callable[[Sequence[Scan]], Iterable[Scan]] = iter,
) -> Prepared:
    """Prepare every scan of `source` into `out`; one bad case is recorded and the others go on.

    layout: a key of LAYOUTS. track: wraps the scans to show progress.
    InputError when nothing can start: no such source, an `out` inside it, no scan in it, fewer patients than folds.
    """
    _require_apart(source, out)
    dataset = LAYOUTS[layout](source)
    if dataset.undecided is not None and recipe.labels is None:
        raise InputError(f"{source}: {dataset.undecided}; say by --label NAME=VALUES which values are which label")
    patients = {scan.id: patient_of(scan.id, split.patient) for scan in dataset.scans}
    folds = assign_folds(patients.values(), split)
    arguments = {"layout": layout, "channels": list(dataset.channels), **recipe.as_json()}
    provenance = Provenance(out, source.resolve().name, arguments, split.as_json())
    provenance.forget_all_but(set(patients))
    prepared = Prepared()
    for scan in track(dataset.scans):
        try:
            changed = _prepare_scan(dataset, scan, recipe, provenance)
        except CaseError as error:
            logger.info("%s: %s: %s", scan.id, error.code, error.message)
            # without the paths of this machine: the record goes where the dataset goes
            provenance.fail(scan.id, error.code, error.message.replace(f"{dataset.root}/", ""))
            prepared.failed[scan.id] = error
        else:
            (prepared.written if changed else prepared.unchanged).append(scan.id)
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
    sources = fingerprints(dataset, scan)
    if provenance.is_current(scan.id, sources):
        return False
    image, label = read_scan(scan, len(dataset.channels))
    example = apply(recipe, image, label, is_ct=dataset.channels == ("CT",), known=dataset.labels)
    write_example(example, provenance.out, scan.id)
    provenance.record(scan.id, sources, facts(example))
    return True
