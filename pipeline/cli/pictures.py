"""The pictures of an evaluation: plots of its scores, and the worst cases drawn over their images."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pipeline.errors import CaseError
from pipeline.evaluation.folder import Evaluation
from pipeline.evaluation.measures import as_integers
from pipeline.evaluation.pairs import PLOTS, Pair, read_pair
from pipeline.evaluation.plots import write_plots
from pipeline.io.case_ids import IMAGE_ENDING, LABEL_ENDING
from pipeline.io.discover import Case, find_cases, read_case
from pipeline.io.volume import Volume
from pipeline.report.worst_cases import Shown, worst_cases

logger = logging.getLogger(__name__)

WORST = 6


def draw_labels(
    evaluation: Evaluation,
    pairs: Sequence[Pair],
    out: Path,
    *,
    terms: str,
    patients: Mapping[str, str],
    names: Mapping[int, str] | None,
    images: Path | None = None,
) -> None:
    """Write the plots of an evaluation of label maps into OUT/plots, and worst_cases.png beside them.

    terms, patients: as `write_plots`. names: label -> name; None: those that occurred, by number. images: a folder of
    the images that the maps were drawn on; None, or where it has none of a case on its grid: the maps alone.
    CaseError: WRITE_FAILED. InputError: no image in `images`.
    """
    write_plots(evaluation, out / PLOTS, terms=terms, patients=patients)
    labels = dict.fromkeys(label for case in evaluation.cases.values() for label in case.counts)
    shown = _shown(worst(evaluation, WORST), {pair.id: pair for pair in pairs}, images)
    worst_cases(shown, out / PLOTS / "worst_cases.png", names=names or {int(label): label for label in labels})


def worst(evaluation: Evaluation, k: int, metric: str = "dice") -> dict[str, str]:
    """The k cases in which any label scores least: id -> what is to be said of it, the worst first."""
    scored = []
    for case, scores in evaluation.cases.items():
        rows = [row for row in scores.rows if row.metric == metric and row.status != "both_empty"]
        if rows:
            least = min(rows, key=lambda row: row.value)
            said = f"{metric} {least.value:.3f}" if least.status == "ok" else least.status.replace("_", " ")
            label = f"label {least.label}" if least.label.isdecimal() else least.label
            scored.append((least.value, case, f"{case}, {label}: {said}"))
    return {case: caption for _, case, caption in sorted(scored)[:k]}


def _shown(captions: Mapping[str, str], pairs: Mapping[str, Pair], images: Path | None) -> Iterator[Shown]:
    known = {IMAGE_ENDING.sub("", LABEL_ENDING.sub("", case.id)): case for case in find_cases(images)} if images else {}
    for name, caption in captions.items():
        pair = pairs[name]
        prediction, reference, _ = read_pair(pair, resample=True)
        predicted = Volume(as_integers(prediction, pair.prediction.files[0]), prediction.affine)
        referred = Volume(as_integers(reference, pair.reference.files[0]), reference.affine)
        image = _image(known[name], like=reference) if name in known else None
        yield Shown(caption, predicted, referred, image)


def _image(case: Case, like: Volume) -> Volume | None:
    try:
        image = read_case(case)
    except CaseError as error:
        logger.warning("%s is drawn without its image: %s %s", case.id, error.code, error.message)
        return None
    if image.same_grid(like):
        return image
    logger.warning("%s is drawn without its image, which lies on another grid than the labels", case.id)
    return None
