"""Each series of a PACS is segmented once, whatever is killed, refused or away meanwhile; results go back."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pydicom
import pytest

from pipeline.errors import InputError
from pipeline.inference.pacs import SCANS, Station
from pipeline.inference.pacs_journal import JOURNAL, Journal
from pipeline.inference.records import CaseResult
from pipeline.io.dicomweb import Series, Wanted, find_series
from pipeline.io.discover import Case
from tests.io.dicomweb_server import SERIES, STUDY, Pacs, Reply, pacs, start

__all__ = ["pacs", "start"]

STACK = np.zeros((4, 2, 2), np.int16)


class Batch:
    """Stands in for segment_folder: a result is the first slice under another UID; codes: case id -> how it fails."""

    def __init__(self, out: Path) -> None:
        self.out, self.calls, self.codes = out, [], {}

    def __call__(self, cases: Sequence[Case]) -> list[CaseResult]:
        self.calls.append([case.id for case in cases])
        return [self.segmented(case) for case in cases]

    def segmented(self, case: Case) -> CaseResult:
        code = self.codes.get(case.id, "")
        if not code:
            result = pydicom.dcmread(case.files[0])
            result.SOPInstanceUID, result.SeriesInstanceUID, result.Modality = f"2.25.{len(case.id)}", "2.25.1", "SEG"
            (self.out / case.id).parent.mkdir(parents=True, exist_ok=True)
            result.save_as(self.out / f"{case.id}.seg.dcm")
        return CaseResult(id=case.id, source="", status="failed" if code else "ok", code=code, message=code and "why")


@pytest.fixture
def store(pacs: Pacs, tmp_path: Path, write_series: Callable[..., list[Path]]) -> Callable[..., None]:
    """Puts a series into the PACS."""

    def put(series: str = SERIES, images: int = 4, **tags) -> None:
        pacs.store(*write_series(tmp_path / "in", STACK[:images], series=series, StudyInstanceUID=STUDY, **tags))

    return put


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    return Batch(tmp_path / "out")


@pytest.fixture
def station(pacs: Pacs, batch: Batch) -> Callable[..., Station]:
    """A new one, as if the process had been started again."""

    def make(made_by: str = "a bundle", **more) -> Station:
        facts = {"sent": (".seg.dcm",), "journal": Journal(batch.out, made_by)} | more
        return Station(server=pacs.server, out=batch.out, segment=batch, **facts)

    return make


def found(pacs: Pacs) -> list[Series]:
    return find_series(pacs.server, Wanted(modality="CT"))


def watch(station: Station, pacs: Pacs, *between: Callable[[], object]) -> list[float]:
    """Look once before, between and after these; the pauses."""
    paused: list[float] = []
    steps = list(between)

    def pause(seconds: float) -> None:
        paused.append(seconds)
        if not steps:
            raise KeyboardInterrupt
        steps.pop(0)()

    with pytest.raises(KeyboardInterrupt):
        station.watch(lambda: found(pacs), interval_s=60, pause=pause)
    return paused


def nothing() -> None:
    pass


def journal(batch: Batch) -> list[tuple[str, str]]:
    lines = (batch.out / JOURNAL).read_text().splitlines()
    return [(entry["series"], entry["code"]) for entry in map(json.loads, filter(None, lines))]


def test_a_series_is_pulled_segmented_under_its_uid_sent_and_its_scan_removed(pacs, store, batch, station) -> None:
    store()
    assert station().run(found(pacs))
    assert batch.calls == [[SERIES]]
    assert [uid for uid in pacs.files if uid.startswith("2.25.")] == [f"2.25.{len(SERIES)}"]
    assert journal(batch) == [(SERIES, "ok")]
    assert list((batch.out / SCANS).iterdir()) == []


def test_scans_are_kept_by_choice_and_results_are_not_sent_by_choice(pacs, store, batch, station) -> None:
    store()
    assert station(keep_scans=True, sent=()).run(found(pacs))
    assert len(list((batch.out / SCANS / SERIES).iterdir())) == 4
    assert not [each for each in pacs.asked if each.startswith("POST")]


def test_a_series_that_was_refused_stops_no_other(pacs, store, batch, station) -> None:
    for series in ("1.2.1", "1.2.2", "1.2.3"):
        store(series)
    batch.codes["1.2.1"] = "SLICE_GAP"
    pacs.instead["1.2.2/instances"] = [Reply(404)]
    assert not station().run(found(pacs))
    assert sorted(journal(batch)) == [("1.2.1", "SLICE_GAP"), ("1.2.2", "PULL_FAILED"), ("1.2.3", "ok")]


def test_a_localizer_is_passed_over_and_nothing_has_failed(pacs, store, batch, station) -> None:
    store(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    assert station().run(found(pacs))
    assert (journal(batch), batch.calls) == ([(SERIES, "no scan")], [])


def test_volumes_of_one_series_lie_below_its_uid(pacs, store, batch, station, tmp_path, write_series) -> None:
    for echo in (1, 2):
        tags = {"EchoNumbers": echo, "SOPInstanceUID": None, "StudyInstanceUID": STUDY, "Modality": "CT"}
        for k, path in enumerate(write_series(tmp_path / f"echo{echo}", STACK, **tags)):
            header = pydicom.dcmread(path)
            header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = f"1.2.{echo}.{k}"
            header.save_as(path)
            pacs.store(path)
    station().run(found(pacs))
    ((first, second),) = batch.calls
    assert first != second and {Path(first).parts[0], Path(second).parts[0]} == {SERIES}


def test_no_more_than_a_round_of_series_is_on_the_disk(pacs, store, batch, station, monkeypatch) -> None:
    monkeypatch.setattr("pipeline.inference.pacs.ROUND", 2)
    for k in range(3):
        store(f"1.2.{k}", images=2)
    assert station(sent=()).run(found(pacs))
    assert [len(call) for call in batch.calls] == [2, 1]


def test_a_line_that_a_kill_left_half_costs_its_series_alone(batch) -> None:
    one, two = (Series(study=STUDY, series=uid, images=3) for uid in ("1.2.1", "1.2.2"))
    before = Journal(batch.out, "a")
    before.add(one, "ok")
    before.add(two, "ok")
    path = batch.out / JOURNAL
    path.write_text(path.read_text()[:-20])
    after = Journal(batch.out, "a")
    assert (after.is_done(one), after.is_done(two)) == (True, False)
    after.add(two, "ok")
    assert Journal(batch.out, "a").is_done(two)


def test_other_weights_or_more_images_are_another_task(batch) -> None:
    series = Series(study=STUDY, series="1.2.1", images=3)
    Journal(batch.out, "a").add(series, "ok")
    assert Journal(batch.out, "a").is_done(series)
    assert not Journal(batch.out, "b").is_done(series)
    assert not Journal(batch.out, "a").is_done(Series(study=STUDY, series="1.2.1", images=4))


@pytest.mark.parametrize(
    ("codes", "closed"),
    [
        ([], False),
        (["ok"], True),
        (["SLICE_GAP"], True),
        (["PUSH_FAILED", "PULL_FAILED"], False),
        (["PULL_FAILED"] * 3, True),
    ],
)
def test_what_may_pass_is_tried_three_times_and_a_refused_scan_once(batch, codes: list[str], closed: bool) -> None:
    series = Series(study=STUDY, series="1.2.1", images=3)
    for code in codes:
        Journal(batch.out, "a").add(series, code)
    assert Journal(batch.out, "a").is_closed(series) == closed


def test_a_journal_that_cannot_be_written_is_said_and_stops_nothing(pacs, store, batch, station, caplog) -> None:
    store()
    (batch.out / JOURNAL).mkdir(parents=True)
    with pytest.raises(InputError, match=JOURNAL):
        Journal(batch.out, "a")
    (batch.out / JOURNAL).rmdir()
    one = station()
    (batch.out / JOURNAL).mkdir()
    assert one.run(found(pacs))
    assert "will be done again" in caplog.text


def test_a_watch_does_each_series_once_when_it_has_come_to_rest(pacs, store, batch, station) -> None:
    store(images=2)
    paused = watch(station(), pacs, lambda: store(images=4), nothing, nothing, lambda: store("1.2.9"), nothing)
    assert batch.calls == [[SERIES], ["1.2.9"]]
    assert paused == [60] * 6
    assert ("1.2.9", "ok") in journal(batch)


def test_a_watch_that_was_killed_goes_on_where_it_was(pacs, store, batch, station) -> None:
    store()
    watch(station(), pacs, nothing)
    watch(station(), pacs, nothing)
    assert batch.calls == [[SERIES]]


def test_a_series_that_grew_after_it_was_segmented_is_done_again(pacs, store, batch, station) -> None:
    store(images=3)
    watch(station(), pacs, nothing, lambda: store(images=4), nothing)
    assert batch.calls == [[SERIES], [SERIES]]


def test_a_watch_waits_longer_and_longer_for_a_server_that_is_away(pacs, store, batch, station) -> None:
    store()
    pacs.instead["series"] = [Reply(503)] * 3 * 5
    paused = watch(station(), pacs, *[nothing] * 6)
    assert paused == [120, 240, 480, 900, 900, 60, 60]
    assert batch.calls == [[SERIES]]


def test_a_result_that_the_server_did_not_take_is_sent_again_without_pulling(pacs, store, batch, station) -> None:
    store()
    pacs.instead["studies"] = [Reply(507)]
    watch(station(), pacs, nothing, nothing)
    assert [code for _, code in journal(batch)] == ["PUSH_FAILED", "ok"]
    assert len([each for each in pacs.asked if each.endswith(f"/{SERIES}")]) == 1


def test_a_series_that_never_comes_whole_is_left_alone_after_three_times(pacs, store, batch, station) -> None:
    store()
    pacs.instead[f"{SERIES}/instances"] = [Reply(500)] * 9
    watch(station(), pacs, *[nothing] * 6)
    assert [code for _, code in journal(batch)] == ["PULL_FAILED"] * 3
    assert not (batch.out / SCANS / SERIES).exists()


def test_wrong_credentials_end_a_watch_since_accounts_are_locked_by_trying(pacs, station) -> None:
    pacs.instead["series"] = [Reply(401)]
    with pytest.raises(InputError, match="401"):
        station().watch(lambda: found(pacs), interval_s=60, pause=lambda seconds: None)
