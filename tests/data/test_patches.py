"""PatchDataset: what a transform is handed, and that a sample depends on seed, epoch and its number alone."""

import nibabel as nib
import numpy as np
import pytest
from monai.transforms import Compose, RandCropByPosNegLabeld, RandGaussianNoised

from pipeline.data.patches import PatchDataset


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    """Two scans of 12 x 10 x 8 voxels, an object of 2 x 2 x 2 in each, air in the upper half."""
    folder, cases = tmp_path_factory.mktemp("scans"), []
    for number in range(2):
        image = np.random.default_rng(number).integers(0, 100, (12, 10, 8)).astype(np.int16)
        image[:, 5:] = -125
        distance = np.full(image.shape, -3, np.int16)
        distance[2:4, 1:3, 4:6] = 1
        case = {}
        for kind, array in (("image", image), ("distance", distance)):
            case[kind] = str(folder / f"{number}_{kind}.nii.gz")
            nib.save(nib.Nifti1Image(array, np.eye(4)), case[kind])
        cases.append(case)
    return cases


PATCH = RandCropByPosNegLabeld(
    ["image", "distance"], "distance", (4, 4, 4), 1, 0, fg_indices_key="inside", bg_indices_key="outside"
)


def test_inside_is_the_object_and_outside_is_tissue(listed):
    sample = PatchDataset(listed, smallest=(4, 4, 4))[0]
    distance, image = sample["distance"].flatten(), sample["image"].flatten()
    assert len(sample["inside"]) == 2**3 and (distance[sample["inside"]] > 0).all()
    assert len(sample["outside"]) and (distance[sample["outside"]] < 0).all()
    assert (image[sample["outside"]] > -120).all()


def test_a_patch_is_cut_around_the_object(listed):
    dataset = PatchDataset(listed, Compose([PATCH]), smallest=(4, 4, 4), patches_per_scan=5)
    assert len(dataset) == 2 * 5
    patches = [dataset[k][0] for k in range(10)]
    assert all((patch["distance"] > 0).any() and patch["image"].shape == (1, 4, 4, 4) for patch in patches)


def test_a_scan_smaller_than_a_patch_is_padded_with_air_far_from_the_object(listed):
    sample = PatchDataset(listed, smallest=(12, 16, 9))[0]
    assert sample["image"].shape == sample["distance"].shape == (1, 12, 16, 9)
    assert (sample["image"][:, :, 10:] == -125).all() and (sample["distance"][..., 8:] == -3).all()
    assert (sample["distance"].flatten()[sample["inside"]] > 0).all()  # indices of the padded scan


def test_a_sample_depends_on_seed_epoch_and_number_and_not_on_what_was_drawn_before(listed):
    noisy = Compose([PATCH, RandGaussianNoised("image", prob=1.0, std=1.0, dtype=np.float32)])

    def drawn(epoch, numbers, seed=0):
        dataset = PatchDataset(listed, noisy, smallest=(4, 4, 4), seed=seed)
        dataset.set_epoch(epoch)
        return [np.asarray(dataset[number][0]["image"]) for number in numbers][-1]

    np.testing.assert_array_equal(drawn(3, [5]), drawn(3, [0, 2, 5]))
    others = [drawn(3, [4]), drawn(4, [5]), drawn(3, [5], seed=1)]
    assert not any(np.array_equal(drawn(3, [5]), other) for other in others)


def test_the_scans_themselves_are_not_changed_by_what_is_drawn(listed):
    dataset = PatchDataset(listed, Compose([PATCH]), smallest=(4, 4, 4))
    before = PatchDataset(listed, smallest=(4, 4, 4))[0]["image"].clone()
    for number in range(len(dataset)):
        _ = dataset[number]
    dataset.transform = None
    assert np.array_equal(dataset[0]["image"], before) and "inside" in dataset[0]


def test_what_cannot_be_trained_on_is_refused(listed):
    with pytest.raises(ValueError, match="data is empty"):
        PatchDataset([], smallest=(4, 4, 4))
    with pytest.raises(ValueError, match="nothing but the object, or none of it"):
        PatchDataset(listed, smallest=(4, 4, 4), tissue=1000.0)
