"""Segmenter: what a bundle becomes, what it refuses, and that MONAI's engine gives the same labels.

Pictures go through made-up weights: what is tested is the road to the network and back.
"""

import hashlib
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from PIL import Image
from pydicom.uid import UltrasoundImageStorage

from pipeline.data.parts import LargestParts
from pipeline.data.roots import bundle
from pipeline.errors import CaseError, InputError
from pipeline.inference.export import whole_logits
from pipeline.inference.flips import mirrored
from pipeline.inference.segmenter import COLOURED_PICTURE, GREY_PICTURE, Prompt, Segmenter
from pipeline.io.channels import unit_values, with_channels
from pipeline.io.discover import find_cases, read_case
from pipeline.io.image2d import read_image
from pipeline.io.images import to_sitk
from pipeline.io.nifti import read_nifti
from pipeline.io.volume import Volume
from pipeline.numerics.star import rays_violated

NAME = "kidney_ct_regression_segmentation"
GREY, COLOUR = "continuous_unet_busi_segmentation", "continuous_unet_isic_segmentation"


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


def run_by_monai(name, dataset_dir, output_dir, **changes):
    """inference.yaml by MONAI's engine alone, on the CPU."""
    parser = ConfigParser()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parser.read_config(str(Path(bundle(name)) / "configs" / "inference.yaml"))
        parser.config.update(dataset_dir=str(dataset_dir), output_dir=str(output_dir), device="cpu", **changes)
        parser.parse(True)
        parser.get_parsed_content("run")


def photograph(shape=(70, 91), channels=3):
    """Blots of 8 bits; the colours of each pixel differ."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (*(-(-n // 8) for n in shape), channels), dtype=np.uint8)
    fine = coarse.repeat(8, axis=0).repeat(8, axis=1)[: shape[0], : shape[1]]
    return fine[:, :, 0] if channels == 1 else fine


def picture(array):
    return Volume(array, np.eye(3))


@pytest.fixture(scope="module", params=[GREY, COLOUR])
def on_pictures(request, tmp_path_factory):
    """A bundle of pictures with made-up weights, by which about half of `photograph` is the object."""
    return made_up(request.param, tmp_path_factory.mktemp("bundles"))


def made_up(name, folder):
    root = folder / name
    shutil.copytree(bundle(name), root, ignore=shutil.ignore_patterns("models"))
    (root / "models").mkdir()
    parser = ConfigParser(ConfigParser.load_config_file(str(root / "configs" / "inference.yaml")))
    torch.manual_seed(0)
    weights = root / "models" / "model.pt"
    torch.save(parser.get_parsed_content("network_def").state_dict(), weights)
    made = Segmenter.from_bundle(root, device="cpu")
    values = torch.from_numpy(with_channels(unit_values(photograph()), made.channels)).movedim(-1, 0)
    with torch.inference_mode():
        logits = made.inferer(made.intensity({"image": values})["image"][None], made.network)
    made.network.head.bias.sub_(float(logits.quantile(0.4)))  # between two pixels: none is left at the threshold
    torch.save(made.network.state_dict(), weights)
    return made, root


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

    run_by_monai(NAME, tmp_path, tmp_path / "out")
    theirs = read_nifti(tmp_path / "out" / "scan_seg.nii.gz")
    assert ours.array.any()  # otherwise equality would say nothing
    np.testing.assert_array_equal(theirs.array, ours.array)
    np.testing.assert_allclose(theirs.affine, ours.affine, atol=1e-5)


def test_less_on_the_device_at_once_gives_the_same_labels(segmenter):
    image, small = scan((64, 80, 5)), segmenter.smaller()
    assert (segmenter.inferer.batch_size, small.inferer.batch_size) == (8, 4)
    labels = segmenter(image).labels.array
    assert labels.any()
    np.testing.assert_array_equal(small(image).labels.array, labels)


def test_pictures_and_colour_are_refused(segmenter):
    with pytest.raises(CaseError, match="choose another bundle") as refused:
        segmenter(Volume(np.zeros((8, 8), np.uint8), np.eye(3)))
    assert refused.value.code == "WRONG_DIMENSION"
    with pytest.raises(CaseError, match="3 channels") as refused:
        segmenter(Volume(np.zeros((8, 8, 4, 3), np.uint8), np.eye(4)))
    assert refused.value.code == "COLOUR"


def test_a_scan_in_another_axis_order_keeps_its_volume_and_its_star(segmenter):
    demo = read_nifti(Path(__file__).parents[1] / "data" / "demo" / "trunk.nii.gz")
    part = demo.array[:, :, 86:91].transpose(2, 0, 1)[:, ::-1]
    turn = np.array([[0, -1, 0, part.shape[1] - 1], [0, 0, 1, 0], [1, 0, 0, 86], [0, 0, 0, 1]])
    turned = Volume(part, demo.affine @ turn)
    plain = segmenter(turned).labels.array
    free = segmenter(turned, Prompt(volumes={1: (0, plain.size)}))
    assert 100 < plain.sum() < plain.size and np.mean(free.labels.array != plain) < 1e-4  # two roads
    center = np.argwhere(plain)[len(np.argwhere(plain)) // 2].astype(float)
    found = segmenter(turned, Prompt(centers={1: center[None]}, volumes={1: (90, 90)}))
    assert found.labels.array.sum() == 90 and found.volumes == {1: (90, 90)} and found.labels.affine is turned.affine
    assert rays_violated(torch.from_numpy(found.labels.array), torch.from_numpy(found.centers[1])) == 0
    with pytest.raises(InputError, match="evolves"):
        segmenter(turned, Prompt(initial=Volume(plain, turned.affine), volumes={1: (90, 90)}))


class Bright(torch.nn.Module):
    """Positive where the scaled image is, with an evolution that moves nothing."""

    def __init__(self):
        super().__init__()
        self.regressor = torch.nn.Hardtanh(-0.5, 0.5)
        self.evolution = Still()

    def forward(self, images):
        return self.regressor(images)


class Still:
    cut_px = 8.0

    def change(self, image, initial):
        return torch.zeros_like(initial)

    def trajectory(self, image, initial):
        return [0.0, 1.0], torch.zeros(2, *initial.shape)


def blocks():
    """Bright blocks of 400, 300 and 36 voxels in soft tissue; a voxel is one pixel of the network."""
    image = np.full((200, 200, 6), -100, np.int16)
    image[40:50, 40:50, 1:5] = image[140:150, 40:50, 1:4] = image[100:106, 100:103, 2:4] = 300
    return Volume(image, np.eye(4)), (image > 0).astype(np.uint8)


def test_small_parts_are_left_out_and_flagged_unless_somebody_drew_them(segmenter):
    image, bright = blocks()
    whole = LargestParts(objects=2, least_share=0.5)
    sees = replace(segmenter, network=Bright(), parts=None)
    found, plain = replace(sees, parts=whole)(image), sees(image)
    assert np.array_equal(plain.labels.array, bright) and plain.flags == ()
    assert np.array_equal(found.labels.array, whole(bright)) and found.labels.array.sum() == 700
    assert found.flags == ("PARTS_LEFT_OUT:kidney",)
    moved = replace(sees, parts=whole)(image, trajectory=True)  # the same by the evolution's road
    assert np.array_equal(moved.labels.array, found.labels.array) and moved.flags == found.flags
    assert (moved.trajectory.levels.array > 0).sum() == 2 * 700  # at both times
    drawn = replace(sees, parts=whole)(image, Prompt(initial=Volume(bright, image.affine)))
    assert np.array_equal(drawn.labels.array, bright) and drawn.flags == ()
    empty = replace(sees, parts=whole)(image, Prompt(initial=Volume(0 * bright, image.affine)))
    assert empty.flags == ("EMPTY_INITIAL", "PARTS_LEFT_OUT:kidney")
    assert segmenter.parts is not None and Segmenter.from_bundle(NAME, device="cpu", all_parts=True).parts is None


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


@pytest.mark.parametrize("shape", [(70, 91), (1, 1), (5, 300)])
def test_masks_have_the_pictures_own_size(on_pictures, shape):
    segmenter, _ = on_pictures
    image = picture(photograph(shape))
    labels = segmenter(image).labels
    assert segmenter.spatial_dims == 2 and labels.affine is image.affine
    assert labels.array.shape == shape and labels.array.dtype == np.uint8 and set(np.unique(labels.array)) <= {0, 1}


def test_monais_own_engine_gives_the_same_masks_of_pictures_of_every_kind(on_pictures, tmp_path):
    segmenter, root = on_pictures
    colour, grey = photograph(), photograph(channels=1)
    kinds = {
        "colour.png": Image.fromarray(colour),
        "grey.png": Image.fromarray(grey),
        "below/grey.png": Image.fromarray(grey[:33]),  # as another file is called, in another folder
        "photo.jpg": Image.fromarray(colour),
        "deep.tif": Image.fromarray(grey.astype(np.uint16) * 16 + 3),
        "alpha.png": Image.fromarray(np.dstack([colour, grey])),
        "palette.png": Image.fromarray(colour).convert("P"),
        "bits.bmp": Image.fromarray(grey > 90),
    }
    for name, image in kinds.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(tmp_path / "in" / name)
    run_by_monai(root, tmp_path / "in", tmp_path / "out", bundle_root=str(root))
    for name in kinds:
        ours = segmenter(read_image(tmp_path / "in" / name)).labels.array
        theirs = np.asarray(Image.open((tmp_path / "out" / name).with_name(f"{Path(name).stem}_seg.png")))
        assert 0.02 < ours.mean() < 0.98, name  # otherwise equality would say little
        assert np.mean(theirs != ours) < 1e-3, name  # random weights: some logits are 0 to rounding


def test_a_picture_keeps_its_volume_and_its_star(on_pictures):
    segmenter, _ = on_pictures
    asked = Prompt(centers={1: np.array([[30.0, 41.5], [60.0, 80.0]])}, volumes={1: (500, 700)})
    found = segmenter(picture(photograph()), asked)
    assert 500 <= found.labels.array.sum() <= 700 and found.centers[1] is asked.centers[1]
    assert rays_violated(torch.from_numpy(found.labels.array), torch.from_numpy(found.centers[1])) == 0


def test_a_star_shaped_bundle_tells_its_centres_and_monais_own_engine_gives_the_same_stars(tmp_path):
    segmenter, root = made_up("star_shape_isic_segmentation", tmp_path)
    found = segmenter(picture(photograph()))
    labels, centers = torch.from_numpy(found.labels.array), torch.from_numpy(found.centers[1])
    assert labels.any() and centers.shape == (1, 2) and rays_violated(labels, centers) == 0
    assert any(flag == "STAR_CHANGED:lesion" for flag in found.flags)  # of blots no star comes near
    (tmp_path / "in").mkdir()
    Image.fromarray(photograph()).save(tmp_path / "in" / "a.png")
    run_by_monai(root, tmp_path / "in", tmp_path / "out", bundle_root=str(root))
    theirs = np.asarray(Image.open(tmp_path / "out" / "a_seg.png"))
    assert np.mean(theirs != found.labels.array) < 1e-3


def test_grey_and_colour_are_made_of_each_other_and_flagged_where_they_were_not_trained_on(on_pictures):
    segmenter = replace(on_pictures[0], parts=None)  # blots lie in many
    odd = {GREY: COLOURED_PICTURE, COLOUR: GREY_PICTURE}[segmenter.name]
    grey = photograph(channels=1)
    as_grey, as_colour = segmenter(picture(grey)), segmenter(picture(np.dstack([grey] * 3)))
    np.testing.assert_array_equal(as_grey.labels.array, as_colour.labels.array)  # a screenshot of greys is grey
    assert as_grey.flags == as_colour.flags == ((odd,) if odd == GREY_PICTURE else ())
    assert segmenter(picture(photograph())).flags == ((odd,) if odd == COLOURED_PICTURE else ())


def test_12_bits_in_16_are_what_8_bits_of_the_same_range_are(on_pictures):
    segmenter, _ = on_pictures
    shallow = photograph(channels=1)
    shallow[0, 0], shallow[-1, -1] = 0, 255
    deep = segmenter(picture(shallow.astype(np.uint16) * 16 + 7)).labels
    np.testing.assert_array_equal(deep.array, segmenter(picture(shallow)).labels.array)


@pytest.mark.parametrize("kind", ["MONOCHROME2", "RGB"])
def test_an_ultrasound_of_dicom_is_what_the_same_picture_is(on_pictures, write_series, tmp_path, kind):
    segmenter, _ = on_pictures
    pixels = photograph(channels=3 if kind == "RGB" else 1)
    tags = {"SOPClassUID": UltrasoundImageStorage, "Modality": "US", "PhotometricInterpretation": kind}
    tags |= {"ImagePositionPatient": None, "PixelSpacing": [0.1, 0.2]}
    colour = {"SamplesPerPixel": 3, "PlanarConfiguration": 0} if kind == "RGB" else {}
    write_series(tmp_path, pixels[None], **tags, **colour)
    [case] = find_cases(tmp_path)
    image = read_case(case)
    found = segmenter(image).labels
    assert found.spacing_mm == (0.1, 0.2)
    np.testing.assert_array_equal(found.array, segmenter(picture(pixels)).labels.array)


def test_volumes_and_contours_are_refused_by_a_bundle_of_pictures(on_pictures):
    segmenter, _ = on_pictures
    with pytest.raises(CaseError, match="takes 2") as refused:
        segmenter(scan())
    assert refused.value.code == "WRONG_DIMENSION"
    with pytest.raises(InputError, match="evolves no contour"):
        segmenter(picture(photograph()), trajectory=True)


def test_images_of_other_libraries_are_segmented_and_their_labels_go_back_on_their_grid(segmenter):
    image = scan((40, 48, 3), np.diag([2.0, -2.0, 3.0, 1.0]))
    expected = segmenter(image).labels.array
    theirs = to_sitk(image)
    for given in ((image.array, image.affine), nib.Nifti1Image(image.array, image.affine), theirs):
        np.testing.assert_array_equal(segmenter(given).labels.array, expected)
    found = segmenter(theirs)
    assert found.to_sitk().GetOrigin() == theirs.GetOrigin() and found.to_sitk().GetDirection() == theirs.GetDirection()
    np.testing.assert_array_equal(found.to_nibabel().affine, image.affine)
    assert segmenter(image).labels.affine is image.affine


def test_mirrors_change_little_and_are_refused_where_none_were_seen(on_pictures):
    plain, root = replace(on_pictures[0], parts=None), on_pictures[1]  # what is averaged is seen in all parts
    image = picture(photograph())
    averaged = replace(Segmenter.from_bundle(root, device="cpu", tta=True, probabilities=True), parts=None)
    answer = mirrored(plain.network, plain.mirror_axes)
    parts = plain.inferer.parts(
        Volume(with_channels(unit_values(image.array), plain.channels), image.affine),
        answer,
        intensity=plain.intensity,
        device=plain.device,
        everywhere=True,
    )
    logits = whole_logits(image, parts)
    found = averaged(image)
    np.testing.assert_array_equal(found.labels.array, logits[0].numpy() > 0)
    np.testing.assert_allclose(found.probabilities.array[..., 0] / 65535, logits[0].sigmoid(), atol=1e-5)
    assert np.any(found.labels.array != plain(image).labels.array)
    with pytest.raises(InputError, match="not trained for mirrored"):
        Segmenter.from_bundle(NAME, device="cpu", tta=True)


def test_a_distance_is_no_probability():
    with pytest.raises(InputError, match="gives signed distance, no probabilities"):
        Segmenter.from_bundle(NAME, device="cpu", probabilities=True)


def test_several_weights_are_averaged_whether_named_or_left_by_folds(on_pictures, tmp_path):
    one, root = on_pictures
    folder = shutil.copytree(root, tmp_path / "folds")
    other = {key: value * 1.1 for key, value in one.network.state_dict().items()}
    torch.save(other, folder / "models" / "model_1.pt")
    files = [folder / "models" / name for name in ("model.pt", "model_1.pt")]
    pictures = torch.randn(1, one.channels, 64, 64)
    named = Segmenter.from_bundle(folder, device="cpu", weights=files)
    second = Segmenter.from_bundle(folder, device="cpu", weights=files[1:])
    expected = (one.network(pictures) + second.network(pictures)) / 2
    torch.testing.assert_close(named.network(pictures), expected)
    assert len({each.weights_sha256 for each in (one, named, second)}) == 3
    assert "research use only" in one.licence and not named.licence  # whose weights others are is not known
    files[0].rename(folder / "models" / "model_0.pt")
    found = Segmenter.from_bundle(folder, device="cpu")
    torch.testing.assert_close(found.network(pictures), expected)
    assert found.weights_sha256 == named.weights_sha256


@pytest.mark.parametrize("option", ["tta", "weights"])
def test_objects_that_are_told_apart_by_values_are_not_averaged(option, tmp_path):
    root = tmp_path / "dvis_nuclei_segmentation"
    shutil.copytree(bundle(root.name), root, ignore=shutil.ignore_patterns("models"))
    parser = ConfigParser(ConfigParser.load_config_file(str(root / "configs" / "inference.yaml")))
    torch.save(parser.get_parsed_content("network_def").state_dict(), tmp_path / "model.pt")
    weights = [tmp_path / "model.pt"]
    more = {"tta": {"tta": True, "weights": weights}, "weights": {"weights": weights * 2}}[option]
    with pytest.raises(InputError, match="a mean tells nothing"):
        Segmenter.from_bundle(root, device="cpu", **more)
