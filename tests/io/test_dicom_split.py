"""A series of several volumes is a case for each, named by what tells them apart; one volume stays one."""

from __future__ import annotations

import logging

import numpy as np
import pydicom
import pytest

from pipeline.errors import CaseError
from pipeline.io.discover import Case, find_cases, read_case

N = 4
HEIGHTS = [2.0 * k for k in range(N)]
STACK = np.random.default_rng(0).integers(-1000, 1000, (N, 4, 6)).astype(np.int16)
CORONAL = (1, 0, 0, 0, 0, -1)


@pytest.fixture
def write(tmp_path, write_series):
    """A writer of one more volume of the only series: tags that are lists have a value for each slice."""

    def volume(stack=STACK, *, heights=HEIGHTS, orientation=(1, 0, 0, 0, 1, 0), **tags):
        along = np.cross(orientation[:3], orientation[3:])
        folder = tmp_path / "ct" / str(len(list(tmp_path.glob("ct/*"))))
        positions = [height * along for height in heights]
        files = write_series(folder, stack, positions=positions, orientation=orientation)
        for k, path in enumerate(files):
            dataset = pydicom.dcmread(path)
            for keyword, value in tags.items():
                setattr(dataset, keyword, value[k] if isinstance(value, list) else value)
            dataset.save_as(path)

    return volume


def found(tmp_path) -> dict[str, Case]:
    return {case.id: case for case in find_cases(tmp_path)}


def arrays(tmp_path) -> dict[str, np.ndarray]:
    return {name: read_case(case).array.T for name, case in found(tmp_path).items()}


def refusal(case: Case) -> str:
    with pytest.raises(CaseError) as error:
        read_case(case)
    return error.value.code


@pytest.mark.parametrize(
    ("keyword", "first", "second", "names"),
    [
        ("AcquisitionNumber", 2, 10, ("acquisition_2", "acquisition_10")),
        ("EchoNumbers", 1, 2, ("echo_1", "echo_2")),
        ("EchoTime", 4.6, 9.2, ("echo_time_4.6", "echo_time_9.2")),
        ("TemporalPositionIdentifier", 1, 2, ("time_1", "time_2")),
        ("ImageType", "ORIGINAL\\PRIMARY\\WATER", "ORIGINAL\\PRIMARY\\FAT", ("type_WATER", "type_FAT")),
        ("TriggerTime", [10, 11, 9, 12], [40, 42, 39, 41], ("phase_1", "phase_2")),
        ("AcquisitionTime", ["101500", "101501", "101502", "101503"], "101600", ("phase_1", "phase_2")),
    ],
)
def test_two_volumes_at_one_place_are_told_apart_by(tmp_path, write, caplog, keyword, first, second, names):
    write(**{keyword: first})
    write(STACK + 1, **{keyword: second})
    with caplog.at_level(logging.INFO):
        read = arrays(tmp_path)
    assert set(read) == {f"ct/{name}" for name in names}
    assert np.array_equal(read[f"ct/{names[0]}"], STACK) and np.array_equal(read[f"ct/{names[1]}"], STACK + 1)
    assert f"the series holds 2 volumes, told apart by {keyword}: one case each" in caplog.text


def test_phases_are_counted_in_time_whatever_the_order_of_the_files(tmp_path, write):
    write(STACK + 1, TriggerTime=[40, 42, 39, 41])
    write(STACK, TriggerTime=[10, 11, 9, 12])
    read = arrays(tmp_path)
    assert np.array_equal(read["ct/phase_1"], STACK) and np.array_equal(read["ct/phase_2"], STACK + 1)


def test_echoes_of_several_times_are_split_by_both(tmp_path, write):
    for echo in (1, 2):
        for time in (1, 2, 3):
            write(STACK + 10 * echo + time, EchoNumbers=echo, TemporalPositionIdentifier=time)
    read = arrays(tmp_path)
    assert len(read) == 6
    assert np.array_equal(read["ct/echo_2_time_3"], STACK + 23)


def test_stacks_of_several_orientations_are_named_by_their_planes(tmp_path, write):
    write()
    write(STACK + 1, orientation=CORONAL, AcquisitionNumber=1)
    write(STACK + 2, orientation=CORONAL, AcquisitionNumber=2)
    read = arrays(tmp_path)
    assert set(read) == {"ct/axial", "ct/coronal_acquisition_1", "ct/coronal_acquisition_2"}
    assert np.array_equal(read["ct/axial"], STACK) and np.array_equal(read["ct/coronal_acquisition_2"], STACK + 2)


def test_acquisitions_that_follow_one_another_are_one_volume(tmp_path, write):
    write(AcquisitionNumber=[1, 1, 2, 3], AcquisitionTime=["101501", "101501", "101502", "101503"])
    (case,) = found(tmp_path).values()
    assert case.id == "ct/0" and not case.notes and read_case(case).array.shape[2] == N


@pytest.mark.parametrize("turn", [3, 5], ids=["that go on being counted", "that are counted anew"])
def test_a_mark_that_only_counts_turns_of_the_tube_splits_nothing(tmp_path, write, turn):
    heights = [2.0 * k for k in range(9)]
    for time in range(2):  # twice through the same places, three turns of three slices or two of five and four
        first = 3 * time if turn == 3 else 0
        write(np.zeros((9, 4, 6), np.int16), heights=heights, AcquisitionNumber=[first + k // turn for k in range(9)])
    (case,) = found(tmp_path).values()
    assert refusal(case) == "DUPLICATE_SLICES"


def test_a_volume_that_was_copied_twice_is_refused_as_before(tmp_path, write):
    write(AcquisitionNumber=1, AcquisitionTime="101500")
    write(AcquisitionNumber=1, AcquisitionTime="101500")
    (case,) = found(tmp_path).values()
    assert refusal(case) == "DUPLICATE_SLICES"


def test_an_acquisition_with_a_slice_missing_is_refused_and_the_other_one_read(tmp_path, write):
    write(AcquisitionNumber=1)
    write(STACK[:3], heights=[0.0, 2.0, 6.0], AcquisitionNumber=2)
    cases = found(tmp_path)
    assert read_case(cases["ct/acquisition_1"]).array.shape[2] == N
    assert refusal(cases["ct/acquisition_2"]) == "SLICE_GAP"


def test_a_slice_without_a_place_leaves_the_series_whole(tmp_path, write):
    write(AcquisitionNumber=1)
    write(AcquisitionNumber=2, ImagePositionPatient=[None, [0, 0, 2], [0, 0, 4], [0, 0, 6]])
    (case,) = found(tmp_path).values()
    assert refusal(case) == "NO_GEOMETRY"


def test_planes_of_a_slice_each_are_no_volumes(tmp_path, write):
    for orientation in ((1, 0, 0, 0, 1, 0), CORONAL, (0, 1, 0, 0, 0, -1)):
        write(STACK[:1], heights=[0.0], orientation=orientation)
    (case,) = found(tmp_path).values()
    assert refusal(case) == "MIXED_ORIENTATIONS"
