"""`evoseg pacs` with a real Orthanc: found, pulled, segmented by a shipped bundle, sent back, and read from there."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest

from pipeline.io.dicom_seg import read_segmentation
from pipeline.io.nifti import read_nifti
from pipeline.io.orientation import canonical
from tests.clinical.orthanc import PASSWORD, Orthanc, encrypted, environment, orthanc, self_signed

pytestmark = pytest.mark.clinical

ROOT = Path(__file__).resolve().parents[2]
LIVER = ROOT / "tests" / "data" / "demo" / "liver_dicom"
BUNDLE = "kidney_ct_regression_segmentation"
PATIENT = {"PatientName": "Roe^Jane", "PatientID": "P-007", "AccessionNumber": "A-4711", "StudyDate": "20260102"}
WITHIN_S = 600


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        yield running


def evoseg(*words: object, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "evoseg", "pacs", *map(str, words)]
    return subprocess.run(
        command, cwd=ROOT, env=environment(**environ), capture_output=True, text=True, check=False, timeout=WITHIN_S
    )


def done(*words: object, **environ: str) -> str:
    """What a command that must succeed has said."""
    ran = evoseg(*words, **environ)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout + ran.stderr


def patient(folder: Path, number: int, *, images: int = 20, **tags: str) -> list[Path]:
    """The demo's series as study `number` of Jane Roe, whom nobody knows."""
    folder.mkdir(parents=True)
    paths = []
    for path in sorted(LIVER.iterdir())[:images]:
        image = pydicom.dcmread(path)
        for keyword, value in {**PATIENT, **tags}.items():
            setattr(image, keyword, value)
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            setattr(image, keyword, f"{image[keyword].value[:58]}.{number}")
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        paths.append(folder / path.name)
        image.save_as(paths[-1])
    return paths


def listed(pacs: Orthanc, *words: str) -> list[list[str]]:
    """The rows of a query: date, modality, images, ..., study, series."""
    return [line.split() for line in done("query", pacs.url, *words).splitlines()[1:]]


def by_uid(folder: Path) -> dict[str, pydicom.Dataset]:
    return {str(each.SOPInstanceUID): each for each in map(pydicom.dcmread, sorted(folder.rglob("*.dcm")))}


def kidneys(folder: Path, write_series: Callable[..., list[Path]]) -> list[Path]:
    """The slices of the demo's trunk that show kidneys, as a CT series of Jane Roe."""
    trunk = read_nifti(ROOT / "tests" / "data" / "demo" / "trunk.nii.gz")
    slices = range(72, 101)
    last_x, last_y = (size - 1 for size in trunk.array.shape[:2])
    corners = [(trunk.affine @ [last_x, last_y, k, 1])[:3] * [-1, -1, 1] for k in slices]
    stack = np.stack([trunk.array[::-1, ::-1, k].T for k in slices]).astype(np.int16)
    tags = {"StudyInstanceUID": "1.2.3.30", "FrameOfReferenceUID": "1.2.3.31", "PixelSpacing": [3, 3]}
    return write_series(folder, stack, positions=np.round(corners, 6), series="1.2.3.32", **tags, **PATIENT)


def test_a_series_is_found_and_pulled_to_the_last_tag_and_pixel(pacs: Orthanc, tmp_path: Path) -> None:
    done("push", pacs.url, *patient(tmp_path / "in", 1))
    for words in (["--patient-id", "P-0*"], ["--accession", "A-4711"], ["--study-date", "20260101-20260103"]):
        ((date, modality, images, *_, study, series),) = listed(pacs, *words, "--modality", "CT")
        assert (date, modality, images) == ("20260102", "CT", "20")
    assert listed(pacs, "--patient-id", "P-008") == listed(pacs, "--study-date", "20260103-") == []
    done("pull", pacs.url, "-o", tmp_path / "pulled", "--study", study)
    pulled = by_uid(tmp_path / "pulled" / study / series)
    assert len(pulled) == 20
    assert pulled == by_uid(tmp_path / "in")  # JPEG 2000 stays JPEG 2000


def test_a_segmentation_goes_back_and_is_read_from_there(pacs: Orthanc, tmp_path: Path, write_series) -> None:
    done("push", pacs.url, *kidneys(tmp_path / "in", write_series))
    formats = ["--format", "dicom-seg", "--format", "rtstruct", "--format", "nifti"]
    words = ["segment", pacs.url, "-o", tmp_path / "out", "--bundle", BUNDLE, "--study", "1.2.3.30", *formats]
    told = done(*words, "-v", "--log-file", tmp_path / "log.txt") + (tmp_path / "log.txt").read_text()
    assert not any(secret in told for secret in ("Roe", "Jane", "P-007", "A-4711", PASSWORD))
    assert sorted(row[1] for row in listed(pacs, "--study", "1.2.3.30")) == ["CT", "RTSTRUCT", "SEG"]

    done("pull", pacs.url, "-o", tmp_path / "back", "--study", "1.2.3.30", "--modality", "SEG")
    (back,) = (tmp_path / "back").rglob("*.dcm")
    assert pydicom.dcmread(back) == pydicom.dcmread(tmp_path / "out" / "1.2.3.32.seg.dcm")
    assert pydicom.dcmread(back).ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.3.32"
    read, written = map(canonical, (read_segmentation(back), read_nifti(tmp_path / "out" / "1.2.3.32.nii.gz")))
    assert np.array_equal(read.array, written.array) and read.array.any()
    assert np.allclose(read.affine, written.affine, atol=1e-3)

    done("push", pacs.url, tmp_path / "out")  # a second time: the same objects
    assert len(listed(pacs, "--study", "1.2.3.30")) == 3


def test_a_watch_does_a_new_study_once_and_survives_its_own_kill_and_the_servers(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "evoseg", "pacs", "segment"]
    with orthanc(tmp_path / "orthanc") as first:
        words = [first.url, "-o", str(tmp_path / "out"), "--bundle", BUNDLE, "--modality", "CT", "--watch", "1"]
        with (tmp_path / "log.txt").open("w") as log:
            watch = subprocess.Popen([*command, *words], cwd=ROOT, env=environment(), stderr=log)
            try:
                done("push", first.url, *patient(tmp_path / "one", 1))
                until(lambda: [row[1] for row in listed(first, "--patient-id", "P-007")].count("SEG") == 1, watch)
                first.process.terminate()
                first.process.wait()
                until(lambda: "the next look is in" in (tmp_path / "log.txt").read_text(), watch)
            finally:
                watch.kill()
                watch.wait()
        with orthanc(tmp_path / "orthanc", port=first.port) as second, (tmp_path / "log.txt").open("w") as log:
            done("push", second.url, *patient(tmp_path / "two", 2))
            watch = subprocess.Popen([*command, *words], cwd=ROOT, env=environment(), stderr=log)
            try:
                until(lambda: [row[1] for row in listed(second, "--patient-id", "P-007")].count("SEG") == 2, watch)
                until(lambda: journal(tmp_path / "out").count("ok") == 2, watch)
            finally:
                watch.send_signal(signal.SIGTERM)
                assert watch.wait(WITHIN_S) == 0
    assert journal(tmp_path / "out") == ["ok", "ok"]
    assert "Roe" not in (tmp_path / "log.txt").read_text()


def until(happened: Callable[[], bool], watch: subprocess.Popen[bytes]) -> None:
    """Wait for what two other processes do."""
    end = time.monotonic() + WITHIN_S
    while not happened():
        assert watch.poll() is None and time.monotonic() < end
        time.sleep(0.5)


def journal(out: Path) -> list[str]:
    lines = (out / "pacs.jsonl").read_text().splitlines()
    return [json.loads(line)["code"] for line in lines if line]


def test_a_wrong_password_opens_nothing(pacs: Orthanc, tmp_path: Path) -> None:
    for environ in ({"EVOSEG_PACS_PASSWORD": "letmein"}, {"EVOSEG_PACS_USER": "", "EVOSEG_PACS_PASSWORD": ""}):
        ran = evoseg("pull", pacs.url, "-o", tmp_path / "out", "--modality", "CT", **environ)
        assert ran.returncode == 2 and "401" in ran.stderr and "letmein" not in ran.stderr
    assert not (tmp_path / "out").exists()


def test_an_address_beside_dicomweb_is_told_so(pacs: Orthanc) -> None:
    for wrong in ("/dicomweb", "/system"):
        ran = evoseg("query", pacs.url.replace("/dicom-web", wrong), "--modality", "CT")
        assert ran.returncode == 2 and "Traceback" not in ran.stderr, ran.stderr
        assert "404" in ran.stderr or "/dicom-web" in ran.stderr


def test_a_certificate_is_verified_against_who_vouches_for_it_and_whom_it_names(pacs: Orthanc, tmp_path: Path) -> None:
    certificate, both = self_signed(tmp_path / "tls")
    stranger, _ = self_signed(tmp_path / "stranger")
    with encrypted(pacs, both) as url:
        words = ["query", url, "--modality", "MR"]
        assert done(*words, "--ca-bundle", certificate) == done(*words, SSL_CERT_FILE=str(certificate))
        for refused in (evoseg(*words), evoseg(*words, "--ca-bundle", stranger)):
            assert refused.returncode == 2 and "not trusted" in refused.stderr
    certificate, both = self_signed(tmp_path / "other", name="DNS:pacs.example")
    with encrypted(pacs, both) as url:
        refused = evoseg("query", url, "--modality", "MR", "--ca-bundle", certificate)
        assert refused.returncode == 2 and "not trusted" in refused.stderr
