"""Every bundle of the checkout keeps every rule."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.inference.verify import verify

ROOT = Path(__file__).resolve().parents[1]
BUNDLES = sorted(path.parents[1] for path in ROOT.glob("bundles/*/configs/metadata.json"))
RELEASED = [folder for folder in BUNDLES if (folder / "models" / "model.pt").is_file()]  # the others wait for weights


def test_the_bundles_in_the_readme_are_those_that_are_released() -> None:
    listed = re.findall(r"^\| `(\w+_segmentation)` \|", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert listed == [folder.name for folder in RELEASED]


def test_a_bundles_name_says_what_it_does() -> None:
    assert all(folder.name.endswith("_segmentation") for folder in BUNDLES)  # consumers read the task off the name


@pytest.mark.parametrize("folder", RELEASED, ids=lambda folder: folder.name)
def test_a_bundle_keeps_every_rule(folder: Path) -> None:
    broken = {rule: problems for rule, problems in verify(folder) if problems}
    assert not broken
