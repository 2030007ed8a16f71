from __future__ import annotations

import random
from pathlib import PurePosixPath, PureWindowsPath

import pytest

from pipeline.io.case_ids import safe_path, unique_ids


@pytest.mark.parametrize(
    ("parts", "safe"),
    [
        (("a", "b c", "é"), "a/b c/é"),
        (("..", "x"), "_/x"),
        (('a<>:"|?*\\b',), "a________b"),
        (("tail. ", "."), "tail/_"),
        (("CON", "nul.txt", "com1", "console"), "_CON/_nul.txt/_com1/console"),
        (("new\nline", "\udcff"), "new_line/_"),
        ((), "_"),
    ],
)
def test_parts_become_a_path_that_every_system_takes(parts, safe):
    assert safe_path(parts) == safe
    assert not PurePosixPath(safe).is_absolute() and not PureWindowsPath(safe).is_absolute()


def test_ids_are_unique_without_regard_to_case_whatever_the_names():
    draw = random.Random(0)
    for _ in range(300):
        names = ["a", "A", "b", "a_2", "a_3", "A_2"]
        choices = [[draw.choice(names) for _ in range(draw.randint(1, 3))] for _ in range(draw.randint(1, 8))]
        ids = unique_ids(choices)
        assert len({name.casefold() for name in ids}) == len(choices)
        assert all(any(name.startswith(choice) for choice in own) for name, own in zip(ids, choices, strict=True))


def test_the_shortest_names_are_kept_where_they_are_unique():
    assert unique_ids([["a", "a.mha"], ["b", "b.mha"], ["a", "a.nii"]]) == ["a.mha", "b", "a.nii"]
