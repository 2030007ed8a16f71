"""cases: parts by patient, the same on every call, and errors before a worker meets them."""

import json

import pytest

from pipeline.data.datalist import balanced, cases, images
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


@pytest.fixture
def pictures(tmp_path):
    """Ten lesions in two folds: 0 to 6 train, 7 and 8 test, 9 in no part; two normal pictures are set aside."""
    listed = []
    for k, kind in enumerate(["lesion"] * 10 + ["normal"] * 2):
        (tmp_path / f"{k}.png").touch()
        split = {} if k == 9 else {"split": "test" if k in (7, 8, 11) else "train"}
        paths = {"image": f"{k}.png", "label": f"{k}.png"}
        listed.append({"id": f"{k}", "patient": f"{k}", "fold": k % 2, "class": kind, **split, **paths})
    (tmp_path / "dataset.json").write_text(json.dumps({"cases": listed, "aside": ["normal"]}))
    return tmp_path


def test_the_stored_split_is_a_fold_of_its_own(pictures):
    assert ids(pictures, "test", fold="split") == {"7", "8"}
    train, stop = (ids(pictures, part, fold="split", stop_patients=2) for part in ("train", "stop"))
    assert len(stop) == 2 and train | stop == set("0123456") and not train & stop
    assert ids(pictures, "test", fold=1) == set("13579")


def test_a_stored_stopping_part_is_taken_as_it_is(pictures):
    described = json.loads((pictures / "dataset.json").read_text())
    described["cases"][2]["split"] = "stop"
    (pictures / "dataset.json").write_text(json.dumps(described))
    assert ids(pictures, "stop", fold="split", stop_patients=4) == {"2"}
    assert ids(pictures, "train", fold="split", stop_patients=4) == set("013456")


@pytest.mark.parametrize(("share", "expected"), [(0.3, 2), (0.01, 1), (1, 1), (3, 3)])
def test_stopping_patients_are_a_number_or_a_share(pictures, share, expected):
    assert len(ids(pictures, "stop", fold="split", stop_patients=share)) == expected  # of 7 patients


def test_what_is_set_aside_is_there_for_those_who_ask(pictures):
    assert ids(pictures, "all") == set("0123456789")
    assert ids(pictures, "all", classes=["normal"]) == {"10", "11"}
    assert ids(pictures, "test", fold="split", classes=["lesion", "normal"]) == {"7", "8", "11"}


def test_a_class_or_a_split_that_is_not_there_is_refused(pictures):
    for classes in (["nothing"], "normal"):
        with pytest.raises(InputError, match=r"those of .*\['lesion', 'normal'\]"):
            cases(pictures, "all", classes=classes)
    described = json.loads((pictures / "dataset.json").read_text())
    for case in described["cases"]:
        case.pop("split", None)
    (pictures / "dataset.json").write_text(json.dumps(described))
    with pytest.raises(InputError, match="stores no split"):
        cases(pictures, "train", fold="split")


def test_rare_kinds_are_repeated_so_that_they_count_by_the_square_root_of_their_number():
    kinds = {("grey", (256, 256)): 16, ("grey", (512, 160)): 4, ("colour", (256, 256)): 1, ("colour", None): 8}
    listed = [
        {"id": f"{kind}{k}", "class": kind[0]} | ({"source_shape": list(kind[1])} if kind[1] else {})
        for kind, n in kinds.items()
        for k in range(n)
    ]
    found = balanced(listed)
    times = {case["id"]: found.count(case) for case in listed}
    # round(sqrt(16 / n)): 1 of 16, 2 of 4, 4 of 1, 1 of 8 (1.41)
    assert [times[f"{kind}0"] for kind in kinds] == [1, 2, 4, 1]
    assert len(found) == 16 * 1 + 4 * 2 + 1 * 4 + 8 * 1
    assert sorted(found, key=listed.index) == found  # in order
    assert balanced([]) == []
