"""Configs are walked to their last key."""

from __future__ import annotations

from pipeline.data.config import entries


def test_keys_of_every_level_come_with_their_values() -> None:
    config = {"a": {"b": [{"c": 1}, "x"]}}
    assert dict(entries(config)) == {
        "a": {"b": [{"c": 1}, "x"]},
        "a::b": [{"c": 1}, "x"],
        "a::b::0": {"c": 1},
        "a::b::0::c": 1,
        "a::b::1": "x",
    }
