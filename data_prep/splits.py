"""Which patient, fold and part each picture of a dataset belongs to: published ones as they are, others drawn.

Pictures that are equal pixel for pixel belong to one patient, so that what is drawn never parts them.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from data_prep.folds import Split, assign_folds, patient_of, shuffled
from data_prep.picture_layout import Part, Picture, PictureSet

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """Where a picture stands; part is None for one that is in no split."""

    patient: str
    fold: int
    part: Part | None


def places(dataset: PictureSet, pixels: Mapping[str, str], split: Split) -> dict[str, Place]:
    """Id -> place. pixels: id -> hash of the picture, for those that could be read.

    Those that could not are placed too, so that a repaired file changes nobody else's place. The pictures that are set
    aside are divided on their own: whether they are there changes nothing for the others. InputError: too many folds.
    """
    patients = joined(own_patients(dataset.pictures, split), pixels)
    _warn_of_twins(dataset.pictures, pixels)
    kept = [patients[p.id] for p in dataset.pictures if p.category not in dataset.aside]
    folds, tested = dict(assign_folds(kept, split)), drawn(kept, dataset.test_share, split.seed)
    aside = [patient for patient in patients.values() if patient not in folds]
    if aside:
        fewer = Split(folds=min(split.folds, len(set(aside))), seed=split.seed)
        folds |= assign_folds(aside, fewer)
        tested |= drawn(aside, dataset.test_share, split.seed)
    divided = any(picture.part for picture in dataset.pictures)
    return {
        picture.id: Place(
            patients[picture.id],
            folds[patients[picture.id]] if picture.fold is None else picture.fold,
            picture.part if divided else ("test" if patients[picture.id] in tested else "train"),
        )
        for picture in dataset.pictures
    }


def own_patients(pictures: Iterable[Picture], split: Split) -> dict[str, str]:
    """Id -> patient: as --patient finds it, else as the publisher tells, else the picture itself."""
    return {p.id: patient_of(p.id, split.patient) if split.patient else p.patient or p.id for p in pictures}


def joined(patients: Mapping[str, str], pixels: Mapping[str, str]) -> dict[str, str]:
    """The patients with those made one that share a picture; the one that sorts first lends its name."""
    name = {patient: patient for patient in patients.values()}
    for ids in _twins(pixels):
        one = {name[patients[id]] for id in ids}
        name = {patient: min(one) if now in one else now for patient, now in name.items()}
    return {id: name[patient] for id, patient in patients.items()}


def drawn(patients: Sequence[str], share: float, seed: int) -> set[str]:
    """Patients with `share` of the pictures (an entry each in `patients`), or just less where patients are whole."""
    count = Counter(patients)
    room = round(share * len(patients))
    chosen: set[str] = set()
    for patient in shuffled(count, seed):
        if count[patient] <= room:
            chosen.add(patient)
            room -= count[patient]
    return chosen


def _twins(pixels: Mapping[str, str]) -> list[list[str]]:
    by_hash: dict[str, list[str]] = defaultdict(list)
    for id in sorted(pixels):
        by_hash[pixels[id]].append(id)
    return [ids for ids in by_hash.values() if len(ids) > 1]


def _warn_of_twins(pictures: Iterable[Picture], pixels: Mapping[str, str]) -> None:
    part = {picture.id: picture.part for picture in pictures}
    for ids in _twins(pixels):
        logger.info("One picture under several names, kept on one side of what is drawn: %s", ", ".join(ids))
        if len({part[id] for id in ids}) > 1:
            logger.warning("The published split parts them, so that the test part is not unseen: %s", ", ".join(ids))
