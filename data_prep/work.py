"""The loop over the cases of a dataset: one bad case is recorded and the others go on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from data_prep.provenance import Provenance
from pipeline.errors import CaseError

logger = logging.getLogger(__name__)

Track = Callable[[Sequence[Any]], Iterable[Any]]


class Named(Protocol):
    @property
    def id(self) -> str: ...


C = TypeVar("C", bound=Named)


@dataclass(frozen=True)
class Prepared:
    """What became of each case, by id: written now, unchanged since an earlier run, or refused."""

    written: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    failed: dict[str, CaseError] = field(default_factory=dict)


def work_through(
    cases: Sequence[C], step: Callable[[C], bool], *, provenance: Provenance, root: Path, track: Track
) -> Prepared:
    """Do `step` for every case; it tells whether something was written, and raises CaseError to refuse the case.

    root: the folder whose path is cut from messages in the record. track: wraps the cases to show progress.
    """
    prepared = Prepared()
    try:
        for case in track(cases):
            try:
                changed = step(case)
            except CaseError as error:
                logger.info("%s: %s: %s", case.id, error.code, error.message)
                # without the paths of this machine: the record goes where the dataset goes
                provenance.fail(case.id, error.code, error.message.replace(f"{root}/", ""))
                prepared.failed[case.id] = error
            else:
                (prepared.written if changed else prepared.unchanged).append(case.id)
    finally:
        provenance.save()
    return prepared
