"""A folder is held by one run, as long as that lives."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock
import pytest

from pipeline.errors import InputError
from pipeline.io.folder_lock import LOCK, held


def hold(folder: Path, pipe) -> None:
    try:
        with held(folder):
            pipe.send("held")
            with suppress(EOFError):
                pipe.recv()
    except InputError as error:
        pipe.send(str(error))


@contextmanager
def another(folder: Path):
    """Another process that holds the folder or says why not, and its word; it lives no longer than the block.

    It ends when our end of the pipe closes: that end must live as long as the process is meant to hold the folder.
    """
    context = multiprocessing.get_context("spawn")
    ours, its = context.Pipe()
    process = context.Process(target=hold, args=(folder, its))
    process.start()
    its.close()
    with ours:
        yield process, ours.recv()
    process.join()


def test_another_process_is_refused_until_the_block_ends(tmp_path: Path) -> None:
    with held(tmp_path / "out"), another(tmp_path / "out") as (_, word):
        assert "another run is at work in" in word and str(tmp_path / "out") in word
    assert list((tmp_path / "out").iterdir()) == []
    with held(tmp_path / "out"):
        pass


def test_a_process_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    with another(tmp_path) as (process, word):
        assert word == "held"
        with pytest.raises(InputError, match="choose another OUT"), held(tmp_path):
            pass
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    assert (tmp_path / LOCK).exists()
    with held(tmp_path):
        pass


def test_who_holds_it_may_hold_it_again(tmp_path: Path) -> None:
    with held(tmp_path):
        with held(tmp_path):
            pass
        with another(tmp_path) as (_, word):
            assert word != "held"


def test_parts_are_held_side_by_side(tmp_path: Path) -> None:
    with held(tmp_path, "-1-of-2"), held(tmp_path, "-2-of-2"):
        assert len(list(tmp_path.iterdir())) == 2


def test_a_file_system_without_locks_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(self: filelock.FileLock) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(filelock.FileLock, "acquire", no_locks)
    with held(tmp_path / "out"):
        assert (tmp_path / "out").is_dir()


def test_a_folder_that_cannot_be_made_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file/out/\.lock could not be written"), held(tmp_path / "file" / "out"):
        pass
