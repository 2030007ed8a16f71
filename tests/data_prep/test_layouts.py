from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data_prep import kits19, nnunet, pairs
from pipeline.errors import InputError


def ids(dataset: object) -> list[str]:
    return [scan.id for scan in dataset.scans]  # type: ignore[attr-defined]


def edit_description(source: Path, **changes: object) -> None:
    description = json.loads((source / "dataset.json").read_text())
    (source / "dataset.json").write_text(json.dumps(description | changes))


def test_kits19_is_found_from_the_repository_and_from_its_data_folder(kits19_source: Path) -> None:
    for source in (kits19_source, kits19_source / "data"):
        dataset = kits19.find(source)
        assert ids(dataset) == ["case_00000", "case_00007"]
        assert (dataset.labels, dataset.modality) == ({1: "kidney", 2: "tumour"}, "CT")
        assert all(path.is_file() for scan in dataset.scans for path in (*scan.images, scan.label))


def test_kits19_says_that_it_leaves_the_unlabelled_test_set_out(
    kits19_source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        kits19.find(kits19_source)
    assert "official test set, left out for want of a segmentation: 1" in caplog.text


def test_a_test_case_that_somebody_labelled_is_a_case(kits19_source: Path, write: Callable[..., Path]) -> None:
    write(kits19_source / "data/case_00210/segmentation.nii.gz", np.zeros((12, 10, 4), np.uint8))
    assert ids(kits19.find(kits19_source))[-1] == "case_00210"


def test_the_decathlon_keeps_its_channels_in_one_file_and_hidden_files_are_no_scans(decathlon_source: Path) -> None:
    dataset = nnunet.find(decathlon_source)
    assert ids(dataset) == ["BRATS_001", "BRATS_002"]
    assert [path.name for path in dataset.scans[0].images] == ["BRATS_001.nii.gz"]
    assert (dataset.name, dataset.channels) == ("BRATS", ("FLAIR", "T1w"))


def test_nnunet_version_2_has_a_file_per_channel_and_labels_by_name(nnunet_source: Path) -> None:
    dataset = nnunet.find(nnunet_source)
    assert [path.name for path in dataset.scans[1].images] == ["BRATS_002_0000.nii.gz", "BRATS_002_0001.nii.gz"]
    assert dataset.labels == {1: "edema", 2: "tumour"}
    assert dataset.name == "Dataset001"


@pytest.mark.parametrize("labels", [{"background": 0, "whole": [1, 2]}, {"background": 0, "a": 1, "ignore": 2}, {}])
def test_nnunet_regions_and_ignored_voxels_are_left_to_the_user(nnunet_source: Path, labels: dict[str, object]) -> None:
    edit_description(nnunet_source, labels=labels)
    dataset = nnunet.find(nnunet_source)
    assert dataset.labels is None and dataset.undecided


def test_nnunet_pictures_are_refused_by_their_ending(nnunet_source: Path) -> None:
    edit_description(nnunet_source, file_ending=".png")
    with pytest.raises(InputError, match=r"file_ending .png"):
        nnunet.find(nnunet_source)


def test_nnunet_names_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "imagesTr").mkdir()
    with pytest.raises(InputError, match=r"has no dataset.json, labelsTr"):
        nnunet.find(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"labels": {}}'])
def test_nnunet_refuses_a_broken_description(nnunet_source: Path, text: str) -> None:
    (nnunet_source / "dataset.json").write_text(text)
    with pytest.raises(InputError, match=r"dataset.json"):
        nnunet.find(nnunet_source)


@pytest.mark.parametrize("folder", ["labels", "masks"])
def test_pairs_have_equal_stems_in_two_folders(tmp_path: Path, write: Callable[..., Path], folder: str) -> None:
    image = write(tmp_path / "images/a.nii.gz", np.zeros((2, 2, 2), np.int16))
    label = write(tmp_path / folder / "a.nii", np.zeros((2, 2, 2), np.uint8))
    (scan,) = pairs.find(tmp_path).scans
    assert (scan.id, scan.images, scan.label) == ("a", (image,), label)


@pytest.mark.parametrize("image", ["x_ct", "x_image", "x"])
@pytest.mark.parametrize("label", ["x_label", "x_seg", "x_mask", "x-GT"])
def test_pairs_have_known_endings_in_one_folder(
    tmp_path: Path, write: Callable[..., Path], image: str, label: str
) -> None:
    for name in (image, label):
        write(tmp_path / f"{name}.nii.gz", np.zeros((2, 2, 2), np.uint8))
    (scan,) = pairs.find(tmp_path).scans
    assert (scan.id, scan.images[0].name, scan.label.name) == ("x", f"{image}.nii.gz", f"{label}.nii.gz")


def test_pairs_refuse_two_images_that_claim_one_case(tmp_path: Path, write: Callable[..., Path]) -> None:
    for name in ("x_ct", "x", "x_label"):
        write(tmp_path / f"{name}.nii.gz", np.zeros((2, 2, 2), np.uint8))
    with pytest.raises(InputError, match=r"both claim case x"):
        pairs.find(tmp_path)


def test_pairs_refuse_labels_beside_masks(tmp_path: Path) -> None:
    for name in ("images", "labels", "masks"):
        (tmp_path / name).mkdir()
    with pytest.raises(InputError, match="both labels/ and masks/"):
        pairs.find(tmp_path)


@pytest.mark.parametrize("find", [kits19.find, pairs.find])
def test_an_empty_source_is_refused(tmp_path: Path, find: Callable[[Path], object]) -> None:
    with pytest.raises(InputError, match=str(tmp_path)):
        find(tmp_path)
