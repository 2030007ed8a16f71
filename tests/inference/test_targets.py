"""Results stay below the output folder, apart from each other and from the input."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.inference.targets import Format, Targets, source_of, targets_below
from pipeline.io.discover import Case


def case(name: str, file: Path, kind="nifti") -> Case:
    return Case(name, kind, (file,))


def test_a_volume_becomes_nifti_with_a_picture_and_an_image_becomes_png(tmp_path: Path) -> None:
    cases = [case("sub/a", tmp_path / "a.mha", "metaimage"), case("b", tmp_path / "b.jpg", "image")]
    out = tmp_path / "out"
    assert targets_below(out, cases) == {
        "sub/a": Targets((out / "sub/a.nii.gz",), out / "overlays/sub/a.png"),
        "b": Targets((out / "b.png",)),
    }


@pytest.mark.parametrize("name", ["../a", "sub/../../a", "/etc/a"])
def test_an_id_cannot_lead_out_of_the_output_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="outside of"):
        targets_below(tmp_path / "out", [case(name, tmp_path / "a.nii.gz")])


def test_a_link_cannot_lead_out_of_the_output_folder(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    with pytest.raises(InputError, match="outside of"):
        targets_below(tmp_path / "out", [case("link/a", tmp_path / "a.nii.gz")])


def test_two_cases_cannot_share_a_file_even_where_capitals_do_not_count(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="case A"):
        targets_below(tmp_path / "out", [case("A", tmp_path / "1.nii.gz"), case("a", tmp_path / "2.nii.gz")])


def test_an_input_cannot_be_replaced_by_a_result(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the input b"):
        targets_below(tmp_path, [case("a", tmp_path / "x.nii.gz"), case("b", tmp_path / "a.nii.gz")])


@pytest.mark.parametrize(("kind", "form"), [("nifti", "png"), ("image", "nifti")])
def test_a_format_that_cannot_hold_a_case_is_refused(tmp_path: Path, kind: str, form: str) -> None:
    with pytest.raises(InputError, match=form):
        targets_below(tmp_path / "out", [case("a", tmp_path / "a", kind)], [Format(form)])


def test_a_series_is_named_by_its_folder(tmp_path: Path) -> None:
    assert source_of(Case("s", "dicom", (tmp_path / "s/1.dcm", tmp_path / "s/2.dcm"))) == str(tmp_path / "s")
