"""`evoseg pacs` as it is typed: what it shows, leaves and sends, its exit status, and what no log may hold."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest
from torch import nn
from typer.testing import CliRunner, Result

from pipeline.cli.app import app
from pipeline.inference.segmenter import Segmentation, Segmenter
from pipeline.io.dicom_seg import read_segmentation
from pipeline.io.folder_lock import held
from pipeline.io.segments import Segment
from pipeline.io.volume import Volume
from tests.io.dicomweb_server import SERIES, STUDY, Pacs, Reply, pacs, start

__all__ = ["pacs", "start"]

BUNDLE = "kidney_ct_regression_segmentation"
SECRETS = ("Roe", "Jane", "P-007", "A-4711", "s3cret")


class Bright:
    """Stands in for a Segmenter: what is brighter than 100 is kidney; `behave` is called before."""

    name, version, weights_sha256, device = "bright", "1.0", "ab" * 32, "cpu"
    licence = ""
    names, segments = {1: "kidney"}, {1: Segment(name="kidney")}
    spatial_dims, modality, field_of_view_mm, numbers_objects = 3, "CT", None, False
    network = nn.Identity()

    def __init__(self) -> None:
        self.calls, self.behave = 0, lambda: None

    def __call__(self, image: Volume, prompt=None, *, trajectory: bool = False) -> Segmentation:
        self.calls += 1
        self.behave()
        return Segmentation(Volume((image.array > 100).astype(np.uint8), image.affine), self.names)


@pytest.fixture(autouse=True)
def environ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVOSEG_PACS_TOKEN", raising=False)
    monkeypatch.setenv("EVOSEG_PACS_USER", "ann")
    monkeypatch.setenv("EVOSEG_PACS_PASSWORD", "s3cret")
    monkeypatch.setattr("pipeline.io.web._AGAIN_AFTER_S", ())  # no waiting in a test


@pytest.fixture
def segmenter(monkeypatch: pytest.MonkeyPatch) -> Bright:
    fake = Bright()
    monkeypatch.setattr(Segmenter, "from_bundle", lambda *args, **settings: fake)
    return fake


@pytest.fixture
def stored(pacs: Pacs, tmp_path: Path, write_series: Callable[..., list[Path]]) -> Pacs:
    stack = np.full((4, 6, 8), -1000, np.int16)
    stack[1:3, 2:4, 2:6] = 200
    patient = {"PatientName": "Roe^Jane", "PatientID": "P-007", "AccessionNumber": "A-4711", "StudyDate": "20260102"}
    tags = {"StudyInstanceUID": STUDY, "FrameOfReferenceUID": "1.2.5", "SeriesDescription": "liver", **patient}
    pacs.store(*write_series(tmp_path / "in", stack, **tags))
    return pacs


def run(verb: str, server: Pacs, *words: str | Path) -> Result:
    return CliRunner().invoke(app, ["pacs", verb, server.url, *map(str, words)])


def segment(server: Pacs, out: Path, *words: str) -> Result:
    return run("segment", server, "-o", out, "--bundle", BUNDLE, "--patient-id", "P-007", *words)


def results(server: Pacs) -> list[Path | bytes]:
    return [content for uid, content in server.files.items() if uid.startswith("2.25.")]


def test_query_lists_uids_and_no_patient(stored: Pacs) -> None:
    ran = run("query", stored, "--patient-id", "P-007")
    assert ran.exit_code == 0
    assert all(text in ran.stdout for text in ("20260102", "CT", " 4 ", STUDY, SERIES))
    assert not any(text in ran.output for text in SECRETS)


def test_pull_leaves_the_files_below_study_and_series(stored: Pacs, tmp_path: Path) -> None:
    ran = run("pull", stored, "-o", tmp_path / "out", "--modality", "CT")
    assert ran.exit_code == 0, ran.output
    folder = tmp_path / "out" / STUDY / SERIES
    assert {path.stem: path.read_bytes() for path in folder.iterdir()} == stored.files


def test_pull_of_a_series_that_cannot_be_had_exits_with_1(stored: Pacs, tmp_path: Path) -> None:
    stored.instead["instances"] = [Reply(404)]
    ran = run("pull", stored, "-o", tmp_path / "out", "--modality", "CT")
    assert ran.exit_code == 1 and "PULL_FAILED" in ran.stderr


def test_segment_sends_a_segmentation_that_refers_to_its_series(stored: Pacs, tmp_path: Path, segmenter) -> None:
    ran = segment(stored, tmp_path / "out")
    assert ran.exit_code == 0, ran.output
    (sent,) = results(stored)
    (tmp_path / "back.seg.dcm").write_bytes(sent)
    labels = read_segmentation(tmp_path / "back.seg.dcm")
    assert np.count_nonzero(labels.array) == 2 * 2 * 4  # voxels of 200
    header = pydicom.dcmread(tmp_path / "back.seg.dcm")
    assert header.StudyInstanceUID == STUDY
    assert header.ReferencedSeriesSequence[0].SeriesInstanceUID == SERIES
    assert (tmp_path / "out" / "cases.csv").is_file()


def test_segment_again_does_nothing_and_without_its_journal_sends_the_same_object(stored, tmp_path, segmenter) -> None:
    for _ in range(2):
        assert segment(stored, tmp_path / "out").exit_code == 0
    assert segmenter.calls == 1
    before = results(stored)
    assert segment(stored, tmp_path / "elsewhere").exit_code == 0
    assert segmenter.calls == 2 and results(stored) == before


def test_a_folder_in_which_another_run_is_at_work_is_refused(stored: Pacs, tmp_path: Path, segmenter) -> None:
    with ThreadPoolExecutor(1) as elsewhere:
        other = held(tmp_path / "out")
        elsewhere.submit(other.__enter__).result()
        ran = segment(stored, tmp_path / "out")
        elsewhere.submit(other.__exit__, None, None, None).result()
    assert ran.exit_code == 2 and "another run is at work" in ran.stderr
    assert segmenter.calls == 0 and not results(stored)


def test_results_of_earlier_series_stay_in_the_table(stored: Pacs, tmp_path: Path, segmenter, write_series) -> None:
    segment(stored, tmp_path / "out", "--no-push")
    tags = {"StudyInstanceUID": STUDY, "FrameOfReferenceUID": "1.2.5", "PatientID": "P-007"}
    stored.store(*write_series(tmp_path / "in2", np.zeros((4, 6, 8), np.int16), series="1.2.9", **tags))
    segment(stored, tmp_path / "out", "--no-push")
    assert segmenter.calls == 2
    table = (tmp_path / "out" / "cases.csv").read_text()
    assert SERIES in table and "1.2.9" in table


def test_both_dicom_formats_are_sent_and_others_stay(stored: Pacs, tmp_path: Path, segmenter) -> None:
    formats = [word for name in ("nifti", "dicom-seg", "rtstruct") for word in ("--format", name)]
    assert segment(stored, tmp_path / "out", *formats).exit_code == 0
    assert len(results(stored)) == 2
    assert (tmp_path / "out" / f"{SERIES}.nii.gz").is_file()


def test_nothing_is_sent_by_choice(stored: Pacs, tmp_path: Path, segmenter) -> None:
    assert segment(stored, tmp_path / "out", "--no-push", "--format", "nifti").exit_code == 0
    assert results(stored) == []
    assert segment(stored, tmp_path / "out", "--format", "nifti").exit_code == 2  # nothing to send


def test_push_sends_the_results_of_a_folder_and_a_second_time_changes_nothing(stored, tmp_path, segmenter) -> None:
    segment(stored, tmp_path / "out", "--no-push", "--format", "dicom-seg", "--format", "nifti")
    for _ in range(2):
        assert run("push", stored, tmp_path / "out").exit_code == 0
    assert len(results(stored)) == 1


def test_push_of_what_the_server_refuses_exits_with_1(stored: Pacs, tmp_path: Path) -> None:
    stored.instead["studies"] = [Reply(409)]
    assert run("push", stored, next((tmp_path / "in").iterdir())).exit_code == 1
    assert run("push", stored, tmp_path / "nothing").exit_code == 2


def test_the_modality_is_the_bundles_unless_one_is_given(stored: Pacs, tmp_path: Path, segmenter) -> None:
    segment(stored, tmp_path / "out")
    assert stored.queries[0]["00080060"] == "CT"
    assert segment(stored, tmp_path / "other", "--modality", "MR").exit_code == 2  # none matches


@pytest.mark.parametrize("verb", ["query", "pull", "segment"])
def test_a_whole_archive_is_never_meant(stored: Pacs, tmp_path: Path, verb: str) -> None:
    more = {"query": [], "pull": ["-o", tmp_path], "segment": ["-o", tmp_path, "--bundle", BUNDLE]}[verb]
    ran = run(verb, stored, *more)
    assert ran.exit_code == 2 and "--patient-id" in ran.stderr
    assert stored.asked == []


def test_wrong_credentials_are_told_before_the_network_is_loaded(stored: Pacs, tmp_path: Path, segmenter) -> None:
    stored.instead["series"] = [Reply(401)]
    ran = segment(stored, tmp_path / "out")
    assert ran.exit_code == 2 and "EVOSEG_PACS_PASSWORD" in ran.stderr and "s3cret" not in ran.output
    assert not (tmp_path / "out").exists()


def test_a_watch_ends_by_sigterm_with_status_0_after_what_it_did(stored, tmp_path, segmenter, monkeypatch) -> None:
    looks = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("pipeline.cli.pacs.time", SimpleNamespace(sleep=sleep))
    before = signal.getsignal(signal.SIGTERM)
    ran = segment(stored, tmp_path / "out", "--watch", "30")
    assert ran.exit_code == 0, ran.output
    assert looks == [30, 30, 30] and len(results(stored)) == 1
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_run_that_is_stopped_exits_with_130_and_goes_on(stored: Pacs, tmp_path: Path, segmenter) -> None:
    def stop() -> None:
        segmenter.behave = lambda: None
        raise KeyboardInterrupt

    segmenter.behave = stop
    assert segment(stored, tmp_path / "out").exit_code == 130
    assert results(stored) == []
    assert segment(stored, tmp_path / "out").exit_code == 0
    assert len(results(stored)) == 1


def test_no_log_names_the_patient_or_the_password(stored: Pacs, tmp_path: Path, segmenter, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    log = tmp_path / "log.txt"
    stored.instead["studies"] = [Reply(409, b"Roe^Jane is unknown", "text/plain")]
    assert segment(stored, tmp_path / "out", "-v", "--log-file", str(log)).exit_code == 1
    assert segment(stored, tmp_path / "out", "-v", "--log-file", str(log)).exit_code == 0
    told = log.read_text() + caplog.text + "".join(map(str, (record.args for record in caplog.records)))
    written = [path for path in (tmp_path / "out").rglob("*") if path.suffix in (".csv", ".json", ".jsonl", ".html")]
    assert SERIES in told and len(written) >= 3
    for text in (told, *(path.read_text() for path in written), *map(str, (tmp_path / "out").rglob("*"))):
        assert not any(secret in text for secret in SECRETS)
