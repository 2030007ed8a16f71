"""SliceDataset: what an epoch holds, and that it depends on seed and epoch alone."""

import nibabel as nib
import numpy as np
import pytest
from monai.transforms import Compose, RandGaussianNoised

from pipeline.data.slices import SliceDataset


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    """Two volumes of 6 slices; the object lies in slices 2 and 3 of the first, in slice 0 of the second."""
    folder = tmp_path_factory.mktemp("volumes")
    listed = []
    for name, holding in (("a", [2, 3]), ("b", [0])):
        image = np.stack([np.full((4, 4), 10 * k) for k in range(6)], axis=2).astype(np.int16)
        distance = np.full((4, 4, 6), -8 * 32, dtype=np.int16)
        distance[1, 1, holding] = 16
        header = nib.Nifti1Image(distance, np.eye(4))
        header.header.set_slope_inter(1 / 32, 0)
        nib.save(header, folder / f"{name}_distance.nii.gz")
        nib.save(nib.Nifti1Image(image, np.eye(4)), folder / f"{name}_image.nii.gz")
        listed.append(
            {"image": str(folder / f"{name}_image.nii.gz"), "distance": str(folder / f"{name}_distance.nii.gz")}
        )
    return listed


def contents(dataset):
    return [
        (int(s["image"][0, 0, 0]), bool((s["distance"] > 0).any())) for s in (dataset[i] for i in range(len(dataset)))
    ]


def test_every_slice_is_there_once_when_negatives_are_not_drawn(volumes):
    expected = [(10 * k, holds) for holding in ({2, 3}, {0}) for k, holds in ((k, k in holding) for k in range(6))]
    assert sorted(contents(SliceDataset(volumes))) == sorted(expected)


def test_all_slices_with_the_object_and_the_asked_share_of_others(volumes):
    seen = contents(SliceDataset(volumes, negatives=2.0))
    assert sum(holds for _, holds in seen) == 3 and len(seen) == 3 + 6


def test_the_distance_is_in_pixels(volumes):
    sample = SliceDataset(volumes, negatives=0.0)[0]
    assert sample["distance"][0, 1, 1] == 0.5 and sample["distance"][0, 0, 0] == -8
    assert sample["image"].shape == (1, 4, 4) and sample["image"].dtype == np.float32


def test_an_epoch_depends_on_the_seed_and_its_number_alone(volumes):
    noisy = Compose([RandGaussianNoised("image", prob=1.0, std=1.0)])

    def epoch(number, *before, seed=0):
        dataset = SliceDataset(volumes, noisy, negatives=1.0, seed=seed)
        for earlier in before:
            dataset.set_epoch(earlier)
            _ = dataset[0]
        dataset.set_epoch(number)
        return np.stack([dataset[i]["image"] for i in range(len(dataset))])

    np.testing.assert_array_equal(epoch(3), epoch(3, 1, 2))
    assert not np.array_equal(epoch(3), epoch(4)) and not np.array_equal(epoch(3), epoch(3, seed=1))


def test_no_data_is_refused():
    with pytest.raises(ValueError, match="data is empty"):
        SliceDataset([])
