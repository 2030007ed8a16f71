from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from data_prep.folds import Split
from data_prep.layout import Scan
from data_prep.prepare import Prepared, prepare
from data_prep.recipe import Recipe
from pipeline.errors import CaseError, InputError

SETTINGS = Recipe(window=(-125, 275), size=16, labels={"kidney": (1, 2)})


def run(source: Path, out: Path, layout: str = "pairs", recipe: Recipe = SETTINGS, folds: int = 2) -> Prepared:
    return prepare(layout, source, out, recipe=recipe, split=Split(folds=folds))


def load(path: Path) -> np.ndarray:
    return np.asanyarray(nib.load(path).dataobj)


def description(out: Path) -> dict:
    return json.loads((out / "dataset.json").read_text())


def snapshot(folder: Path) -> dict[str, tuple[int, str]]:
    """Every file with its time and content."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(f): (f.stat().st_mtime_ns, hashlib.sha256(f.read_bytes()).hexdigest()) for f in files}


def test_a_dataset_folder_holds_images_labels_distances_and_their_description(
    pairs_source: Path, tmp_path: Path
) -> None:
    run(pairs_source, tmp_path / "out")
    content = description(tmp_path / "out")
    case = content.pop("cases")[0]
    assert content == {
        "name": "own",
        "modality": "CT",
        "channels": ["CT"],
        "labels": {"0": "background", "1": "kidney"},
        "window": [-125, 275],
        "size": 16,
        "spacing": None,
        "seed": 0,
        "folds": 2,
    }
    assert {key: case[key] for key in ("id", "patient", "slices", "slices_with_foreground")} == {
        "id": "anna",
        "patient": "anna",
        "slices": 4,  # those without the organ stay as negatives
        "slices_with_foreground": 2,
    }
    image, label, distance = (load(tmp_path / "out" / case[kind]) for kind in ("image", "label", "distance"))
    assert (image.dtype, label.dtype, image.shape) == (np.int16, np.uint8, (16, 16, 4))
    assert image.min() >= -125 and image.max() <= 275 and set(np.unique(label)) == {0, 1}
    np.testing.assert_array_equal(distance > 0, label > 0)


def test_any_reader_gets_distances_in_pixels_from_half_the_bytes(pairs_source: Path, tmp_path: Path) -> None:
    run(pairs_source, tmp_path / "out")
    path = tmp_path / "out/distances/anna.nii.gz"
    assert nib.load(path).get_data_dtype() == np.int16
    pixels = sitk.GetArrayFromImage(sitk.ReadImage(path))
    np.testing.assert_array_equal(pixels.T, load(path))
    assert pixels.min() == -32  # empty slices: -(16 + 16)
    assert 0.5 in pixels


def test_squares_of_the_wanted_size_keep_their_pixels(tmp_path: Path, shared_data: Path) -> None:
    (tmp_path / "own").mkdir()
    files = {kind: f"case0031_{suffix}.nii.gz" for kind, suffix in (("images", "ct"), ("labels", "label"))}
    for name in files.values():
        shutil.copy(shared_data / "kidney_ct/btcv" / name, tmp_path / "own")
    run(tmp_path / "own", tmp_path / "out", recipe=Recipe(window=(-125, 275), size=200), folds=1)
    for kind, name in files.items():
        source = nib.as_closest_canonical(nib.load(tmp_path / "own" / name))
        prepared = nib.load(tmp_path / f"out/{kind}/case0031.nii.gz")
        np.testing.assert_array_equal(np.asanyarray(prepared.dataobj), np.rint(source.dataobj))
        np.testing.assert_allclose(prepared.affine, source.affine, rtol=1e-6)


def test_a_second_run_does_nothing(pairs_source: Path, tmp_path: Path) -> None:
    assert run(pairs_source, tmp_path / "out").written == ["anna", "bert", "carl"]
    before = snapshot(tmp_path / "out")
    again = run(pairs_source, tmp_path / "out")
    assert (again.written, again.unchanged) == ([], ["anna", "bert", "carl"])
    assert snapshot(tmp_path / "out") == before


def test_an_interrupted_run_continues(pairs_source: Path, tmp_path: Path) -> None:
    def interrupt(scans: list[Scan]):  # type: ignore[no-untyped-def]
        yield scans[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare("pairs", pairs_source, tmp_path / "out", recipe=SETTINGS, split=Split(folds=2), track=interrupt)
    resumed = run(pairs_source, tmp_path / "out")
    assert (resumed.unchanged, resumed.written) == (["anna"], ["bert", "carl"])


def test_a_changed_source_or_a_lost_file_is_prepared_again(
    pairs_source: Path, tmp_path: Path, write: Callable[..., Path]
) -> None:
    run(pairs_source, tmp_path / "out")
    write(pairs_source / "bert_label.nii.gz", np.zeros((12, 10, 4), np.uint8))
    (tmp_path / "out/distances/carl.nii.gz").unlink()
    assert run(pairs_source, tmp_path / "out").written == ["bert", "carl"]
    assert description(tmp_path / "out")["cases"][1]["slices_with_foreground"] == 0


def test_other_arguments_prepare_everything_again_and_other_folds_nothing(pairs_source: Path, tmp_path: Path) -> None:
    run(pairs_source, tmp_path / "out")
    assert run(pairs_source, tmp_path / "out", folds=3).written == []
    assert description(tmp_path / "out")["folds"] == 3
    assert len(run(pairs_source, tmp_path / "out", recipe=Recipe(size=8)).written) == 3
    assert description(tmp_path / "out")["labels"] == {"0": "background", "1": "label_1", "2": "label_2"}


def test_what_the_source_no_longer_has_leaves_the_output(pairs_source: Path, tmp_path: Path) -> None:
    run(pairs_source, tmp_path / "out")
    for path in pairs_source.glob("bert_*"):
        path.unlink()
    run(pairs_source, tmp_path / "out")
    assert [case["id"] for case in description(tmp_path / "out")["cases"]] == ["anna", "carl"]
    assert not list((tmp_path / "out").rglob("bert*"))


def test_the_source_is_not_touched(pairs_source: Path, tmp_path: Path) -> None:
    before = snapshot(pairs_source)
    run(pairs_source, tmp_path / "out")
    assert snapshot(pairs_source) == before


@pytest.mark.parametrize("inside", [".", "prepared", "../own/a/b"])
def test_an_output_inside_the_source_is_refused(pairs_source: Path, inside: str) -> None:
    with pytest.raises(InputError, match="lies inside SOURCE"):
        run(pairs_source, pairs_source / inside)


def test_an_output_with_files_of_others_is_refused(pairs_source: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did not write"):
        run(pairs_source, tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_a_record_of_others_is_refused(pairs_source: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/provenance.json").write_text(text)
    with pytest.raises(InputError, match="is no record"):
        run(pairs_source, tmp_path / "out")


def test_an_output_that_cannot_be_made_is_refused_by_code(pairs_source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CaseError, match=r"provenance\.json could not be written"):
        run(pairs_source, tmp_path / "file" / "out")


def test_a_source_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        run(tmp_path / "nowhere", tmp_path / "out")


def test_bad_cases_are_recorded_by_code_and_the_others_go_on(
    pairs_source: Path, tmp_path: Path, write: Callable[..., Path]
) -> None:
    write(pairs_source / "bert_label.nii.gz", np.zeros((12, 10, 5), np.uint8))
    (pairs_source / "carl_label.nii.gz").unlink()
    write(pairs_source / "dora_ct.nii.gz", np.zeros((12, 10, 4), np.int16))
    write(pairs_source / "dora_label.nii.gz", np.zeros((12, 10, 4), np.uint8), np.diag([-2.0, -2.0, 4.0, 1.0]))
    (pairs_source / "emil_ct.nii.gz").write_bytes((pairs_source / "anna_ct.nii.gz").read_bytes()[:400])
    write(pairs_source / "emil_label.nii.gz", np.zeros((12, 10, 4), np.uint8))
    prepared = run(pairs_source, tmp_path / "out")
    assert prepared.written == ["anna"]
    recorded = json.loads((tmp_path / "out/provenance.json").read_text())["failed"]
    assert {id: entry["code"] for id, entry in recorded.items()} == {
        "bert": "GRID_MISMATCH",
        "carl": "MISSING_FILE",
        "dora": "GRID_MISMATCH",
        "emil": "TRUNCATED",
    }
    assert "(12, 10, 4)" in recorded["bert"]["message"] and "(12, 10, 5)" in recorded["bert"]["message"]
    assert "carl_label.nii.gz" in recorded["carl"]["message"]
    assert [case["id"] for case in description(tmp_path / "out")["cases"]] == ["anna"]


def test_a_source_file_that_cannot_be_opened_is_one_bad_case(
    pairs_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_open = Path.open

    def refuse(path: Path, *mode: Any, **settings: Any) -> Any:
        if path.name == "bert_ct.nii.gz":
            raise PermissionError(13, "Permission denied")
        return really_open(path, *mode, **settings)

    monkeypatch.setattr(Path, "open", refuse)
    prepared = run(pairs_source, tmp_path / "out")
    assert prepared.failed["bert"].code == "UNREADABLE" and prepared.written == ["anna", "carl"]


def test_a_case_that_turned_bad_leaves_nothing_stale(
    pairs_source: Path, tmp_path: Path, write: Callable[..., Path]
) -> None:
    run(pairs_source, tmp_path / "out")
    write(pairs_source / "bert_label.nii.gz", np.zeros((3, 3, 3), np.uint8))
    run(pairs_source, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("bert*"))


def test_provenance_has_the_hash_of_every_source_file_and_no_path_of_this_machine(
    pairs_source: Path, tmp_path: Path
) -> None:
    (pairs_source / "carl_label.nii.gz").write_bytes(b"broken")
    run(pairs_source, tmp_path / "out")
    text = (tmp_path / "out/provenance.json").read_text()
    assert str(tmp_path) not in text
    content = json.loads(text)
    ct = (pairs_source / "anna_ct.nii.gz").read_bytes()
    assert content["cases"]["anna"]["sources"]["anna_ct.nii.gz"] == hashlib.sha256(ct).hexdigest()
    assert content["arguments"]["labels"] == {"kidney": [1, 2]}
    assert content["split"] == {"folds": 2, "seed": 0, "patient": None}


def test_all_scans_of_a_patient_lie_in_one_fold(tmp_path: Path, write: Callable[..., Path]) -> None:
    ids = [f"p{patient}_scan{scan}" for patient in range(6) for scan in range(1 + patient % 3)]
    for id in ids:
        for folder in ("images", "labels"):
            write(tmp_path / "own" / folder / f"{id}.nii.gz", np.zeros((4, 4, 1), np.int16))
    run(tmp_path / "own", tmp_path / "out", folds=3)
    cases = description(tmp_path / "out")["cases"]
    assert sorted(case["id"] for case in cases) == ids
    assert {case["patient"] for case in cases} == {f"p{patient}" for patient in range(6)}
    assert len({(case["patient"], case["fold"]) for case in cases}) == 6
    assert [sum(case["fold"] == fold for case in cases) for fold in range(3)] == [4, 4, 4]


def test_both_versions_of_the_nnunet_layout_give_the_same_images(
    decathlon_source: Path, nnunet_source: Path, tmp_path: Path
) -> None:
    for source in (decathlon_source, nnunet_source):
        run(source, tmp_path / f"out_{source.name}", "nnunet", Recipe(spacing_mm=(1, 2, 5)))
    one, two = (
        load(tmp_path / f"out_{source.name}/images/BRATS_002.nii.gz") for source in (decathlon_source, nnunet_source)
    )
    assert one.shape == (24, 10, 4, 2) and one.dtype == np.float32
    np.testing.assert_array_equal(one, two)
    assert description(tmp_path / "out_Task01")["labels"] == {"0": "background", "1": "edema", "2": "tumour"}
    assert description(tmp_path / "out_Task01")["modality"] == "FLAIR+T1w"


def test_regions_need_the_users_word(nnunet_source: Path, tmp_path: Path) -> None:
    text = json.dumps({"channel_names": {"0": "FLAIR", "1": "T1w"}, "labels": {"background": 0, "whole": [1, 2]}})
    (nnunet_source / "dataset.json").write_text(text)
    with pytest.raises(InputError, match="--label NAME=VALUES"):
        run(nnunet_source, tmp_path / "out", "nnunet", Recipe())
    assert run(nnunet_source, tmp_path / "out", "nnunet", Recipe(labels={"whole": (1, 2)})).failed == {}


def test_real_kits19_labels_are_prepared_upright(kits19_source: Path, tmp_path: Path, shared_data: Path) -> None:
    """Stored slices first (axes I, P, L), they come out with x to the Right and the kidneys behind the middle."""
    case = kits19_source / "data/case_00041"
    case.mkdir()
    label = nib.load(shared_data / "kits19_labels/case_00041_segmentation.nii.gz")
    nib.save(label, case / "segmentation.nii.gz")
    nib.save(nib.Nifti1Image(np.zeros(label.shape, np.int16), label.affine), case / "imaging.nii.gz")
    run(kits19_source, tmp_path / "out", "kits19", Recipe(size=200))
    prepared = nib.load(tmp_path / "out/labels/case_00041.nii.gz")
    assert prepared.shape == (200, 200, 52) and nib.aff2axcodes(prepared.affine) == ("R", "A", "S")
    before, after = (
        nib.affines.voxel_sizes(image.affine).prod() * (image.get_fdata() > 0).sum() for image in (label, prepared)
    )
    assert after == pytest.approx(before, rel=0.02)
    here, there = (
        nib.affines.apply_affine(image.affine, np.argwhere(image.get_fdata() > 0)).mean(axis=0)
        for image in (label, prepared)
    )
    np.testing.assert_allclose(there, here, atol=0.5)  # mm: a fifth of a pixel
