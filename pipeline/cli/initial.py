"""Initial contours of `evoseg refine`: whose mask belongs to which scan, and what is the object in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pipeline.data import roots
from pipeline.errors import CaseError, InputError
from pipeline.evaluation.pairs import maps_by_id, read_map, with_empty_slices
from pipeline.io.case_ids import IMAGE_ENDING
from pipeline.io.discover import Case
from pipeline.io.pixels import as_labels
from pipeline.io.volume import Volume

if TYPE_CHECKING:
    from pipeline.inference.segmenter import Prompt


@dataclass(frozen=True, kw_only=True)
class Initial:
    """What is typed about them. initial: files or folders; a case begins with the union of its masks in all of them."""

    bundle: str
    initial: list[Path]
    initial_label: list[int] | None
    new_objects: bool
    keep_within_mm: float | None

    evolves: ClassVar[bool] = True  # whether the bundle has to be one that moves contours

    def settings(self) -> dict[str, Any]:
        """What the results depend on, beside what lies in the files."""
        own = {name: value for name, value in vars(self).items() if name != "bundle"}  # the run names it by itself
        return {**own, "initial": [path.resolve() for path in self.initial]}

    def pair(self, cases: Sequence[Case], inputs: Sequence[Path]) -> tuple[list[Case], Masks]:
        """The scans among the cases, without masks that lie among them, and the masks of the scans.

        Scan and mask have one path below their folder, without the suffix of the format and endings such as _ct and
        _seg; one scan and one mask need no common name. InputError: scans and masks in one folder, several masks of
        one scan in one folder, no scan with a mask.
        """
        for folder in self.initial:
            for root in inputs:
                if root.resolve().is_relative_to(folder.resolve()):
                    raise InputError(
                        f"--initial {folder} holds the input {root} as well, no mask is told from a scan there: give "
                        "the mask's file, or the masks in a folder of their own"
                    )
        among = [folder.resolve() for folder in self.initial]
        scans = [case for case in cases if not any(case.files[0].resolve().is_relative_to(each) for each in among)]
        found = [maps_by_id(folder) for folder in self.initial]
        alone = len(scans) == 1
        own = tuple(roots.label_names(roots.metadata(roots.bundle(self.bundle))))
        masks = Masks(self, own, {scan.id: [_belonging(scan, maps, alone=alone) for maps in found] for scan in scans})
        if not any(masks.files(scan) for scan in scans):
            where, scanned = ", ".join(map(str, self.initial)), _listed([scan.id for scan in scans])
            masked = _listed([name for maps in found for name in maps])
            raise InputError(
                f"no mask in {where} belongs to a scan: the scans are called {scanned}, the masks {masked}; name "
                "each mask as its scan, or give one scan and one mask"
            )
        return scans, masks


@dataclass(frozen=True)
class Masks:
    """inference.plan.Prompts: the initial contour of each case, read when its turn comes.

    own: the bundle's labels: a mask that has no others needs no --initial-label.
    by_case: case id -> its mask in each --initial, None where there is none.
    """

    flags: Initial
    own: tuple[int, ...]
    by_case: dict[str, list[Case | None]]

    def files(self, case: Case) -> tuple[Path, ...]:
        return tuple(path for mask in self.by_case[case.id] if mask for path in mask.files)

    def __call__(self, case: Case, image: Volume) -> Prompt:
        """CaseError: MISSING_FILE, BAD_LABELS, GRID_MISMATCH, and what reading a file may raise."""
        from pipeline.inference.refine import object_mask  # here: they import torch
        from pipeline.inference.segmenter import Prompt

        masks = []
        for folder, found in zip(self.flags.initial, self.by_case[case.id], strict=True):
            if found is None:
                raise CaseError("MISSING_FILE", f"{folder} has no mask of {case.id}: add one, an empty one if need be")
            mask = _read(found, image)
            masks.append(object_mask(mask, image, self.flags.initial_label or (), own=self.own))
        return Prompt(
            initial=Volume(reduce(np.logical_or, masks).astype(np.uint8), image.affine),
            new_objects=self.flags.new_objects,
            keep_within_mm=self.flags.keep_within_mm,
        )


def _belonging(scan: Case, maps: dict[str, Case], *, alone: bool) -> Case | None:
    if alone and len(maps) == 1:
        return next(iter(maps.values()))
    return maps.get(scan.id) or maps.get(IMAGE_ENDING.sub("", scan.id))


def _read(case: Case, image: Volume) -> Volume:
    initial = read_map(replace(case, tilt_allowed=True))  # it must lie on the image's grid, whatever that is
    if initial.array.ndim > initial.spatial_dims:
        message = f"{case.files[0]} has {initial.array.shape[-1]} channels where labels have one: save them as one"
        raise CaseError("BAD_LABELS", message)
    try:
        labels = Volume(as_labels(initial.array), initial.affine)
    except ValueError as error:
        raise CaseError("BAD_LABELS", f"{case.files[0]}: {error}") from error
    return with_empty_slices(case, labels, like=image)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + ", ..." * (len(names) > 5)
