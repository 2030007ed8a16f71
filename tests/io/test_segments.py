"""What metadata.json says of a label is a code of a scheme and a colour, or a sentence says what it should be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.data.roots import label_names
from pipeline.errors import InputError
from pipeline.io.segments import TISSUE, Authorship, segments_of

KIDNEY = {"value": "64033007", "scheme": "SCT", "meaning": "Kidney"}
BUNDLES = Path(__file__).resolve().parents[2] / "bundles"


def test_what_is_said_is_kept_and_what_is_not_takes_the_default():
    found = segments_of({1: "kidney", 2: "cyst"}, {"1": {"type": KIDNEY, "rgb": [185, 102, 83]}})
    assert (found[1].name, found[1].type.value, found[1].category, found[1].rgb) == (
        "kidney", "64033007", TISSUE, (185, 102, 83)
    )  # fmt: skip
    assert (found[2].name, found[2].type, found[2].plausible_ml, found[2].parts) == ("cyst", TISSUE, None, None)
    (kidney,) = segments_of({1: "kidney"}, {"1": {"plausible_ml": [50, 800], "parts": 2}}).values()
    assert (kidney.plausible_ml, kidney.parts) == ((50.0, 800.0), 2)
    assert found[1].rgb != found[2].rgb


def test_labels_that_nobody_named_have_a_segment_too_since_numbers_may_not_be_left_out():
    by = Authorship(algorithm="a", version="1", weights_sha256="", segments=segments_of({3: "cyst"}, {}))
    assert [segment.name for segment in by.described(4)] == ["label 1", "label 2", "cyst", "label 4"]
    assert [segment.name for segment in by.described(0)] == ["label 1", "label 2", "cyst"]


@pytest.mark.parametrize(
    ("described", "sentence"),
    [
        ({"2": {}}, "does not name"),
        ({"1": {"color": [1, 2, 3]}}, "none of category, parts, plausible_ml, rgb, type"),
        ({"1": {"rgb": [1, 2, 300]}}, "from 0 to 255"),
        ({"1": {"rgb": [1, 2]}}, "from 0 to 255"),
        ({"1": {"type": "64033007"}}, "a code has the texts"),
        ({"1": {"parts": 0}}, "from 1 on"),
        ({"1": {"plausible_ml": [800, 50]}}, "the smaller one first"),
        ({"1": {"plausible_ml": 800}}, "two numbers"),
        ({"1": {"type": {**KIDNEY, "value": 64033007}}}, "a code has the texts"),
    ],
)
def test_a_mistake_is_told_with_its_place(described, sentence):
    with pytest.raises(InputError, match=rf"metadata\.json: segments.*{sentence}"):
        segments_of({1: "kidney"}, described)


@pytest.mark.parametrize("path", sorted(BUNDLES.glob("*/configs/metadata.json")), ids=lambda path: path.parents[1].name)
def test_every_bundle_describes_its_labels_well(path):
    metadata = json.loads(path.read_text(encoding="utf-8"))
    for segment in segments_of(label_names(metadata), metadata.get("segments", {})).values():
        assert segment.type.scheme == "SCT" and segment.type.value.isdigit()
