"""`evoseg segment` as it is typed: what it leaves, what it says, and its exit status."""

from __future__ import annotations

import csv
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
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
from pipeline.errors import InputError
from pipeline.inference.segmenter import Segmentation
from pipeline.io.dicom_seg import read_segmentation
from pipeline.io.nifti import read_nifti
from pipeline.io.segments import Segment

DEMO = Path(__file__).resolve().parents[1] / "data" / "demo"
AFFINE = np.diag([2.0, 2.0, 5.0, 1.0])


class Bright:
    """Stands in for a Segmenter: what is brighter than 100 is kidney."""

    name, version, weights_sha256, device = "bright", "1.0", "abc", "cpu"
    licence = ""
    spatial_dims, modality, field_of_view_mm = 3, "CT", None
    numbers_objects, network = False, nn.Identity()

    def __init__(self) -> None:
        self.names, self.segments = {1: "kidney"}, {1: Segment(name="kidney")}
        self.interrupt_at: int | None = None
        self.bug_at: int | None = None
        self.calls = 0

    def __call__(self, image, prompt=None, *, trajectory=False):
        self.calls += 1
        if self.calls == self.interrupt_at:
            raise KeyboardInterrupt
        if self.calls == self.bug_at:
            raise ZeroDivisionError("a bug of ours")
        labels = type(image)((image.array > 100).astype(np.uint8), image.affine)
        return Segmentation(labels, self.names)


@pytest.fixture
def segmenter(monkeypatch: pytest.MonkeyPatch) -> Bright:
    fake = Bright()
    monkeypatch.setattr(batch_run, "_segmenter", lambda job, evolves: fake)
    return fake


def write_scan(path: Path) -> None:
    array = np.full((10, 11, 12), -1000, np.int16)
    array[3:6, 3:6, 3:7] = 200
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, AFFINE), path)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    for name in ("a", "sub/b"):
        write_scan(tmp_path / "in" / f"{name}.nii.gz")
    return tmp_path / "in"


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["segment", *map(str, words), "--bundle", "bright"])


def rows(out: Path) -> dict[str, dict[str, str]]:
    with (out / "cases.csv").open(newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def statuses(out: Path) -> dict[str, str]:
    return {name: row["status"] for name, row in rows(out).items()}


def test_a_folder_becomes_a_folder(segmenter: Bright, scans: Path, tmp_path: Path) -> None:
    result = run(scans, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    files = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    beside = {"cases.csv", "run.json", "report.html"}
    assert files == {"a.nii.gz", "sub/b.nii.gz", "overlays/a.png", "overlays/sub/b.png", *beside}
    assert "2 of 2 done, 0 failed" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("flag", [("--no-report",), ("--shard", "1/2")])
def test_no_report_is_written_where_none_is_wanted_and_for_a_part_of_a_run(segmenter, scans, tmp_path, flag) -> None:
    assert run(scans, "-o", tmp_path / "out", *flag).exit_code == 0
    assert not (tmp_path / "out/report.html").exists()


def test_a_shard_tells_of_its_own_cases_and_how_they_come_together(
    segmenter: Bright, scans: Path, tmp_path: Path
) -> None:
    said = run(scans, "-o", tmp_path / "out", "--shard", "1/2").stderr
    assert "1 of 1 done, 0 failed, in" in said
    assert "Labels, cases-1-of-2.csv, run-1-of-2.json" in said and "--resume and without --shard" in said


def test_a_report_that_cannot_be_written_takes_nothing_from_the_results(segmenter, scans, tmp_path) -> None:
    (tmp_path / "out" / "report.html").mkdir(parents=True)
    result = run(scans, "-o", tmp_path / "out", "-v")
    assert result.exit_code == 0
    assert "There is no report.html" in result.stderr
    assert statuses(tmp_path / "out") == {"a": "ok", "sub/b": "ok"}


def test_run_json_holds_the_command_line(segmenter: Bright, scans: Path, tmp_path: Path) -> None:
    run(scans, "-o", tmp_path / "out", "--format", "nifti", "--device", "cpu")
    arguments = json.loads((tmp_path / "out/run.json").read_text())["arguments"]
    assert arguments["inputs"] == [str(scans)]
    assert (arguments["format"], arguments["device"], arguments["bundle"]) == (["nifti"], "cpu", "bright")


def test_a_mixed_folder_with_a_broken_file_is_done_but_for_that_file(
    segmenter: Bright, scans: Path, tmp_path: Path
) -> None:
    (scans / "broken.nii.gz").write_bytes(b"\x1f\x8b no gzip")
    for file in (DEMO / "liver_dicom").glob("*.dcm"):
        (scans / f"dicom_{file.name}").write_bytes(file.read_bytes())
    result = run(scans, "-o", tmp_path / "out")
    assert result.exit_code == 1
    found = statuses(tmp_path / "out")
    assert found.pop("broken") == "failed"
    assert sorted(found.values()) == ["ok"] * 3
    assert "1 x " in result.stderr
    assert "broken" in result.stderr


def test_one_scan_becomes_one_file(segmenter: Bright, scans: Path, tmp_path: Path) -> None:
    target = tmp_path / "kidneys.nii.gz"
    assert run(scans / "a.nii.gz", "-o", target).exit_code == 0
    assert np.asanyarray(nib.load(target).dataobj).sum() == 3 * 3 * 4
    assert {path.name for path in tmp_path.iterdir()} == {"in", "kidneys.nii.gz"}
    refused = run(scans / "a.nii.gz", "-o", target)
    assert refused.exit_code == 2
    assert refused.stderr.endswith("exists already: --overwrite replaces it\n")  # --resume is for folders
    assert run(scans / "a.nii.gz", "-o", target, "--overwrite").exit_code == 0


@pytest.mark.parametrize("name", ["kidneys.png", "kidneys.dcm", "kidneys.mhd"])
def test_a_file_that_cannot_hold_the_labels_is_refused(
    segmenter: Bright, scans: Path, tmp_path: Path, name: str
) -> None:
    result = run(scans / "a.nii.gz", "-o", tmp_path / name)
    assert result.exit_code == 2
    assert ".nii.gz" in result.stderr
    assert not (tmp_path / name).exists()


def test_a_picture_becomes_a_png_with_its_contours_over_it(segmenter: Bright, scans: Path, tmp_path: Path) -> None:
    Image.fromarray(np.full((6, 7), 200, np.uint8)).save(scans / "photo.png")
    segmenter.spatial_dims = 2
    assert run(scans / "photo.png", "-o", tmp_path / "out").exit_code == 0
    assert (np.asarray(Image.open(tmp_path / "out/photo.png")) == 1).all()
    assert (tmp_path / "out/overlays/photo.png").is_file()
    assert "area_px_kidney" in (tmp_path / "out/cases.csv").read_text()


def two_series(folder: Path) -> list[str]:
    import pydicom

    uids = ["1.2.3.1", "1.2.3.2"]
    for series in uids:
        for file in sorted((DEMO / "liver_dicom").glob("*.dcm"))[:6]:
            dataset = pydicom.dcmread(file)
            dataset.SeriesInstanceUID = series
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{series}.{file.stem.lstrip('0')}"
            folder.mkdir(exist_ok=True)
            dataset.save_as(folder / f"{series}_{file.name}")
    return uids


def test_two_series_in_one_folder_are_two_cases_and_one_can_be_chosen(segmenter: Bright, tmp_path: Path) -> None:
    uids = two_series(tmp_path / "in")
    assert run(tmp_path / "in", "-o", tmp_path / "out").exit_code == 0
    assert list(statuses(tmp_path / "out").values()) == ["ok", "ok"]
    refused = run(tmp_path / "in", "-o", tmp_path / "one.nii.gz")
    assert refused.exit_code == 2
    assert "--series" in refused.stderr
    assert run(tmp_path / "in", "-o", tmp_path / "one.nii.gz", "--series", uids[1]).exit_code == 0
    assert nib.load(tmp_path / "one.nii.gz").shape == (512, 512, 6)


def test_results_inside_the_input_folder_are_not_read_again(segmenter: Bright, scans: Path) -> None:
    assert run(scans, "-o", scans / "labels").exit_code == 0
    assert run(scans, "-o", scans / "labels", "--overwrite").exit_code == 0
    assert set(statuses(scans / "labels")) == {"a", "sub/b"}
    other = run(scans, "-o", scans / "other")
    assert set(statuses(scans / "other")) == {"a", "sub/b"}
    assert "4 of them are results of earlier runs: left out" in other.stderr  # two label maps and two overlays
    assert run(scans, "-o", scans).exit_code == 2


@pytest.mark.parametrize("words", [["nothing-here"], []])
def test_what_cannot_start_writes_nothing(segmenter: Bright, tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "empty").mkdir()
    inputs = [tmp_path / word for word in words] or [tmp_path / "empty"]
    result = run(*inputs, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith("evoseg: ")
    assert not (tmp_path / "out").exists()


def test_without_the_bundle_nothing_is_written(scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(job, evolves):
        raise InputError(f"no bundle {job.bundle}")

    monkeypatch.setattr(batch_run, "_segmenter", refuse)
    assert run(scans, "-o", tmp_path / "out").exit_code == 2
    assert not (tmp_path / "out").exists()


def test_existing_results_are_kept_unless_asked(segmenter: Bright, scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(scans, "-o", out)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch_run, "_segmenter", lambda *_, **__: pytest.fail("loaded the network for nothing"))
        refused = run(scans, "-o", out)
    assert refused.exit_code == 2
    assert "--resume" in refused.stderr
    assert "--overwrite" in refused.stderr
    assert run(scans, "-o", out, "--resume").exit_code == 0
    assert segmenter.calls == 2
    assert run(scans, "-o", out, "--overwrite").exit_code == 0
    assert segmenter.calls == 4
    assert run(scans, "-o", out, "--resume", "--overwrite").exit_code == 2


def test_control_c_leaves_a_record_and_exits_with_130(segmenter: Bright, scans: Path, tmp_path: Path) -> None:
    segmenter.interrupt_at = 2
    result = run(scans, "-o", tmp_path / "out")
    assert result.exit_code == 130
    assert "1 of 2 done, 0 failed, 1 not tried" in result.stderr
    assert sorted(statuses(tmp_path / "out").values()) == ["ok", "skipped"]


def test_quiet_says_nothing_and_the_log_file_has_the_traceback(segmenter: Bright, scans: Path, tmp_path: Path) -> None:
    segmenter.bug_at = 2
    result = run(scans, "-o", tmp_path / "out", "-q", "--log-file", tmp_path / "log.txt")
    assert (result.exit_code, result.output) == (1, "")
    log = (tmp_path / "log.txt").read_text()
    assert "Traceback" in log
    assert "a bug of ours" in log
    segmenter.bug_at = 4
    shown = run(scans, "-o", tmp_path / "out", "--overwrite").output
    assert "a bug of ours" in shown
    assert "Traceback" not in shown


def test_the_demo_liver_has_no_bright_kidney_and_is_flagged(segmenter: Bright, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(Bright, "__call__", lambda self, image, *_, **__: empty(image, self.names))
    assert run(DEMO, "-o", tmp_path / "out").exit_code == 0
    found = rows(tmp_path / "out")
    assert set(found) == {"trunk", "liver_dicom"}
    assert found["liver_dicom"]["flags"] == "EMPTY:kidney"


def empty(image, names):
    return Segmentation(type(image)(np.zeros(image.array.shape, np.uint8), image.affine), names)


def write_dicom(folder: Path, write_series: Callable[..., list[Path]], **given: Any) -> None:
    stack = np.full((5, 6, 7), -1000, np.int16)
    stack[1:3, 2:5, 3:5] = 200
    write_series(folder, stack, StudyInstanceUID="1.2.3.4", FrameOfReferenceUID="1.2.3.5", **given)


def test_dicom_results_lie_beside_the_others_and_are_kept_by_resume(
    segmenter: Bright, write_series: Callable[..., list[Path]], tmp_path: Path
) -> None:
    write_dicom(tmp_path / "in/ct", write_series)
    out, formats = tmp_path / "out", ("--format", "nifti", "--format", "dicom-seg", "--format", "rtstruct")
    result = run(tmp_path / "in", "-o", out, *formats)
    assert result.exit_code == 0, result.output
    names = ("ct.nii.gz", "ct.seg.dcm", "ct.rtstruct.dcm")
    before = {name: (out / name).read_bytes() for name in names}
    assert read_segmentation(out / "ct.seg.dcm").array.sum() == read_nifti(out / "ct.nii.gz").array.sum() == 12
    assert run(tmp_path / "in", "-o", out, *formats, "--resume").exit_code == 0
    assert segmenter.calls == 1
    (out / "ct.rtstruct.dcm").write_bytes(before["ct.rtstruct.dcm"][:-100])
    assert run(tmp_path / "in", "-o", out, *formats, "--resume").exit_code == 0
    assert segmenter.calls == 2
    assert {name: (out / name).read_bytes() for name in names} == before


def test_a_scan_that_is_no_dicom_has_no_dicom_result_and_the_others_have(
    segmenter: Bright, scans: Path, write_series: Callable[..., list[Path]], tmp_path: Path
) -> None:
    write_dicom(scans / "ct", write_series)
    result = run(scans, "-o", tmp_path / "out", "--format", "dicom-seg")
    assert result.exit_code == 1
    assert statuses(tmp_path / "out") == {"a": "failed", "ct": "ok", "sub/b": "failed"}
    assert "2 x NO_REFERENCE" in result.stderr
    assert segmenter.calls == 1  # refused before there was anything to write


def test_one_series_becomes_one_dicom_file(
    segmenter: Bright, write_series: Callable[..., list[Path]], tmp_path: Path
) -> None:
    write_dicom(tmp_path / "in", write_series)
    assert run(tmp_path / "in", "-o", tmp_path / "kidneys.seg.dcm").exit_code == 0
    assert read_segmentation(tmp_path / "kidneys.seg.dcm").array.sum() == 12


def test_a_tilted_scan_is_refused_or_by_choice_segmented_on_its_own_grid_in_every_format(
    segmenter: Bright, write_series: Callable[..., list[Path]], tmp_path: Path
) -> None:
    write_dicom(tmp_path / "in/ct", write_series, positions=[(0, 0.5 * k, 2 * k) for k in range(5)])
    out, formats = tmp_path / "out", ("--format", "nifti", "--format", "dicom-seg", "--format", "rtstruct")
    assert run(tmp_path / "in", "-o", out, *formats).exit_code == 1
    assert rows(out)["ct"]["code"] == "GANTRY_TILT"
    assert run(tmp_path / "in", "-o", out, *formats, "--resume", "--allow-tilt").exit_code == 0
    row = rows(out)["ct"]
    assert "TILTED" in row["flags"].split(";")
    assert float(row["volume_ml_kidney"]) == pytest.approx(12 * 0.5 * 0.75 * 2 / 1000, rel=1e-3)
    assert nib.load(out / "ct.nii.gz").affine[1, 2] == -0.5  # RAS
    assert run(tmp_path / "in", "-o", out, *formats, "--resume", "--allow-tilt").exit_code == 0
    assert segmenter.calls == 1  # what is there was found whole


def test_a_zip_is_segmented_resumed_and_leaves_nothing_behind(
    segmenter: Bright, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    archive = Path(shutil.make_archive(str(tmp_path / "studies"), "zip", scans))
    out = tmp_path / "out"
    assert run(archive, "-o", out).exit_code == 0
    assert {name: row["source"] for name, row in rows(out).items()} == dict.fromkeys(
        ("studies/a", "studies/sub/b"), str(archive)
    )
    assert (out / "studies/sub/b.nii.gz").exists() and not list((tmp_path / "temporary").iterdir())
    assert run(archive, "-o", out, "--resume").exit_code == 0
    assert segmenter.calls == 2
    write_scan(scans / "c.nii.gz")
    shutil.make_archive(str(tmp_path / "studies"), "zip", scans)
    os.utime(archive, (time.time() + 9, time.time() + 9))
    assert run(archive, "-o", out, "--resume").exit_code == 0
    assert segmenter.calls == 5  # another zip: all of it


def test_a_refused_file_of_a_zip_is_named_by_the_zip(segmenter: Bright, scans: Path, tmp_path: Path) -> None:
    (scans / "a.nii.gz").write_bytes((scans / "a.nii.gz").read_bytes()[:100])
    archive = Path(shutil.make_archive(str(tmp_path / "studies"), "zip", scans))
    assert run(archive, "-o", tmp_path / "out").exit_code == 1
    assert rows(tmp_path / "out")["studies/a"]["message"].startswith(f"{archive}/a.nii.gz is cut short")


def test_a_scan_of_another_modality_is_flagged_and_warned_of(
    segmenter: Bright, write_series: Callable[..., list[Path]], tmp_path: Path
) -> None:
    write_dicom(tmp_path / "in/brain", write_series, Modality="MR")
    result = run(tmp_path / "in", "-o", tmp_path / "out")
    assert result.exit_code == 0
    assert "MODALITY:MR" in rows(tmp_path / "out")["brain"]["flags"].split(";")
    assert "brain is MR, the bundle takes CT: do not rely on it" in " ".join(result.stderr.split())
