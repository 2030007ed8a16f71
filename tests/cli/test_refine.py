"""`evoseg refine` as it is typed: whose mask belongs to which scan, what comes back, and what is refused."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

from pipeline.cli.app import app
from pipeline.data.roots import bundle
from pipeline.inference.segmenter import Segmentation, Segmenter
from pipeline.io.dicom_seg import read_segmentation
from pipeline.io.dicom_series import read_series
from pipeline.io.nifti import read_nifti

BUNDLE, REGRESSION = "kits19_contour_evolution_segmentation", "kidney_ct_regression_segmentation"
AFFINE = np.diag([-2.0, 2.0, 5.0, 1.0])
SHAPE = (40, 44, 6)
VOXEL_ML = 2 * 2 * 5 / 1000


def small_bundle(folder: Path, *, learned: bool = False) -> Path:
    """The bundle with a network of few features on 64 x 64 pixels, untrained or with a field of some size."""
    copy = Path(shutil.copytree(bundle(BUNDLE), folder / BUNDLE, ignore=shutil.ignore_patterns("models")))
    config = copy / "configs" / "inference.yaml"
    text = config.read_text().replace("[24, 48, 96, 192, 192, 24]", "[8, 8, 8, 8, 8, 8]")
    text = text.replace("[24, 24, 48, 64, 64, 24]", "[8, 8, 8, 8, 8, 8]").replace("size: 200", "size: 64")
    config.write_text(text.replace("steps: 2}", "steps: 2, max_steps: 2}"))
    parser = ConfigParser()
    parser.read_config(str(config))
    torch.manual_seed(0)
    network = parser.get_parsed_content("network_def")
    if learned:
        for weight in network.evolution.flow.parameters():
            torch.nn.init.normal_(weight, std=0.5)
    (copy / "models").mkdir()
    torch.save(network.state_dict(), copy / "models" / "model.pt")
    return copy


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_bundle(tmp_path_factory.mktemp("untrained"))


def write(path: Path, array: NDArray, affine: NDArray = AFFINE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)


def ragged(shape: tuple[int, ...] = SHAPE) -> NDArray[np.uint8]:
    """Single voxels and holes, which going through a coarser grid would lose."""
    mask = np.zeros(shape, np.uint8)
    mask[5:25, 8:30, 1:5] = np.random.default_rng(1).random((20, 22, 4)) < 0.5
    return mask


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    for name in ("a_ct", "sub/b"):
        noise = np.random.default_rng(0).normal(60, 200, SHAPE).astype(np.int16)
        write(tmp_path / "in" / f"{name}.nii.gz", noise)
    return tmp_path / "in"


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    """For both scans; the second with its axes in another order and direction."""
    write(tmp_path / "masks/a_seg.nii.gz", ragged())
    turned = AFFINE @ np.array([[0, -1, 0, SHAPE[0] - 1], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    write(tmp_path / "masks/sub/b.nii.gz", ragged().transpose(2, 0, 1)[:, ::-1], turned)
    return tmp_path / "masks"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def run(use: Path | str, *words: str | Path) -> Result:
    return CliRunner().invoke(app, ["refine", *map(str, words), "--bundle", str(use), "--device", "cpu"])


def table(out: Path) -> dict[str, dict[str, str]]:
    with (out / "cases.csv").open(newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def labels(path: Path) -> NDArray:
    return np.asanyarray(nib.load(path).dataobj)


def found(path: Path) -> NDArray[np.bool_]:
    """What is kidney, of either side."""
    return labels(path) > 0


def test_an_untrained_refiner_gives_every_mask_back_bit_for_bit(
    untrained: Path, scans: Path, masks: Path, out: Path
) -> None:
    result = run(untrained, scans, "--initial", masks, "-o", out)
    assert result.exit_code == 0, result.output
    for name in ("a_ct", "sub/b"):
        np.testing.assert_array_equal(found(out / f"{name}.nii.gz"), ragged())
    row = table(out)["sub/b"]
    sides = [float(row[f"volume_ml_{side}_kidney"]) for side in ("left", "right")]
    assert float(row["volume_ml_initial"]) == pytest.approx(sum(sides)) == pytest.approx(ragged().sum() * VOXEL_ML)
    assert row["dice_to_initial"] == "1"


def test_a_trained_one_moves_the_contour_and_says_how_far(tmp_path: Path, scans: Path, masks: Path, out: Path) -> None:
    result = run(small_bundle(tmp_path, learned=True), scans, "--initial", masks, "-o", out, "--new-objects")
    assert result.exit_code == 0, result.output
    assert 0 <= float(table(out)["a_ct"]["dice_to_initial"]) < 1


def test_a_dicom_series_is_refined_from_a_nifti_mask_of_any_name(
    untrained: Path, tmp_path: Path, write_series: Callable[..., list[Path]]
) -> None:
    scan = read_series(write_series(tmp_path / "dicom", np.zeros(SHAPE[::-1], np.int16)))
    mask = ragged(scan.spatial_shape)
    assert mask.any()
    write(tmp_path / "any_name.nii.gz", mask.transpose(), scan.affine[:, [2, 1, 0, 3]])
    result = run(untrained, tmp_path / "dicom", "--initial", tmp_path / "any_name.nii.gz", "-o", tmp_path / "one.nii")
    assert result.exit_code == 0, result.output
    refined = read_nifti(tmp_path / "one.nii")
    assert refined.same_grid(scan)
    np.testing.assert_array_equal(refined.array > 0, mask)


def test_a_mask_on_the_sheared_grid_of_a_tilted_scan_is_refined_there(
    untrained: Path, tmp_path: Path, out: Path, write_series: Callable[..., list[Path]]
) -> None:
    tilted = [(0, 0.7 * k, 2.4 * k) for k in range(SHAPE[2])]
    scan = read_series(
        write_series(tmp_path / "in/a", np.zeros(SHAPE[::-1], np.int16), positions=tilted), allow_tilt=True
    )
    write(tmp_path / "masks/a.nii.gz", ragged(), scan.affine)
    result = run(untrained, tmp_path / "in", "--initial", tmp_path / "masks", "-o", out, "--allow-tilt")
    assert result.exit_code == 0, result.output
    refined = read_nifti(out / "a.nii.gz", allow_shear=True)
    assert refined.same_grid(scan) and "TILTED" in table(out)["a"]["flags"]
    np.testing.assert_array_equal(refined.array > 0, ragged())


def test_a_dicom_segmentation_without_its_empty_slices_is_laid_onto_the_scan(
    untrained: Path, tmp_path: Path, shared_data: Path
) -> None:
    segmentation = read_segmentation(shared_data / "dicom/dcmqi/segmentations/liver.dcm")
    whole = np.pad(segmentation.array, ((2, 3), (0, 0), (0, 0)))
    affine = segmentation.affine.copy()
    affine[:3, 3] -= 2 * affine[:3, 0]
    write(tmp_path / "in/liver.nii", np.zeros(whole.shape, np.int16), affine)
    (tmp_path / "masks").mkdir()
    shutil.copy(shared_data / "dicom/dcmqi/segmentations/liver.dcm", tmp_path / "masks/liver_seg.dcm")
    result = run(untrained, tmp_path / "in", "--initial", tmp_path / "masks", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    np.testing.assert_array_equal(found(tmp_path / "out/liver.nii.gz"), whole)


def test_a_scan_without_a_mask_fails_and_the_others_go_on(untrained: Path, scans: Path, masks: Path, out: Path) -> None:
    (masks / "sub/b.nii.gz").unlink()
    write(masks / "other.nii.gz", ragged())
    assert run(untrained, scans, "--initial", masks, "-o", out).exit_code == 1
    assert {name: row["code"] for name, row in table(out).items()} == {"a_ct": "", "sub/b": "MISSING_FILE"}


def bad_mask(kind: str) -> tuple[NDArray, NDArray]:
    mask, affine = ragged(), AFFINE.copy()
    if kind == "another grid":
        affine[0, 3] = 2.0
    elif kind == "another patient":
        mask = ragged((40, 44, 7))
    elif kind == "two objects":
        mask[30:35, 30:35, 2] = 3
    elif kind == "full":
        mask[:] = 1
    elif kind == "probabilities":
        mask = mask.astype(np.float32) / 3
    return mask, affine


@pytest.mark.parametrize(
    ("kind", "code", "said"),
    [
        ("another grid", "GRID_MISMATCH", "on its grid"),
        ("another patient", "GRID_MISMATCH", "(40, 44, 7)"),
        ("two objects", "BAD_LABELS", "--initial-label 1"),
        ("full", "BAD_LABELS", "full"),
        ("probabilities", "BAD_LABELS", "threshold"),
    ],
)
def test_a_mask_that_cannot_be_one_fails_its_case_only(
    untrained: Path, scans: Path, masks: Path, out: Path, kind: str, code: str, said: str
) -> None:
    write(masks / "a_seg.nii.gz", *bad_mask(kind))
    assert run(untrained, scans, "--initial", masks, "-o", out).exit_code == 1
    rows = table(out)
    assert (rows["a_ct"]["code"], rows["sub/b"]["code"]) == (code, "")
    assert said in rows["a_ct"]["message"]
    assert not (out / "a_ct.nii.gz").exists()


def test_of_several_labels_the_object_is_chosen(untrained: Path, scans: Path, masks: Path, out: Path) -> None:
    both, _ = bad_mask("two objects")
    write(masks / "a_seg.nii.gz", both)
    scan = scans / "a_ct.nii.gz"
    run(untrained, scan, "--initial", masks / "a_seg.nii.gz", "--initial-label", "3", "-o", out)
    np.testing.assert_array_equal(found(out / "a_ct.nii.gz"), both == 3)


def test_left_and_right_kidney_of_a_result_are_refined_together(untrained: Path, scans: Path, out: Path) -> None:
    """What was refined is told left from right, and may be refined again as it is."""
    first, again = out / "first.nii.gz", out / "again.nii.gz"
    scan = scans / "a_ct.nii.gz"
    body = np.full(SHAPE, -1000, np.int16)
    body[4:36, 4:40] = 40  # the grid's first axis runs to the left: columns below 20 are the right half
    write(scan, body)
    mask = np.zeros(SHAPE, np.uint8)
    mask[8:14, 10:20, 1:5] = mask[26:32, 10:20, 1:5] = 1
    write(out / "mask.nii.gz", mask)
    assert run(untrained, scan, "--initial", out / "mask.nii.gz", "-o", first).exit_code == 0
    np.testing.assert_array_equal(labels(first), mask * np.where(np.arange(SHAPE[0]) < 20, 2, 1)[:, None, None])
    result = run(untrained, scan, "--initial", first, "-o", again)
    assert result.exit_code == 0, result.output
    np.testing.assert_array_equal(labels(again), labels(first))


def test_a_volume_for_one_of_two_sides_is_refused_with_the_way_out(
    untrained: Path, scans: Path, tmp_path: Path
) -> None:
    (tmp_path / "volumes.csv").write_text("case,label,lo,hi,unit\na_ct,left kidney,1,2,ml\n")
    words = ["segment", str(scans), "-o", str(tmp_path / "out"), "--volumes", str(tmp_path / "volumes.csv")]
    result = CliRunner().invoke(app, [*words, "--bundle", str(untrained), "--device", "cpu"])
    assert result.exit_code == 1
    assert {name: row["code"] for name, row in table(tmp_path / "out").items()} == {"a_ct": "BAD_OBJECT", "sub/b": ""}


def test_several_masks_of_a_scan_are_united(untrained: Path, scans: Path, tmp_path: Path, out: Path) -> None:
    left, right = ragged(), ragged()[::-1]
    assert ((left > 0) != (right > 0)).any()
    write(tmp_path / "ts/kidney_left.nii.gz", left)
    write(tmp_path / "ts/kidney_right.nii.gz", right)
    words = [word for side in ("left", "right") for word in ("--initial", tmp_path / f"ts/kidney_{side}.nii.gz")]
    assert run(untrained, scans / "a_ct.nii.gz", *words, "-o", out).exit_code == 0
    np.testing.assert_array_equal(found(out / "a_ct.nii.gz"), left | right)


def test_for_an_empty_mask_the_bundles_own_contour_is_taken_and_flagged(
    untrained: Path, scans: Path, masks: Path, out: Path, tmp_path: Path
) -> None:
    write(masks / "a_seg.nii.gz", np.zeros(SHAPE, np.uint8))
    assert run(untrained, scans, "--initial", masks, "-o", out).exit_code == 0
    row = table(out)["a_ct"]
    assert "EMPTY_INITIAL" in row["flags"].split(";") and "EMPTY_INITIAL" not in table(out)["sub/b"]["flags"]
    assert (row["volume_ml_initial"], row["dice_to_initial"]) == ("0", "")
    words = ["segment", str(scans / "a_ct.nii.gz"), "-o", str(tmp_path / "own.nii.gz"), "--bundle", str(untrained)]
    assert CliRunner().invoke(app, [*words, "--device", "cpu"]).exit_code == 0
    np.testing.assert_array_equal(labels(out / "a_ct.nii.gz"), labels(tmp_path / "own.nii.gz"))


def test_dopri5_that_does_not_arrive_fails_its_case_with_a_way_out(
    tmp_path: Path, scans: Path, masks: Path, out: Path
) -> None:
    learned = small_bundle(tmp_path, learned=True)  # with two steps at most
    assert run(learned, scans, "--initial", masks, "-o", out, "--solver", "dopri5").exit_code == 1
    row = table(out)["a_ct"]
    assert row["code"] == "STEP_LIMIT" and "--solver midpoint" in row["message"]
    assert run(learned, scans, "--initial", masks, "-o", out, "--solver", "rk4", "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--steps", "0"], "1 or more"),
        (["--solver", "rk5"], "midpoint, rk4"),
        (["--solver", "dopri5", "--steps", "4"], "chooses its own steps"),
        (["--bundle", REGRESSION], "evolves no contour"),
    ],
)
def test_what_cannot_integrate_is_refused_before_anything_is_written(
    untrained: Path, scans: Path, masks: Path, out: Path, words: list[str], said: str
) -> None:
    use, words = (words[1], []) if words[0] == "--bundle" else (untrained, words)
    result = run(use, scans, "--initial", masks, "-o", out, *words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not out.exists()


@pytest.mark.parametrize(("flag", "said"), [(["--trajectory"], "evolves no contour"), (["--steps", "2"], "--solver")])
def test_segment_refuses_the_same_of_a_bundle_without_evolution(scans: Path, out: Path, flag, said: str) -> None:
    words = ["segment", str(scans), "-o", str(out), "--bundle", REGRESSION, "--device", "cpu", *flag]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2 and said in result.stderr


def test_masks_that_belong_to_no_scan_are_refused_with_both_names(
    untrained: Path, scans: Path, masks: Path, out: Path
) -> None:
    (masks / "sub/b.nii.gz").rename(masks / "c.nii.gz")
    (masks / "a_seg.nii.gz").rename(masks / "d.nii.gz")
    result = run(untrained, scans, "--initial", masks, "-o", out)
    assert result.exit_code == 2
    assert "a_ct, sub/b, the masks c, d" in result.stderr
    assert run(untrained, scans, "--initial", scans, "-o", out).exit_code == 2
    assert not out.exists()


def test_masks_below_the_scans_are_no_scans(untrained: Path, scans: Path, masks: Path, out: Path) -> None:
    shutil.move(masks, scans / "masks")
    assert run(untrained, scans, "--initial", scans / "masks", "-o", out).exit_code == 0
    assert set(table(out)) == {"a_ct", "sub/b"}


def test_a_result_never_replaces_a_mask(untrained: Path, scans: Path, masks: Path) -> None:
    before = (masks / "sub/b.nii.gz").read_bytes()
    result = run(untrained, scans, "--initial", masks, "-o", masks, "--overwrite")
    assert result.exit_code == 2 and "would replace" in result.stderr
    scan, mask = scans / "sub/b.nii.gz", masks / "sub/b.nii.gz"
    assert run(untrained, scan, "--initial", mask, "-o", mask, "--overwrite").exit_code == 2
    assert mask.read_bytes() == before


def test_a_trajectory_is_drawn_and_is_no_input_of_a_later_run(
    untrained: Path, scans: Path, masks: Path, tmp_path: Path
) -> None:
    out = scans / "refined"
    assert run(untrained, scans, "--initial", masks, "-o", out, "--trajectory").exit_code == 0
    names = {path.name for path in (out / "trajectory/sub/b").iterdir()}
    assert {"frame_000.png", "frame_002.png", "trajectory.gif", "levels.nii.gz"} <= names  # two steps
    again = run(untrained, scans, "--initial", out, "-o", tmp_path / "again")
    assert again.exit_code == 0, again.output
    assert set(table(tmp_path / "again")) == {"a_ct", "sub/b"}
    one = run(untrained, scans / "a_ct.nii.gz", "--initial", masks, "-o", tmp_path / "one.nii.gz", "--trajectory")
    assert one.exit_code == 2 and "--trajectory" in one.stderr


def test_a_run_is_resumed_only_with_the_same_masks_and_solver(
    untrained: Path, scans: Path, masks: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []

    def keep(self, image, prompt, *, trajectory):
        seen.append(prompt.new_objects)
        return Segmentation(prompt.initial, {1: "kidney"})

    monkeypatch.setattr(Segmenter, "__call__", keep)
    words: list[str | Path] = [scans, "-o", out, "--resume", "--initial"]
    run(untrained, *words, masks)
    run(untrained, *words, masks)
    assert seen == [False] * 2
    run(untrained, *words, masks, "--new-objects")
    assert seen[2:] == [True] * 2
    run(untrained, *words, masks, "--new-objects", "--steps", "4")
    assert len(seen) == 6
    shutil.copytree(masks, tmp_path / "others")
    run(untrained, *words, tmp_path / "others", "--new-objects", "--steps", "4")
    assert len(seen) == 8
    settings = json.loads((out / "run.json").read_text())
    assert (settings["initial"], settings["steps"]) == ([str((tmp_path / "others").resolve())], 4)
