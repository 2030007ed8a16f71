"""Each dataset of pictures, as its publisher ships it and as an index.csv."""

from __future__ import annotations

import gzip
import io
import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_prep.picture_layout import Picture, PictureSet, index_rows
from data_prep.prepare import LAYOUTS
from pipeline.errors import CaseError, InputError


def save(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gz":
        plain = io.BytesIO()
        Image.fromarray(array).save(plain, format="PPM")
        path.write_bytes(gzip.compress(plain.getvalue()))
    else:
        Image.fromarray(array).save(path)
    return path


def colour(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.uint8)


def mask(*pixels: tuple[int, int], value: int = 255) -> np.ndarray:
    array = np.zeros((6, 8), np.uint8)
    for row, column in pixels:
        array[row, column] = value
    return array


def find(layout: str, source: Path) -> PictureSet:
    dataset = LAYOUTS[layout](source)
    assert isinstance(dataset, PictureSet)
    return dataset


def by_id(dataset: PictureSet) -> dict[str, Picture]:
    return {picture.id: picture for picture in dataset.pictures}


def test_busi_unites_the_masks_of_a_picture_and_sets_normal_ones_aside(tmp_path: Path) -> None:
    root = tmp_path / "Dataset_BUSI_with_GT"
    for category, number, masks in (("benign", 2, [(0, 0)]), ("malignant", 1, [(1, 1), (5, 7)]), ("normal", 1, [None])):
        save(root / category / f"{category} ({number}).png", colour())
        for k, pixel in enumerate(masks):
            ending = f"_{k}" if k else ""
            painted = mask(pixel) if pixel else mask()
            save(root / category / f"{category} ({number})_mask{ending}.png", painted)
    for source in (root, tmp_path):
        dataset = find("busi", source)
        pictures = by_id(dataset)
        assert {id: p.category for id, p in pictures.items()} == {
            "benign_2": "benign",
            "malignant_1": "malignant",
            "normal_1": "normal",
        }
        assert dataset.aside == ("normal",)
        np.testing.assert_array_equal(dataset.read_label(pictures["malignant_1"]), mask((1, 1), (5, 7), value=1))
        assert not dataset.read_label(pictures["normal_1"]).any()


def test_glas_takes_gland_ids_patients_and_parts_from_the_publishers_files(tmp_path: Path) -> None:
    for name, id in (("train_1", 3), ("testA_1", 1), ("testB_12", 1)):
        save(tmp_path / f"{name}.bmp", colour())
        save(tmp_path / f"{name}_anno.bmp", mask((1, 1), value=id))
    (tmp_path / "Grade.csv").write_text(
        "name,patient ID, grade (GlaS), grade (Sirinukunwattana et al. 2015)\n"
        "testA_1,4, benign, healthy\ntestB_12,7, malignant, x\ntrain_1,4, benign, y\n"
    )
    dataset = find("glas", tmp_path)
    pictures = by_id(dataset)
    assert {id: (p.part, p.subset, p.patient, p.category) for id, p in pictures.items()} == {
        "testA_1": ("test", "testA", "patient_4", "benign"),
        "testB_12": ("test", "testB", "patient_7", "malignant"),
        "train_1": ("train", "train", "patient_4", "benign"),
    }
    assert dataset.read_label(pictures["train_1"])[1, 1] == 3
    (tmp_path / "Grade.csv").write_text("name,patient ID,grade (GlaS)\ntestA_1,4,benign\n")
    with pytest.raises(InputError, match="no row for testB_12"):
        find("glas", tmp_path)


def test_stare_is_read_packed_and_unpacked_in_five_folds_of_four(tmp_path: Path) -> None:
    save(tmp_path / "stare-images/im0077.ppm.gz", colour())
    save(tmp_path / "labels-ah/im0077.ah.ppm.gz", mask((2, 3)))
    save(tmp_path / "stare-images/im0255.ppm", colour())
    save(tmp_path / "labels-ah/im0255.ah.ppm", mask((2, 3)))
    dataset = find("stare", tmp_path)
    pictures = by_id(dataset)
    assert Counter(p.fold for p in dataset.pictures) == dict.fromkeys(range(5), 4)
    assert {p.fold for p in dataset.pictures if p.part == "test"} == {0}
    assert (pictures["im0077"].part, pictures["im0255"].part) == ("test", "train")
    for id in ("im0077", "im0255"):
        np.testing.assert_array_equal(dataset.read_label(pictures[id]), mask((2, 3), value=1))


def test_kvasir_masks_lose_their_jpeg_noise(tmp_path: Path) -> None:
    block = np.zeros((32, 32), np.uint8)
    block[8:20, 11:21] = 255
    save(tmp_path / "Kvasir-SEG/images/abc.jpg", np.zeros((32, 32, 3), np.uint8))
    stored = save(tmp_path / "Kvasir-SEG/masks/abc.jpg", np.repeat(block[:, :, None], 3, axis=2))
    assert len(np.unique(np.asarray(Image.open(stored)))) > 2  # the premise
    dataset = find("kvasir_seg", tmp_path)
    np.testing.assert_array_equal(dataset.read_label(dataset.pictures[0]), block // 255)


def test_dsb_numbers_its_nuclei_and_decodes_the_solution_of_its_test_part(tmp_path: Path) -> None:
    save(tmp_path / "stage1_train/aa/images/aa.png", colour())
    for name, pixel in (("m0", (0, 0)), ("m1", (3, 4))):
        save(tmp_path / f"stage1_train/aa/masks/{name}.png", mask(pixel))
    save(tmp_path / "stage1_test/bb/images/bb.png", colour())
    rows = "ImageId,EncodedPixels,Height,Width,Usage\nbb,1 2 7 1,6,8,Public\nbb,48 1,6,8,Public\n"
    (tmp_path / "stage1_solution.csv").write_text(rows)
    dataset = find("dsb2018", tmp_path)
    train, test = dataset.pictures
    assert (train.part, test.part) == ("train", "test")
    assert (dataset.read_label(train)[0, 0], dataset.read_label(train)[3, 4]) == (1, 2)
    # counted from 1 down the columns of 6: pixels 1 and 2 are (0, 0), (1, 0), pixel 7 is (0, 1), pixel 48 the last
    expected = mask((0, 0), (1, 0), (0, 1), value=1) + mask((5, 7), value=2)
    np.testing.assert_array_equal(dataset.read_label(test), expected)
    (tmp_path / "stage1_solution.csv").write_text(rows.replace("48 1", "48 2"))
    damaged = find("dsb2018", tmp_path)
    with pytest.raises(CaseError, match=r"damaged at bb .*48 2 leaves the 6 x 8"):
        damaged.read_label(damaged.pictures[1])


def test_dsb_without_a_solution_leaves_its_test_part_out_and_divides_the_rest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path / "stage1_train/aa/images/aa.png", colour())
    save(tmp_path / "stage1_train/aa/masks/m.png", mask((0, 0)))
    save(tmp_path / "stage1_test/bb/images/bb.png", colour())
    with caplog.at_level(logging.INFO):
        dataset = find("dsb2018", tmp_path)
    assert [(p.id, p.part) for p in dataset.pictures] == [("aa", None)]
    assert "left out for want of masks or stage1_solution.csv: 1" in caplog.text


@pytest.mark.parametrize(
    ("images", "masks", "name"),
    [
        ("ISIC2018_Task1-2_{}_Input", "ISIC2018_Task1_{}_GroundTruth", "{}_segmentation.png"),
        ("ISBI2016_ISIC_Part1_{}_Data", "ISBI2016_ISIC_Part1_{}_GroundTruth", "{}_Segmentation.png"),
    ],
)
def test_isic_takes_the_parts_of_either_challenge(tmp_path: Path, images: str, masks: str, name: str) -> None:
    for subset, id in (("Training", "ISIC_0000000"), ("Test", "ISIC_0000003")):
        save(tmp_path / images.format(subset) / f"{id}.jpg", colour())
        save(tmp_path / masks.format(subset) / name.format(id), mask((1, 1)))
    dataset = find("isic2018", tmp_path)
    assert {p.id: p.part for p in dataset.pictures} == {"ISIC_0000000": "train", "ISIC_0000003": "test"}
    assert all(path.is_file() for p in dataset.pictures for path in (p.image, *p.masks))


def test_isic_without_its_test_part_is_divided_anew_and_two_challenges_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "ISIC2018_Task1-2_Training_Input/ISIC_0000000.jpg", colour())
    save(tmp_path / "ISIC2018_Task1_Training_GroundTruth/ISIC_0000000_segmentation.png", mask((1, 1)))
    assert find("isic2018", tmp_path).pictures[0].part is None
    (tmp_path / "ISBI2016_ISIC_Part1_Training_Data").mkdir()
    with pytest.raises(InputError, match="folders of one challenge"):
        find("isic2018", tmp_path)


def test_wbc_tells_nucleus_from_cytoplasm(tmp_path: Path) -> None:
    save(tmp_path / "Dataset 1/007.bmp", colour())
    painted = mask((0, 0), value=128) + mask((1, 1))
    save(tmp_path / "Dataset 1/007.png", painted)
    dataset = find("wbc", tmp_path)
    label = dataset.read_label(dataset.pictures[0])
    assert dataset.pictures[0].id == "d1_007"
    assert (dataset.labels[label[0, 0]], dataset.labels[label[1, 1]]) == ("cytoplasm", "nucleus")
    save(tmp_path / "Dataset 1/007.png", mask((0, 0), value=77))
    with pytest.raises(CaseError, match=r"has the values \[77\]"):
        dataset.read_label(dataset.pictures[0])


def test_ecssd_pairs_its_two_folders_and_lists_what_has_no_partner(tmp_path: Path) -> None:
    save(tmp_path / "images/0001.jpg", colour())
    save(tmp_path / "ground_truth_mask/0001.png", mask((1, 1)))
    save(tmp_path / "images/0002.jpg", colour())
    save(tmp_path / "ground_truth_mask/0003.png", mask((1, 1)))
    pictures = by_id(find("ecssd", tmp_path))
    assert {id: (p.image.is_file(), p.masks[0].is_file()) for id, p in pictures.items()} == {
        "0001": (True, True),
        "0002": (True, False),
        "0003": (False, True),
    }


@pytest.mark.parametrize(
    ("layout", "image", "painted", "part"),
    [
        ("msra10k", "MSRA10K_Imgs_GT/Imgs/74.jpg", "MSRA10K_Imgs_GT/Imgs/74.png", "train"),
        ("pascal_s", "datasets/imgs/pascal/74.jpg", "datasets/masks/pascal/74.png", "test"),
        ("hku_is", "HKU-IS/imgs/74.png", "HKU-IS/gt/74.png", "test"),
        ("ecssd", "ECSSD/images/74.jpg", "ECSSD/ground_truth_mask/74.png", None),
    ],
)
def test_salient_objects_are_found_where_their_publishers_put_them(
    tmp_path: Path, layout: str, image: str, painted: str, part: str | None
) -> None:
    save(tmp_path / image, colour())
    save(tmp_path / painted, mask((1, 1)))
    save(tmp_path / painted.replace("74", "75"), mask((1, 1)))  # without its image
    dataset = find(layout, tmp_path)
    pictures = by_id(dataset)
    assert {id: (p.image.is_file(), p.part) for id, p in pictures.items()} == {"74": (True, part), "75": (False, part)}
    np.testing.assert_array_equal(dataset.read_label(pictures["74"]), mask((1, 1), value=1))
    indexed = tmp_path / "indexed"
    indexed.mkdir()
    (indexed / "index.csv").write_text("id,image,mask\n74,a.jpg,b.png\n")
    assert [(p.id, p.part) for p in find(layout, indexed).pictures] == [("74", part)]


@pytest.mark.parametrize(
    "layout",
    [
        *("busi", "dsb2018", "ecssd", "glas", "hku_is", "isic2018", "kvasir_seg", "msra10k", "pascal_s", "stare"),
        "wbc",
    ],
)
def test_a_folder_of_something_else_is_refused(layout: str, tmp_path: Path) -> None:
    save(tmp_path / "holiday/beach.png", colour())
    with pytest.raises(InputError, match=r"holds neither index.csv nor .*: is it the right folder"):
        find(layout, tmp_path)


def test_one_picture_in_two_files_is_refused(tmp_path: Path) -> None:
    for name in ("images/a.jpg", "images/a.png", "ground_truth_mask/a.png"):
        save(tmp_path / name, colour())
    with pytest.raises(InputError, match=r"a\.jpg and a\.png are one picture twice"):
        find("ecssd", tmp_path)


@pytest.mark.parametrize(
    ("rows", "rule"),
    [
        ("id,image\na,images/a.png\n", "no column mask"),
        ("id,image,mask\n", "no rows"),
        ("id,image,mask\na,images/a.png\n", "shorter than the header"),
        ("id,image,mask\na,x.png,y.png\nA,x.png,y.png\n", "each id must stand once"),
        ("id,image,mask\n../a,x.png,y.png\n", "an id names files"),
        ("id,image,mask\na,../x.png,y.png\n", "inside it"),
        ("id,image,mask\na,/x.png,y.png\n", "inside it"),
    ],
)
def test_an_index_that_cannot_be_meant_is_refused(tmp_path: Path, rows: str, rule: str) -> None:
    (tmp_path / "index.csv").write_text(rows)
    with pytest.raises(InputError, match=rule):
        index_rows(tmp_path)


def test_the_index_of_a_spreadsheet_has_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "index.csv").write_text("\ufeffid,image,mask\na, x.png ,y.png\n", encoding="utf-8")
    assert index_rows(tmp_path) == [{"id": "a", "image": "x.png", "mask": "y.png"}]


@pytest.mark.parametrize(
    ("layout", "parts"),
    [
        ("busi", {None: 720}),
        ("dsb2018", {"train": 664, "test": 65}),
        ("ecssd", {None: 600}),
        ("glas", {"train": 85, "test": 80}),
        ("isic2018", {"train": 806, "test": 339, None: 400}),
        ("kvasir_seg", {None: 1000}),
        ("stare", {"train": 16, "test": 4}),
        ("wbc", {None: 300}),
    ],
)
def test_the_real_index_is_read_and_its_files_are_there(
    shared_data: Path, layout: str, parts: dict[str | None, int]
) -> None:
    dataset = find(layout, shared_data / layout)
    assert Counter(picture.part for picture in dataset.pictures) == parts
    for picture in dataset.pictures[::40]:
        label = dataset.read_label(picture)
        assert label.any() or picture.category in dataset.aside
        assert dataset.instances or set(np.unique(label).tolist()) <= {0, *dataset.labels}


def test_the_folds_of_the_real_stare_index_are_those_written_down(shared_data: Path, tmp_path: Path) -> None:
    indexed = {p.id: p.fold for p in find("stare", shared_data / "stare").pictures}
    (tmp_path / "stare-images").mkdir()
    (tmp_path / "labels-ah").mkdir()
    assert {p.id: p.fold for p in find("stare", tmp_path).pictures} == indexed
