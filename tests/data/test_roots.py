from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pipeline.data import roots
from pipeline.errors import InputError


def make_bundle(folder: Path, name: str, **meta: object) -> Path:
    configs = folder / name / "configs"
    configs.mkdir(parents=True)
    (configs / "metadata.json").write_text(json.dumps(meta))
    return folder / name


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EVOSEG_BUNDLES", str(tmp_path))
    return tmp_path


def test_a_bundle_is_found_by_name_in_the_folder_of_the_environment_variable(shelf: Path) -> None:
    made = make_bundle(shelf, "spleen_segmentation")
    assert roots.bundle("spleen_segmentation") == str(made.resolve())
    assert roots.bundles()["spleen_segmentation"] == made.resolve()


def test_the_first_of_several_folders_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    made = make_bundle(first, "twin_segmentation")
    make_bundle(second, "twin_segmentation")
    monkeypatch.setenv("EVOSEG_BUNDLES", os.pathsep.join([str(first), str(second)]))
    assert roots.bundle("twin_segmentation") == str(made.resolve())


def test_a_path_is_taken_as_it_is_and_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_bundle(tmp_path, "own_segmentation")
    monkeypatch.chdir(tmp_path)
    assert roots.bundle("own_segmentation") == roots.bundle(made) == str(made.resolve())


def test_an_unknown_name_is_refused_with_the_near_one(shelf: Path) -> None:
    make_bundle(shelf, "spleen_segmentation")
    with pytest.raises(InputError, match=r"did you mean spleen_segmentation\?"):
        roots.bundle("spleen_segmentatoin")


def test_a_folder_without_metadata_is_not_a_bundle(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not a bundle: it has no configs/metadata\.json"):
        roots.bundle(tmp_path)


def test_metadata_that_is_not_json_names_the_file(shelf: Path) -> None:
    made = make_bundle(shelf, "broken_segmentation")
    (made / "configs" / "metadata.json").write_text("{")
    with pytest.raises(InputError, match=r"metadata\.json cannot be read as JSON"):
        roots.metadata(made)


def test_the_checkouts_own_bundles_are_found_without_any_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVOSEG_BUNDLES", raising=False)
    assert roots.HOME / "bundles" in roots.search_path()
    assert set(roots.bundles()) >= {
        path.parents[1].name for path in (roots.HOME / "bundles").glob("*/configs/metadata.json")
    }
