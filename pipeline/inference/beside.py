"""What is written of a case beside its labels: maps of one label each, probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.inference.targets import Targets
from pipeline.io.discover import Case
from pipeline.io.write import write_per_label, write_probabilities

if TYPE_CHECKING:
    from pipeline.inference.segmenter import Segmentation


def write_beside(targets: Targets, found: Segmentation, source: Case) -> None:
    """To be called before the labels are written, since labels that are there are of a whole case."""
    targets.remove_stale()
    write_per_label(targets.per_label, found.labels, source=source)
    if targets.probabilities and found.probabilities:
        write_probabilities(targets.probabilities, found.probabilities, source=source)
