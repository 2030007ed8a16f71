"""cases: parts by patient, the same on every call, and errors before a worker meets them."""

import json

import pytest

from pipeline.data.datalist import cases, images
from pipeline.errors import InputError


@pytest.fixture
def dataset(tmp_path):
    """Six patients in three folds; patient p0 was scanned twice."""
    listed = []
    for id, patient, fold in [("p0a", "p0", 0), ("p0b", "p0", 0), *((f"p{k}", f"p{k}", k % 3) for k in range(1, 6))]:
        for kind in ("image", "label", "distance"):
            (tmp_path / f"{id}_{kind}.nii.gz").touch()
        paths = {kind: f"{id}_{kind}.nii.gz" for kind in ("image", "label", "distance")}
        listed.append({"id": id, "patient": patient, "fold": fold, **paths})
    (tmp_path / "dataset.json").write_text(json.dumps({"cases": listed}))
    return tmp_path


def ids(*args, **kwargs):
    return {case["id"] for case in cases(*args, **kwargs)}


@pytest.mark.parametrize("fold", [0, 1, 2])
def test_train_stop_and_test_are_everybody_once(dataset, fold):
    parts = [ids(dataset, part, fold=fold) for part in ("train", "stop", "test")]
    assert all(parts) and sum(map(len, parts)) == 7 and set.union(*parts) == ids(dataset, "all")
    patients = [{c["patient"] for c in cases(dataset, part, fold=fold)} for part in ("train", "stop", "test")]
    assert not patients[0] & patients[1] and not patients[0] & patients[2] and not patients[1] & patients[2]


def test_without_a_fold_everybody_but_the_stopping_patients_trains(dataset):
    assert ids(dataset, "test") == set()
    assert len(ids(dataset, "train") | ids(dataset, "stop")) == 7


def test_the_stopping_patients_follow_the_seed_only(dataset):
    drawn = {frozenset(ids(dataset, "stop", fold=1, seed=seed)) for seed in range(20)}
    assert len(drawn) > 1
    assert ids(dataset, "stop", fold=1, seed=3) == ids(dataset, "stop", fold=1, seed=3)


def test_paths_are_full(dataset):
    assert all(case["image"] == str(dataset / f"{case['id']}_image.nii.gz") for case in cases(dataset, "all"))


def test_what_is_missing_is_named(dataset, tmp_path):
    with pytest.raises(InputError, match=r"fold 7 is not among the folds .*\[0, 1, 2\]"):
        cases(dataset, "train", fold=7)
    with pytest.raises(InputError, match="more than 9 are needed"):
        cases(dataset, "train", fold=0, stop_patients=9)
    (dataset / "p1_distance.nii.gz").unlink()
    with pytest.raises(InputError, match="p1_distance"):
        cases(dataset, "all")
    with pytest.raises(InputError, match="evoseg prepare"):
        cases(tmp_path / "nowhere", "all")


def test_a_dataset_without_cases_is_refused(tmp_path):
    (tmp_path / "dataset.json").write_text('{"cases": []}')
    with pytest.raises(InputError, match="lists no cases"):
        cases(tmp_path, "all")


@pytest.mark.parametrize("listed", ["x", ["x"], [{"id": "a", "image": "a.nii.gz"}]])
def test_a_list_of_another_shape_is_refused(tmp_path, listed):
    (tmp_path / "dataset.json").write_text(json.dumps({"cases": listed}))
    with pytest.raises(InputError, match="each case needs fold, id, image, label, patient"):
        cases(tmp_path, "all")


def test_images_are_found_below_a_folder_and_none_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"holds no \.nii"):
        images(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.nii.gz").touch()
    (tmp_path / "notes.txt").touch()
    assert images(tmp_path) == [{"image": str(tmp_path / "a" / "x.nii.gz")}]
