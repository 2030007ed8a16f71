"""A batch does what it can: one bad case stops nothing, nothing is half-written, and a killed run goes on."""

from __future__ import annotations

import csv
import errno
import gzip
import json
import os
from pathlib import Path
from threading import Event

import nibabel as nib
import numpy as np
import pytest
from torch import nn

from pipeline.errors import CaseError, InputError
from pipeline.inference import recording, records, stages
from pipeline.inference.batch import segment_folder
from pipeline.inference.plan import Draw, Plan
from pipeline.inference.records import CaseResult
from pipeline.inference.segmenter import EMPTY_INITIAL, Prompt, Segmentation
from pipeline.inference.trajectory import Trajectory
from pipeline.io.discover import Case, find_cases
from pipeline.io.segments import Segment
from pipeline.io.volume import Volume
from pipeline.io.whole_file import append_text

AFFINE = np.diag([2.0, 2.0, 5.0, 1.0])
LETTER = -1000  # of air; a scan's first voxel is its name's first letter above it
BOX_VOXELS = 3 * 3 * 4
BOX_ML = BOX_VOXELS * 2 * 2 * 5 / 1000


class Threshold:
    """Stands in for a Segmenter: brighter than 100 is kidney; `behave` is called with the first letter of the case.

    An initial mask is what it returns; its trajectory ends where it begins.
    """

    name, version, weights_sha256 = "threshold", "1.0", "abc"
    licence = "Weights: research use only."
    names, segments = {1: "kidney"}, {1: Segment(name="kidney")}
    spatial_dims, modality, device = 3, "CT", "cpu"
    numbers_objects, network = False, nn.Identity()
    field_of_view_mm = None

    def __init__(self, behave=lambda letter: None) -> None:
        self.calls, self.behave = 0, behave

    def __call__(self, image: Volume, prompt: Prompt | None = None, *, trajectory: bool = False) -> Segmentation:
        self.calls += 1
        self.behave(chr(int(image.array[0, 0, 0]) - LETTER))
        bright = Volume((image.array > 100).astype(np.uint8), image.affine)
        given = prompt is not None and prompt.initial.array.any()
        levels = Volume(np.stack([bright.array, bright.array], axis=-1) - np.float32(0.5), image.affine)
        return Segmentation(
            labels=prompt.initial if given else bright,
            names=self.names,
            trajectory=Trajectory((0.0, 1.0), levels, (0, 0, 0), pixel_mm=1.0) if trajectory else None,
            flags=(EMPTY_INITIAL,) if prompt is not None and not given else (),
        )


def raising(error: BaseException, on: str):
    """On the case of this letter: cases reach the network in no certain order."""

    def behave(letter: str) -> None:
        if letter == on:
            raise error

    return behave


def write_scan(path: Path) -> Path:
    array = np.full((10, 11, 12), -1000, np.int16)
    array[3:6, 3:6, 3:7] = 200
    array[0, 0, 0] = LETTER + ord(path.name[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, AFFINE), path)
    return path


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    for name in ("a", "b", "c"):
        write_scan(tmp_path / "in" / f"{name}.nii.gz")
    return tmp_path / "in"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def table(out: Path) -> list[dict[str, str]]:
    with (out / "cases.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def column(out: Path, name: str) -> list[str]:
    return [row[name] for row in table(out)]


def written(out: Path) -> set[str]:
    return {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}


def test_every_case_is_written_on_its_own_grid_and_measured(scans: Path, out: Path) -> None:
    results = segment_folder(find_cases(scans), Threshold(), out)
    assert [result.status for result in results] == ["ok"] * 3
    labels = nib.load(out / "a.nii.gz")
    assert (labels.affine == AFFINE).all()
    assert np.asanyarray(labels.dataobj).sum() == BOX_VOXELS
    assert column(out, "volume_ml_kidney") == [f"{BOX_ML:.6g}"] * 3
    assert column(out, "status") == ["ok"] * 3


def test_a_broken_file_is_refused_by_code_and_the_others_are_done(scans: Path, out: Path) -> None:
    whole = (scans / "b.nii.gz").read_bytes()
    (scans / "b.nii.gz").write_bytes(whole[: len(whole) // 2])
    segment_folder(find_cases(scans), Threshold(), out)
    assert column(out, "status") == ["ok", "failed", "ok"]
    assert column(out, "code") == ["", "TRUNCATED", ""]
    assert written(out) == {"a.nii.gz", "c.nii.gz", "cases.csv", "run.json"}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CaseError("COLOUR", "an RGB scan"), "COLOUR"),
        (MemoryError(), "OUT_OF_MEMORY"),
        (ZeroDivisionError("a bug"), "INTERNAL"),
    ],
)
def test_whatever_goes_wrong_with_a_case_has_a_code_and_a_message(scans: Path, out: Path, error, code) -> None:
    segment_folder(find_cases(scans), Threshold(raising(error, on="b")), out)
    assert column(out, "code") == ["", code, ""]
    assert column(out, "message")[1]


def test_a_full_disk_leaves_no_half_of_a_case_and_the_batch_goes_on(scans: Path, out: Path, monkeypatch) -> None:
    write = stages.write_labels

    def full(path: Path, *args, **options) -> None:
        write(path, *args, **options)
        if path.name == "b.nii.gz":
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(stages, "write_labels", full)
    segment_folder(find_cases(scans), Threshold(), out)
    assert column(out, "code") == ["", "WRITE_FAILED", ""]
    assert "No space left" in column(out, "message")[1]
    assert not (out / "b.nii.gz").exists()


def test_a_folder_that_cannot_be_written_to_is_refused_before_the_first_case(scans: Path, out: Path) -> None:
    (out / "cases.csv").mkdir(parents=True)  # root may write to any folder; no user may write over this
    segmenter = Threshold()
    with pytest.raises(InputError, match=r"cases\.csv could not be written"):
        segment_folder(find_cases(scans), segmenter, out, Plan(overwrite=True))
    assert segmenter.calls == 0


def test_a_record_that_cannot_be_written_does_not_stop_the_batch(scans: Path, out: Path, monkeypatch, caplog) -> None:
    write = recording.write_cases

    def full(path: Path, results) -> None:
        if results:  # the first record, of no case yet, still had room
            raise CaseError("WRITE_FAILED", "cases.csv could not be written (disk full)")
        write(path, results)

    monkeypatch.setattr(recording, "write_cases", full)
    assert [result.status for result in segment_folder(find_cases(scans), Threshold(), out)] == ["ok"] * 3
    assert "disk full" in caplog.text


class CtrlC:
    """Reaches the thread that reports, once."""

    pressed = False

    def __call__(self, result: CaseResult) -> None:
        if not self.pressed:
            self.pressed = True
            raise KeyboardInterrupt


def test_an_interrupted_run_completes_what_it_writes_and_is_resumed(scans: Path, out: Path) -> None:
    for name in "defg":
        write_scan(scans / f"{name}.nii.gz")
    with pytest.raises(KeyboardInterrupt):
        segment_folder(find_cases(scans), Threshold(), out, Plan(jobs=1), report=CtrlC())
    statuses = dict(zip(column(out, "id"), column(out, "status"), strict=True))
    assert set(statuses.values()) == {"ok", "skipped"}
    done = {name for name, status in statuses.items() if status == "ok"}
    assert written(out) == {f"{name}.nii.gz" for name in done} | {"cases.csv", "run.json"}
    again = Threshold()
    segment_folder(find_cases(scans), again, out, Plan(resume=True))
    assert again.calls == 7 - len(done)
    assert column(out, "status") == ["ok"] * 7


def test_an_interruption_in_another_thread_ends_the_run_too(scans: Path, out: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        segment_folder(find_cases(scans), Threshold(raising(KeyboardInterrupt(), on="a")), out)
    assert "skipped" in column(out, "status")


def test_a_run_interrupted_between_two_files_of_a_case_leaves_no_labels_of_it(scans: Path, out: Path) -> None:
    def draw(image: Volume, labels: Volume, path: Path, *, names, initial) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segment_folder(find_cases(scans), Threshold(), out, draw=Draw(overlay=draw))
    assert written(out) == {"cases.csv", "run.json"}


def test_a_record_is_there_after_every_case(scans: Path, out: Path) -> None:
    unrecorded: list[str] = []

    def report(result: CaseResult) -> None:
        unrecorded.extend({result.id} - set(column(out, "id")))

    segment_folder(find_cases(scans), Threshold(), out, report=report)
    assert unrecorded == []


def test_resuming_takes_a_failed_case_up_again(scans: Path, out: Path) -> None:
    segment_folder(find_cases(scans), Threshold(raising(MemoryError(), on="a")), out)
    again = Threshold()
    segment_folder(find_cases(scans), again, out, Plan(resume=True))
    assert again.calls == 1
    assert sorted(column(out, "status")) == ["ok"] * 3


def test_resuming_does_not_trust_a_result_cut_short(scans: Path, out: Path) -> None:
    segment_folder(find_cases(scans), Threshold(), out)
    packed = (out / "b.nii.gz").read_bytes()
    (out / "b.nii.gz").write_bytes(packed[:-20])
    again = Threshold()
    segment_folder(find_cases(scans), again, out, Plan(resume=True))
    assert again.calls == 1
    assert gzip.decompress((out / "b.nii.gz").read_bytes()) == gzip.decompress(packed)


def test_resuming_does_not_trust_other_weights(scans: Path, out: Path) -> None:
    segment_folder(find_cases(scans), Threshold(), out)
    again = Threshold()
    again.weights_sha256 = "other"
    segment_folder(find_cases(scans), again, out, Plan(resume=True))
    assert again.calls == 3


def test_resuming_does_not_trust_a_result_of_another_input(scans: Path, out: Path, tmp_path: Path) -> None:
    segment_folder(find_cases(scans), Threshold(), out)
    write_scan(tmp_path / "other" / "a.nii.gz")
    again = Threshold()
    segment_folder(find_cases(tmp_path / "other"), again, out, Plan(resume=True))
    assert again.calls == 1
    assert sorted(column(out, "id")) == ["a", "b", "c"]  # the rows of the earlier run are kept


def test_resuming_does_not_trust_a_result_older_than_its_input(scans: Path, out: Path) -> None:
    segment_folder(find_cases(scans), Threshold(), out)
    made = (out / "b.nii.gz").stat().st_mtime
    os.utime(scans / "b.nii.gz", (made + 1, made + 1))
    again = Threshold()
    segment_folder(find_cases(scans), again, out, Plan(resume=True))
    assert again.calls == 1


def test_any_name_that_a_file_can_have_is_told_and_kept_by_resume(tmp_path: Path, out: Path) -> None:
    for name in ("two  blanks", "line\u2028end", os.fsdecode(b"J\xfcrgen")):  # the last is Latin-1, as on old CDs
        try:
            write_scan(tmp_path / name / "a.nii.gz")
        except OSError:
            pytest.skip("this file system has names in UTF-8 only")
        (tmp_path / name / "b.nii.gz").write_bytes(b"no scan")
    roots = sorted(path for path in tmp_path.iterdir() if path != out)
    segment_folder(find_cases(roots), Threshold(), out, Plan(arguments={"inputs": list(map(str, roots))}))
    assert column(out, "status") == ["ok", "failed"] * 3
    assert any(r"J\udcfcrgen" in source for source in column(out, "source"))
    assert json.loads((out / "run.json").read_bytes())["arguments"] == {"inputs": list(map(str, roots))}
    again = Threshold()
    segment_folder(find_cases(roots), again, out, Plan(resume=True))
    assert again.calls == 0


def test_a_killed_run_knows_any_name_from_its_journal(tmp_path: Path) -> None:
    result = CaseResult(id="a", source=os.fsdecode(b"J\xfcrgen \xe2\x80\xa8"), status="ok")
    files = records.RecordFiles(tmp_path)
    append_text(files.journal, records.journal_line(result))
    assert records.read_cases(files) == {"a": result}


def test_existing_results_are_refused_with_both_ways_out(scans: Path, out: Path) -> None:
    segment_folder(find_cases(scans), Threshold(), out)
    with pytest.raises(InputError, match=r"--resume.*--overwrite"):
        segment_folder(find_cases(scans), Threshold(), out)
    again = Threshold()
    segment_folder(find_cases(scans), again, out, Plan(overwrite=True))
    assert again.calls == 3


def test_resuming_does_not_touch_files_that_no_run_has_recorded(scans: Path, out: Path) -> None:
    write_scan(out / "a.nii.gz")
    before = (out / "a.nii.gz").read_bytes()
    with pytest.raises(InputError, match="exists already"):
        segment_folder(find_cases(scans), Threshold(), out, Plan(resume=True))
    assert (out / "a.nii.gz").read_bytes() == before


def test_an_older_result_does_not_stand_for_a_case_that_fails_now(scans: Path, out: Path) -> None:
    segment_folder(find_cases(scans), Threshold(), out)
    segment_folder(find_cases(scans), Threshold(raising(MemoryError(), on="a")), out, Plan(overwrite=True))
    assert not (out / "a.nii.gz").exists()
    assert (out / "b.nii.gz").exists()


def test_nothing_is_begun_after_the_first_failure_if_asked_so(scans: Path, out: Path) -> None:
    for name in "defg":
        write_scan(scans / f"{name}.nii.gz")
    (scans / "a.nii.gz").write_bytes(b"broken")
    told = Event()
    plan = Plan(on_error="stop", jobs=1)  # a, b and c are in memory while b waits here for a to be told of
    results = segment_folder(
        find_cases(scans), Threshold(lambda letter: told.wait(60)), out, plan, report=lambda result: told.set()
    )
    assert results[0].status == "failed"
    assert [result.status for result in results[3:]] == ["skipped"] * 4
    assert "a failed" in column(out, "message")[-1]


def test_run_json_names_the_weights_the_versions_and_the_counts(scans: Path, out: Path) -> None:
    segment_folder(find_cases(scans), Threshold(), out, Plan(arguments={"device": "auto"}))
    run = json.loads((out / "run.json").read_text())
    assert (run["bundle"], run["bundle_version"], run["weights_sha256"]) == ("threshold", "1.0", "abc")
    assert run["weights_licence"] == Threshold.licence
    assert run["software"]["numpy"] == np.__version__
    assert run["cases"] == {"ok": 3, "failed": 0, "skipped": 0}
    assert (run["arguments"], run["device"]) == ({"device": "auto"}, "cpu")
    assert run["started"] <= run["ended"]


def test_an_overlay_is_drawn_of_each_volume_and_removed_with_a_failed_one(scans: Path, out: Path) -> None:
    def draw(image: Volume, labels: Volume, path: Path, *, names, initial) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"picture")
        if path.stem == "b":
            raise ZeroDivisionError

    segment_folder(find_cases(scans), Threshold(), out, draw=Draw(overlay=draw))
    assert written(out) - {"cases.csv", "run.json"} == {"a.nii.gz", "c.nii.gz", "overlays/a.png", "overlays/c.png"}


def draw_trajectory(image: Volume, trajectory: Trajectory, folder: Path, *, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.gif").touch()


def test_a_trajectory_is_drawn_if_asked_for_and_removed_with_a_failed_one(scans: Path, out: Path) -> None:
    for segmenter in (Threshold(), Threshold(raising(MemoryError(), on="b"))):
        drawn = Draw(trajectory=draw_trajectory)
        segment_folder(find_cases(scans), segmenter, out, Plan(overwrite=True), draw=drawn)
    assert {name for name in written(out) if "trajectory" in name} == {f"trajectory/{i}/kidney.gif" for i in "ac"}
    doubt = {row["id"]: row["doubt"] for row in table(out)}
    assert not doubt["b"] and float(doubt["a"]) > 0


def test_a_trajectory_of_an_earlier_run_does_not_stand_beside_labels_of_this_one(scans: Path, out: Path) -> None:
    segment_folder(find_cases(scans), Threshold(), out, draw=Draw(trajectory=draw_trajectory))
    segment_folder(find_cases(scans), Threshold(), out, Plan(overwrite=True))
    assert not any("trajectory" in name for name in written(out))


class Left:
    """Prompts: of every case the left half of the box, or what `masks` says; read from a file of the case's name."""

    def __init__(self, folder: Path, masks: dict[str, slice] | None = None) -> None:
        self.folder, self.masks = folder, masks or {}

    def files(self, case: Case) -> tuple[Path, ...]:
        return (self.folder / f"{case.id}.nii.gz",)

    def __call__(self, case: Case, image: Volume) -> Prompt:
        if case.id == "b":
            raise CaseError("GRID_MISMATCH", "a mask of another scan")
        mask = np.zeros(image.array.shape, np.uint8)
        mask[3:6, 3:6, self.masks.get(case.id, slice(3, 5))] = 1
        return Prompt(initial=Volume(mask, image.affine))


def test_a_case_begins_with_its_mask_and_the_change_is_measured(scans: Path, out: Path) -> None:
    segment_folder(find_cases(scans), Threshold(), out, prompts=Left(scans, {"c": slice(0, 0)}))
    assert column(out, "code") == ["", "GRID_MISMATCH", ""]
    assert column(out, "volume_ml_initial") == [f"{BOX_ML / 2:.6g}", "", "0"]
    assert column(out, "volume_ml_kidney") == [f"{BOX_ML / 2:.6g}", "", f"{BOX_ML:.6g}"]
    assert column(out, "dice_to_initial") == ["1", "", ""]
    assert column(out, "flags") == ["", "", "EMPTY_INITIAL"]


def test_resuming_does_not_trust_a_result_older_than_its_mask(scans: Path, out: Path, tmp_path: Path) -> None:
    masks = Left(tmp_path / "masks")
    for name in "abc":
        write_scan(tmp_path / "masks" / f"{name}.nii.gz")
    segment_folder(find_cases(scans), Threshold(), out, prompts=masks)
    again = Threshold()
    segment_folder(find_cases(scans), again, out, Plan(resume=True), prompts=masks)
    assert again.calls == 0  # and b failed before it came to the network
    made = (out / "a.nii.gz").stat().st_mtime
    os.utime(tmp_path / "masks" / "a.nii.gz", (made + 1, made + 1))
    segment_folder(find_cases(scans), again, out, Plan(resume=True), prompts=masks)
    assert again.calls == 1


@pytest.mark.parametrize("other", [{"settings": {"steps": 4}}, {}])
def test_resuming_does_not_trust_other_settings(scans: Path, out: Path, other) -> None:
    segment_folder(find_cases(scans), Threshold(), out, Plan(settings={"steps": 2}))
    assert json.loads((out / "run.json").read_text())["steps"] == 2
    again = Threshold()
    segment_folder(find_cases(scans), again, out, Plan(resume=True, settings={"steps": 2}))
    assert again.calls == 0
    segment_folder(find_cases(scans), again, out, Plan(resume=True, **{"settings": {"steps": None}, **other}))
    assert again.calls == 3
