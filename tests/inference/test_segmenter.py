"""Segmenter: what a bundle becomes, what it refuses, and that MONAI's engine gives the same labels."""

import hashlib
import shutil
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

from pipeline.data.roots import bundle
from pipeline.errors import CaseError, InputError
from pipeline.inference.segmenter import Segmenter
from pipeline.io.nifti import read_nifti
from pipeline.io.volume import Volume

NAME = "kidney_ct_regression_segmentation"


@pytest.fixture(scope="module")
def segmenter():
    return Segmenter.from_bundle(NAME, device="cpu")


@pytest.fixture
def empty_bundle(tmp_path):
    """The bundle without its weights."""
    return Path(shutil.copytree(bundle(NAME), tmp_path / NAME, ignore=shutil.ignore_patterns("model.pt")))


def scan(shape=(64, 80, 5), affine=None):
    """Noise around soft tissue, coarse enough for a network to see something in it."""
    coarse = np.random.default_rng(0).normal(60, 120, tuple(-(-n // 8) for n in shape[:2]) + shape[2:])
    fine = coarse.repeat(8, axis=0).repeat(8, axis=1)[: shape[0], : shape[1]]
    return Volume(fine.astype(np.int16), np.diag([-2.0, 2.0, 3.0, 1.0]) if affine is None else affine)


def test_it_knows_what_the_bundle_says_of_itself(segmenter):
    weights = (Path(bundle(NAME)) / "models" / "model.pt").read_bytes()
    assert segmenter.name == NAME and segmenter.names == {1: "kidney"} and segmenter.spatial_dims == 3
    assert segmenter.weights_sha256 == hashlib.sha256(weights).hexdigest()
    assert next(segmenter.network.parameters()).dtype == torch.float32 and not segmenter.network.training


@pytest.mark.parametrize("shape", [(64, 80, 5), (3, 5, 1), (200, 311, 2), (16, 16, 9)])
def test_labels_have_the_grid_of_the_image(segmenter, shape):
    image = scan(shape)
    labels = segmenter(image).labels
    assert labels.array.shape == shape and labels.array.dtype == np.uint8 and labels.affine is image.affine
    assert set(np.unique(labels.array)) <= {0, 1}


def test_a_scan_of_air_is_empty(segmenter):
    air = Volume(np.full((50, 50, 3), -1000, np.int16), np.eye(4))
    assert not segmenter(air).labels.array.any()


def test_one_call_does_not_change_the_next(segmenter):
    first, other = scan(), scan((40, 40, 3))
    before = segmenter(first).labels.array
    segmenter(other)
    np.testing.assert_array_equal(segmenter(first).labels.array, before)


def test_monais_own_engine_gives_the_same_labels(segmenter, tmp_path):
    """The demo scan in another axis order, through inference.yaml with MONAI's readers, inversion and writer."""
    demo = read_nifti(Path(__file__).parents[1] / "data" / "demo" / "trunk.nii.gz")
    part = demo.array[:, :, 80:96].transpose(2, 0, 1)[:, ::-1]
    # from indices of the part (S, R reversed, A) to those of the demo (R, A, S)
    stretch = np.diag([1.5, 1, 1, 1])  # pixels that are not square
    affine = (
        stretch @ demo.affine @ np.array([[0, -1, 0, part.shape[1] - 1], [0, 0, 1, 0], [1, 0, 0, 80], [0, 0, 0, 1]])
    )
    nib.save(nib.Nifti1Image(np.ascontiguousarray(part), affine), tmp_path / "scan.nii.gz")
    ours = segmenter(read_nifti(tmp_path / "scan.nii.gz")).labels

    parser = ConfigParser()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parser.read_config(str(Path(bundle(NAME)) / "configs" / "inference.yaml"))
        parser.config.update(dataset_dir=str(tmp_path), output_dir=str(tmp_path / "out"), device="cpu")
        parser.parse(True)
        parser.get_parsed_content("run")
    theirs = read_nifti(tmp_path / "out" / "scan_seg.nii.gz")
    assert ours.array.any()  # otherwise equality would say nothing
    np.testing.assert_array_equal(theirs.array, ours.array)
    np.testing.assert_allclose(theirs.affine, ours.affine, atol=1e-5)


def test_pictures_and_colour_are_refused(segmenter):
    with pytest.raises(CaseError, match="choose another bundle") as refused:
        segmenter(Volume(np.zeros((8, 8), np.uint8), np.eye(3)))
    assert refused.value.code == "WRONG_DIMENSION"
    with pytest.raises(CaseError, match="3 channels") as refused:
        segmenter(Volume(np.zeros((8, 8, 4, 3), np.uint8), np.eye(4)))
    assert refused.value.code == "COLOUR"


def test_a_bundle_without_weights_or_with_others_is_refused(empty_bundle):
    with pytest.raises(InputError, match="no trained weights"):
        Segmenter.from_bundle(empty_bundle, device="cpu")
    (empty_bundle / "models").mkdir(exist_ok=True)
    torch.save({"unet.weight": torch.zeros(3)}, empty_bundle / "models" / "model.pt")
    with pytest.raises(InputError, match="do not fit"):
        Segmenter.from_bundle(empty_bundle, device="cpu")
    (empty_bundle / "models" / "model.pt").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(InputError, match="cannot be read"):
        Segmenter.from_bundle(empty_bundle, device="cpu")


@pytest.mark.parametrize(("file", "key"), [("metadata.json", '"modality"'), ("inference.yaml", "\nintensity:")])
def test_a_bundle_of_another_kind_is_refused_with_what_it_lacks(empty_bundle, file, key):
    shutil.copytree(Path(bundle(NAME)) / "models", empty_bundle / "models", dirs_exist_ok=True)
    config = empty_bundle / "configs" / file
    text = config.read_text()
    assert key in text
    config.write_text(text.replace(key, key.replace("i", "_i").replace("mod", "_mod")).replace('"@intensity"', "{}"))
    with pytest.raises(InputError, match=r"does not say .*(modality|intensity)"):
        Segmenter.from_bundle(empty_bundle, device="cpu")


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "cpu:x"])
def test_a_device_that_is_not_there_is_refused(device):
    with pytest.raises(InputError, match="--device"):
        Segmenter.from_bundle(NAME, device=device)
