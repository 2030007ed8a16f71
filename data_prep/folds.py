"""Folds for cross-validation: all scans of a patient lie in one fold; the same names give the same folds anywhere."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.errors import InputError

# What names a further scan of the same patient: sub-01_ses-02, patient001_frame12, x_scan2. A bare number is not one,
# since in most datasets (la_003, case_00012) it names the patient.
REPEATED_SCAN = re.compile(r"[_-](ses|session|visit|scan|series|study|exam|frame|timepoint|tp|time|t)[_-]?\d+.*$", re.I)


@dataclass(frozen=True, kw_only=True)
class Split:
    """How patients are divided: into `folds`, drawn by `seed`; `patient` finds the patient in a case's id."""

    folds: int = 3
    seed: int = 0
    patient: re.Pattern[str] | None = None

    def as_json(self) -> dict[str, Any]:
        return {"folds": self.folds, "seed": self.seed, "patient": self.patient.pattern if self.patient else None}


def patient_of(id: str, pattern: re.Pattern[str] | None = None) -> str:
    """The patient of the scan `id`.

    With a pattern: its first group, else its whole match, at the start of the id; InputError when it does not match.
    Without: the id up to a REPEATED_SCAN suffix; most often the whole id.
    """
    if pattern is None:
        return REPEATED_SCAN.sub("", id) or id
    match = pattern.match(id)
    if match is None:
        raise InputError(f"--patient {pattern.pattern!r} does not match the case {id}: the pattern must fit every case")
    return match.group(1) if pattern.groups else match.group(0)


def assign_folds(patients: Iterable[str], split: Split) -> Mapping[str, int]:
    """Patient -> fold in 0 .. folds - 1, balanced by the number of scans; `patients` holds one entry per scan.

    Patients with more scans come first, equal ones in the order of a hash of seed and name (so that the order does not
    depend on the platform or on a library's generator); each goes to the fold that has the fewest scans so far.
    """
    scans = Counter(patients)
    if not 1 <= split.folds <= len(scans):
        raise InputError(f"--folds {split.folds} must lie between 1 and {len(scans)}, the number of patients")
    order = sorted(shuffled(scans, split.seed), key=lambda patient: -scans[patient])
    load = [0] * split.folds
    assigned: dict[str, int] = {}
    for patient in order:
        assigned[patient] = load.index(min(load))
        load[assigned[patient]] += scans[patient]
    return assigned


def shuffled(names: Iterable[str], seed: int) -> list[str]:
    """The names in an order that seed and names alone decide: that of a hash, the same on any platform."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).hexdigest())
