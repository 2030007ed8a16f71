"""Files appear whole or not at all, in the format of their suffix."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import CaseError, InputError
from pipeline.io.discover import Case, read_case
from pipeline.io.volume import Volume
from pipeline.io.write import whole_file, write_labels

LABELS = np.random.default_rng(0).integers(0, 4, (5, 6, 7))


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_file_is_there_only_after_the_block(tmp_path):
    with whole_file(tmp_path / "new" / "a.csv") as part:
        part.write_text("x")
        assert not (tmp_path / "new" / "a.csv").exists() and part.name.startswith(".")
    assert left_in(tmp_path / "new") == ["a.csv"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_block_leaves_the_older_file_and_nothing_else(tmp_path, error):
    (tmp_path / "a.csv").write_text("old")
    with pytest.raises(error), whole_file(tmp_path / "a.csv") as part:
        part.write_text("half")
        raise error
    assert left_in(tmp_path) == ["a.csv"] and (tmp_path / "a.csv").read_text() == "old"


def test_a_full_disk_is_a_refusal_with_a_code(tmp_path):
    with pytest.raises(CaseError, match="No space left") as caught, whole_file(tmp_path / "a.csv") as part:
        part.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.code == "WRITE_FAILED" and left_in(tmp_path) == []


def test_a_file_in_the_way_of_the_folder_is_a_refusal_too(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(CaseError) as caught, whole_file(tmp_path / "out" / "a.csv") as part:
        part.write_text("x")
    assert caught.value.code == "WRITE_FAILED"


def test_a_full_disk_while_labels_are_written_leaves_nothing():
    if not Path("/dev/full").exists():
        pytest.skip("no device that is always full")
    with pytest.raises(CaseError) as caught:
        write_labels(Path("/dev/full/a.nii.gz"), Volume(LABELS, np.eye(4)))
    assert caught.value.code == "WRITE_FAILED"


@pytest.mark.parametrize(
    ("suffix", "kind"), [(".nii.gz", "nifti"), (".nii", "nifti"), (".mha", "metaimage"), (".nrrd", "metaimage")]
)
def test_labels_of_a_volume_come_back_in_each_format(tmp_path, suffix, kind):
    path = tmp_path / f"a{suffix}"
    write_labels(path, Volume(LABELS, np.diag([-0.5, 2, 3, 1])))
    back = read_case(Case("a", kind, (path,)))
    assert back.array.dtype == np.uint8 and np.array_equal(back.array, LABELS)
    assert np.array_equal(back.affine, np.diag([-0.5, 2, 3, 1]))


def test_more_than_255_labels_take_16_bits(tmp_path):
    write_labels(tmp_path / "a.png", Volume(np.array([[0, 256], [1, 2]]), np.eye(3)))
    assert read_case(Case("a", "image", (tmp_path / "a.png",))).array.tolist() == [[0, 256], [1, 2]]


@pytest.mark.parametrize("array", [LABELS - 1, LABELS / 2])
def test_negative_and_fractional_values_are_no_labels(tmp_path, array):
    with pytest.raises(ValueError, match="labels must"):
        write_labels(tmp_path / "a.nii.gz", Volume(array, np.eye(4)))


def test_an_unknown_suffix_is_the_callers_mistake(tmp_path):
    with pytest.raises(InputError, match=r"\.nii\.gz, \.nii"):
        write_labels(tmp_path / "a.mnc", Volume(LABELS, np.eye(4)))


def test_labels_may_be_written_in_another_format_than_their_source(tmp_path):
    write_labels(tmp_path / "scan.mha", Volume(LABELS, np.eye(4)))
    source = Case("scan", "metaimage", (tmp_path / "scan.mha",))
    write_labels(tmp_path / "out.nii.gz", Volume(LABELS, np.eye(4)), source=source)
    assert np.array_equal(read_case(Case("out", "nifti", (tmp_path / "out.nii.gz",))).affine, np.eye(4))
