"""The rules that every bundle keeps: `evoseg bundles verify`, and a test over all bundles.

Each rule is a function of the bundle's folder that yields what is wrong, a sentence each; nothing means it is kept.
"""

from __future__ import annotations

import logging
import pickle
import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import root_cause
from pipeline.inference import verify_documents, verify_workflows

Rule = Callable[[Path], Iterable[str]]

RULES: dict[str, Rule] = {
    "metadata.json keeps MONAI's newest schema": verify_documents.metadata_keeps_the_schema,
    "the changelog has this version": verify_documents.changelog_has_the_version,
    "licence, data licence and model card are there": verify_documents.documents_are_there,
    "the model card has its headings": verify_documents.card_has_its_headings,
    "the card and metadata.json tell the same score": verify_documents.scores_agree,
    "small enough for git": verify_documents.files_are_small,
    "no absolute path in a config": verify_documents.no_absolute_path,
    "no % macro in a config": verify_documents.no_macro,
    "every LoadImaged names its reader": verify_documents.readers_are_named,
    "train and inference build the same network": verify_workflows.networks_are_equal,
    "the weights are plain tensors and fit the network": verify_workflows.weights_fit,
    "the network takes and gives the shapes of metadata.json": verify_workflows.shapes_agree,
    "MONAI exports it as TorchScript": verify_workflows.exported_as_torchscript,
    "the training workflow has what MONAI requires": verify_workflows.train_properties,
    "the inference workflow has what MONAI requires": verify_workflows.infer_properties,
}

# What reading, parsing and building a broken bundle raises; a rule that raises is a rule that is broken.
BROKEN = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ImportError,
    RuntimeError,
    pickle.UnpicklingError,
)


def verify(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Each rule with what breaks it, one after the other; `root` is a bundle's folder."""
    for rule, check in RULES.items():
        problems: list[str] = []
        with quiet():
            try:
                for problem in check(root):  # one by one: what a rule finds before it raises counts
                    problems.append(problem)
            except BROKEN as error:
                cause = root_cause(error)
                problems.append(textwrap.shorten(f"{type(cause).__name__}: {cause}", width=300, placeholder=" ..."))
        yield rule, problems


@contextmanager
def quiet() -> Iterator[None]:
    """No log lines and warnings of MONAI and torch between the lines of the report."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
