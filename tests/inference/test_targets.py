"""Results stay below the output folder, apart from each other and from the input."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.inference.targets import Beside, Format, Targets, source_of, targets_below
from pipeline.io.discover import Case


def case(name: str, file: Path, kind="nifti") -> Case:
    return Case(name, kind, (file,))


def below(out: Path, *cases: Case, spatial_dims: int = 3, **options) -> dict[str, Targets]:
    read = {each.id: each.files for each in cases}
    return targets_below(out, cases, read, spatial_dims=spatial_dims, **options)


def test_volumes_become_nifti_and_pictures_png_each_with_its_contours(tmp_path: Path) -> None:
    found, out = case("sub/a", tmp_path / "a.dcm", "dicom"), tmp_path / "out"
    drawn = out / "overlays/sub/a.png", out / "trajectory/sub/a"
    assert below(out, found) == {"sub/a": Targets((out / "sub/a.nii.gz",), *drawn)}
    assert below(out, found, spatial_dims=2) == {"sub/a": Targets((out / "sub/a.png",), drawn[0])}


@pytest.mark.parametrize("name", ["../a", "sub/../../a", "/etc/a"])
def test_an_id_cannot_lead_out_of_the_output_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="outside of"):
        below(tmp_path / "out", case(name, tmp_path / "a.nii.gz"))


def test_a_link_cannot_lead_out_of_the_output_folder(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    with pytest.raises(InputError, match="outside of"):
        below(tmp_path / "out", case("link/a", tmp_path / "a.nii.gz"))


def test_two_cases_cannot_share_a_file_even_where_capitals_do_not_count(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="case A"):
        below(tmp_path / "out", case("A", tmp_path / "1.nii.gz"), case("a", tmp_path / "2.nii.gz"))


def test_an_input_cannot_be_replaced_by_a_result(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the input b"):
        below(tmp_path, case("a", tmp_path / "x.nii.gz"), case("b", tmp_path / "a.nii.gz"))


def test_a_mask_that_a_case_begins_with_cannot_be_replaced_by_its_result(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the input a"):
        targets_below(
            tmp_path,
            [case("a", tmp_path / "ct/a.nii.gz")],
            {"a": (tmp_path / "ct/a.nii.gz", tmp_path / "a.nii.gz")},
            spatial_dims=3,
        )


def test_the_trajectory_of_a_case_goes_without_that_of_a_case_below_it(tmp_path: Path) -> None:
    for name in ("a/levels.nii.gz", "a/b/levels.nii.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    Targets((), trajectory=tmp_path / "a").remove()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    Targets((), trajectory=tmp_path / "a/b").remove()
    assert not any((tmp_path / "a").iterdir())
    Targets((), trajectory=tmp_path / "not there").remove()


def test_a_volume_may_go_into_several_formats_side_by_side(tmp_path: Path) -> None:
    found = below(tmp_path / "out", case("sub/a", tmp_path / "a"), formats=[Format.RTSTRUCT, Format.DICOM_SEG] * 2)
    assert [path.name for path in found["sub/a"].labels] == ["a.seg.dcm", "a.rtstruct.dcm"]
    found = below(tmp_path / "out", case("sub/a", tmp_path / "a"), formats=list(Format)[:1])
    assert [path.name for path in found["sub/a"].labels] == ["a.nii.gz"]


@pytest.mark.parametrize(("spatial_dims", "form"), [(3, Format.PNG), (2, Format.NIFTI), (2, Format.DICOM_SEG)])
def test_a_format_that_cannot_hold_the_labels_is_refused(tmp_path: Path, spatial_dims: int, form: Format) -> None:
    with pytest.raises(InputError, match=f"--format {form}"):
        below(tmp_path / "out", case("a", tmp_path / "a"), spatial_dims=spatial_dims, formats=[form])


def test_a_series_is_named_by_its_folder(tmp_path: Path) -> None:
    assert source_of(Case("s", "dicom", (tmp_path / "s/1.dcm", tmp_path / "s/2.dcm"))) == str(tmp_path / "s")


NAMES = {1: "left kidney", 3: "tumour/cyst"}


def test_what_lies_beside_the_labels_has_folders_of_its_own(tmp_path: Path) -> None:
    out, beside = tmp_path / "out", Beside(names=NAMES, per_label=True, probabilities=True)
    volume = below(out, case("sub/a", tmp_path / "a"), beside=beside)["sub/a"]
    files = ("left_kidney", "tumour_cyst")
    assert volume.per_label == dict(zip(NAMES, (out / f"per_label/sub/a/{f}.nii.gz" for f in files), strict=True))
    assert volume.probabilities == (out / "probabilities/sub/a.nii.gz",) and volume.stale == ()
    assert volume.results == (*volume.labels, *volume.per_label.values(), *volume.probabilities)
    assert set(volume.results) < set(volume.paths)
    picture = below(out, case("a", tmp_path / "a"), beside=beside, spatial_dims=2)["a"]
    assert picture.probabilities == tuple(out / f"probabilities/a/{f}.png" for f in files)


def test_what_a_run_with_other_flags_has_left_beside_the_labels_is_removed(tmp_path: Path) -> None:
    before = below(tmp_path, case("a", tmp_path / "x"), beside=Beside(names=NAMES, per_label=True))["a"]
    for path in before.results:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    now = below(tmp_path, case("a", tmp_path / "x"), beside=Beside(names=NAMES))["a"]
    assert now.results == now.labels and set(before.per_label.values()) < set(now.stale)
    now.remove_stale()
    assert [path.exists() for path in before.results] == [True, False, False]


def test_two_labels_that_would_share_a_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="would replace"):
        below(tmp_path, case("a", tmp_path / "x"), beside=Beside(names={1: "a b", 2: "A/b"}, per_label=True))
