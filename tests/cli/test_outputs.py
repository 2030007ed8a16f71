"""`evoseg segment` with what lies beside the labels: a map of each label, probabilities, and their place in a batch."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from torch import nn
from typer.testing import CliRunner, Result

from pipeline.cli import batch_run
from pipeline.cli.app import app
from pipeline.inference.segmenter import Segmentation
from pipeline.io.segments import Segment
from pipeline.io.volume import Volume

AFFINE = np.diag([-2.0, 2.0, 5.0, 1.0])
NAMES = {1: "left kidney", 2: "cyst"}


class Bright:
    """Stands in for a Segmenter: above 100 is kidney, above 300 cyst; its probabilities are the values themselves."""

    name, version, weights_sha256, device = "bright", "1.0", "abc", "cpu"
    licence = ""
    modality, field_of_view_mm, network = "CT", None, nn.Identity()
    numbers_objects = False
    names, segments = NAMES, {label: Segment(name=name) for label, name in NAMES.items()}

    def __init__(self, spatial_dims: int) -> None:
        self.spatial_dims, self.calls = spatial_dims, 0

    def __call__(self, image: Volume, prompt: Any = None, *, trajectory: bool = False) -> Segmentation:
        self.calls += 1
        labels = (image.array > 100).astype(np.uint8) + (image.array > 300)
        values = image.array.clip(0, None).astype(np.uint16)
        chances = Volume(np.stack([values, values // 2], axis=-1), image.affine)
        return Segmentation(Volume(labels, image.affine), self.names, probabilities=chances)


@pytest.fixture
def volumes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bright:
    fake = Bright(3)
    monkeypatch.setattr(batch_run, "_segmenter", lambda job, evolves: fake)
    (tmp_path / "in").mkdir()
    scan = np.full((10, 11, 12), -1000, np.int16)
    scan[3:6, 3:6, 3:7], scan[4, 4, 4] = 200, 400
    for name in ("a", "b"):
        nib.save(nib.Nifti1Image(scan, AFFINE), tmp_path / "in" / f"{name}.nii.gz")
    return fake


def run(folder: Path, *words: str) -> Result:
    given = [str(folder / "in"), "-o", str(folder / "out"), "--no-report", "--bundle", "bright", *words]
    return CliRunner().invoke(app, ["segment", *given])


def written(folder: Path) -> set[str]:
    found = {path.relative_to(folder / "out").as_posix() for path in (folder / "out").rglob("*") if path.is_file()}
    return {name for name in found if "overlays" not in name and name not in ("cases.csv", "run.json")}


def of(case: str) -> set[str]:
    maps = {f"per_label/{case}/{name}.nii.gz" for name in ("left_kidney", "cyst")}
    return {f"{case}.nii.gz", f"probabilities/{case}.nii.gz", *maps}


def test_a_volume_has_a_map_of_each_label_and_probabilities_on_its_grid(volumes: Bright, tmp_path: Path) -> None:
    result = run(tmp_path, "--per-label", "--save-probabilities")
    assert result.exit_code == 0, result.output
    assert written(tmp_path) == of("a") | of("b")
    labels = nib.load(tmp_path / "out/a.nii.gz")
    for label, name in ((1, "left_kidney"), (2, "cyst")):
        alone = nib.load(tmp_path / f"out/per_label/a/{name}.nii.gz")
        assert (alone.affine == labels.affine).all()
        np.testing.assert_array_equal(np.asanyarray(alone.dataobj), np.asanyarray(labels.dataobj) == label)
    chances = nib.load(tmp_path / "out/probabilities/a.nii.gz")
    assert (chances.affine == labels.affine).all() and chances.shape == (10, 11, 12, 2)
    np.testing.assert_allclose(chances.get_fdata()[4, 4, 4], [400 / 65535, 200 / 65535], atol=1e-7)


@pytest.mark.parametrize("name", ["per_label/a/cyst.nii.gz", "probabilities/a.nii.gz"])
@pytest.mark.parametrize("broken", [True, False])
def test_a_case_that_lacks_one_of_its_files_is_done_again(
    volumes: Bright, tmp_path: Path, name: str, broken: bool
) -> None:
    flags = ("--per-label", "--save-probabilities")
    run(tmp_path, *flags)
    path = tmp_path / "out" / name
    whole = path.read_bytes()
    path.unlink()
    if broken:
        path.write_bytes(whole[: len(whole) // 2])
    assert run(tmp_path, *flags, "--resume").exit_code == 0
    assert volumes.calls == 3 and gzip.decompress(path.read_bytes()) == gzip.decompress(whole)


def test_what_is_no_longer_asked_for_does_not_stay_beside_new_labels(volumes: Bright, tmp_path: Path) -> None:
    run(tmp_path, "--per-label", "--save-probabilities")
    assert run(tmp_path, "--overwrite", "--per-label").exit_code == 0
    assert written(tmp_path) == (of("a") | of("b")) - {"probabilities/a.nii.gz", "probabilities/b.nii.gz"}


def test_files_that_no_run_of_ours_has_written_are_not_replaced(volumes: Bright, tmp_path: Path) -> None:
    mine = tmp_path / "out/per_label/a/cyst.nii.gz"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    result = run(tmp_path, "--per-label")
    assert result.exit_code == 2 and "exists already" in result.stderr and mine.read_bytes() == b"mine"


def test_labels_with_files_beside_them_are_evaluated_as_labels(volumes: Bright, tmp_path: Path) -> None:
    run(tmp_path, "--per-label", "--save-probabilities")
    words = ["evaluate", str(tmp_path / "out"), str(tmp_path / "out"), "-o", str(tmp_path / "scores")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    cases = {line.split(",")[0] for line in (tmp_path / "scores/per_case.csv").read_text().splitlines()[1:]}
    assert cases == {"a", "b"}


def test_a_picture_has_pngs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(batch_run, "_segmenter", lambda job, evolves: Bright(2))
    (tmp_path / "in").mkdir()
    Image.fromarray(np.array([[0, 150], [90, 250]], np.uint8)).save(tmp_path / "in" / "a.png")
    assert run(tmp_path, "--per-label", "--save-probabilities").exit_code == 0
    beside = {f"{folder}/a/{name}.png" for folder in ("per_label", "probabilities") for name in ("left_kidney", "cyst")}
    assert written(tmp_path) == {"a.png"} | beside
    assert np.asarray(Image.open(tmp_path / "out/per_label/a/left_kidney.png")).tolist() == [[0, 1], [0, 1]]
    assert np.asarray(Image.open(tmp_path / "out/probabilities/a/cyst.png")).tolist() == [[0, 75], [45, 125]]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--trajectory", "--tta"), "give one of them"),
        (("--trajectory", "--save-probabilities"), "give one of them"),
    ],
)
def test_flags_that_contradict_each_other_are_refused(
    volumes: Bright, tmp_path: Path, words: tuple[str, ...], sentence: str
) -> None:
    result = run(tmp_path, *words)
    assert result.exit_code == 2 and sentence in result.stderr


@pytest.mark.parametrize("flag", ["--per-label", "--save-probabilities"])
def test_one_file_has_nothing_beside_it(volumes: Bright, tmp_path: Path, flag: str) -> None:
    words = ["segment", str(tmp_path / "in/a.nii.gz"), "-o", str(tmp_path / "x.nii.gz"), "--bundle", "bright", flag]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2 and "need a folder as OUT" in result.stderr


@pytest.mark.parametrize("flag", ["--tta", "--all-parts"])
def test_what_changes_labels_belongs_to_what_a_resumed_run_must_have_in_common(
    volumes: Bright, tmp_path: Path, flag: str
) -> None:
    run(tmp_path)
    assert run(tmp_path, "--resume").exit_code == 0 and volumes.calls == 2
    assert run(tmp_path, "--resume", flag).exit_code == 0 and volumes.calls == 4


def test_what_a_bundle_cannot_do_is_said_before_the_first_case(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    nib.save(nib.Nifti1Image(np.zeros((8, 8, 8), np.int16), AFFINE), tmp_path / "in" / "a.nii.gz")
    kidneys, lesions = "kidney_ct_regression_segmentation", "continuous_unet_busi_segmentation"
    for flag, bundle in (("--tta", kidneys), ("--save-probabilities", kidneys), ("--all-parts", lesions)):
        words = [str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--bundle", bundle]
        result = CliRunner().invoke(app, ["segment", *words, "--device", "cpu", flag])
        assert result.exit_code == 2 and f"leave out {flag}" in " ".join(result.stderr.split())
    assert not (tmp_path / "out").exists()
