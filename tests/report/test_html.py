"""report.html says what cases.csv and run.json say, whatever they hold, and runs nothing of it."""

from __future__ import annotations

import base64
import io
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import InputError
from pipeline.inference import quality
from pipeline.io.table import write_table
from pipeline.report import thumbnails
from pipeline.report.batch_table import MOST_COLUMNS, columns
from pipeline.report.flags import FLAGS
from pipeline.report.html import write_report
from pipeline.report.thumbnails import WIDTHS, Thumbnails

HOSTILE = "<script>alert(1)</script>"
RUN = {
    "bundle": "kidneys",
    "bundle_version": "0.1.0",
    "weights_sha256": "4694d488",
    "weights_licence": "Weights: research use only.",
    "device": "cuda:0",
    "labels": {"1": "kidney"},
    "software": {"evoseg": "0.1.0", "ray": None},
    "arguments": {"inputs": ["scans"], "resume": False},
    "started": "2026-11-20T17:45:26+00:00",
    "ended": "2026-11-20T19:46:56+00:00",
}


class Page(HTMLParser):
    """The elements of a page as (tag, attributes), and its text in one line."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data.split()

    def all(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        return [has for name, has in self.elements if name == tag and wanted.items() <= has.items()]

    @property
    def text(self) -> str:
        return " ".join(self.words)

    @property
    def states(self) -> list[str | None]:
        return [row["data-state"] for row in self.all("tr") if "data-state" in row]


def case(name: str, **facts: Any) -> dict[str, Any]:
    return {"id": name, "source": "", "status": "ok", "code": "", "message": "", "seconds": 1.25, "flags": "", **facts}


def report(out: Path, *cases: dict[str, Any], **run: Any) -> Page:
    names = dict.fromkeys(key for each in (case(""), *cases) for key in each if key != "flags")
    write_table(out / "cases.csv", [*names, "flags"], cases)
    (out / "run.json").write_text(json.dumps(RUN | run), encoding="utf-8")
    return Page(write_report(out).read_text(encoding="utf-8"))


def draw(path: Path, size: tuple[int, int] = (60, 40)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)).save(path)


def test_what_to_look_at_comes_first(tmp_path):
    page = report(
        tmp_path,
        case("a"),
        case("b", status="skipped", message="not tried"),
        case("c", status="failed", code="SLICE_GAP", message="slice 3 is missing: restore it"),
        case("d", flags="EMPTY:kidney;HU_RANGE"),
    )
    assert page.states == ["flagged", "failed", "skipped", "ok"]
    assert "2 of 4 cases segmented" in page.text
    assert "slice 3 is missing: restore it" in page.text and "a slice position is missing" in page.text
    assert [each["data-remark"] for each in page.all("button") if "data-remark" in each] == [
        *("EMPTY:kidney", "HU_RANGE", "SLICE_GAP")
    ]


def test_the_page_tells_what_made_it(tmp_path):
    text = report(tmp_path, case("a")).text
    for told in ("kidneys 0.1.0", "4694d488", "research use only", "cuda:0", "17:45 UTC, 2 h 1 min", "scans"):
        assert told in text
    assert "resume" not in text and "ray" not in text  # neither a flag that was not given nor what is not installed


@pytest.mark.parametrize(
    ("cases", "said"),
    [
        ([], "No case in this run"),
        ([case("a", status="failed", code="TRUNCATED", message="cut")], "None of 1 case segmented"),
        ([case("a")], "1 of 1 case segmented"),
    ],
)
def test_a_run_of_no_case_and_one_of_failures_alone_have_a_page(tmp_path, cases, said):
    assert said in report(tmp_path, *cases).text


def test_a_run_that_did_not_end_says_so(tmp_path):
    assert "not ended" in report(tmp_path, case("a"), ended=None).text


def test_names_and_messages_are_text_wherever_they_come_from(tmp_path):
    draw(tmp_path / "overlays" / f"{HOSTILE}.png")
    page = report(
        tmp_path,
        case(HOSTILE, flags=f'"><img/src=x/onerror=alert(2)>;{HOSTILE}'),
        case("b", status="failed", code=HOSTILE, message=HOSTILE),
        bundle=HOSTILE,
        arguments={"inputs": [HOSTILE]},
        software={HOSTILE: HOSTILE},
        labels={"1": HOSTILE},
        device=HOSTILE,
        started=HOSTILE,
    )
    assert len(page.all("script")) == 1
    assert {source["src"][:5] for source in page.all("img") if "src" in source} == {"data:"}
    assert all(not name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert HOSTILE in page.text.replace(" ", "")


def test_the_page_allows_itself_no_source_of_anything(tmp_path):
    page = report(tmp_path, case("a"))
    (policy,) = (each["content"] for each in page.all("meta", **{"http-equiv": "Content-Security-Policy"}))
    assert policy.startswith("default-src 'none'; img-src data:; ") and "unsafe" not in policy
    links = [has[key] for _, has in page.elements for key in ("src", "href") if has.get(key)]
    assert all(link.startswith("data:") or ":" not in link for link in links)


def test_a_picture_is_embedded_and_linked_in_full(tmp_path):
    draw(tmp_path / "overlays" / "a b" / "c#1.png")
    page = report(tmp_path, case("a b/c#1"))
    (picture,) = page.all("img", width="60")
    encoded = base64.b64decode(picture["src"].removeprefix("data:image/webp;base64,"))
    assert Image.open(io.BytesIO(encoded)).size == (60, 40)
    assert page.all("button", **{"data-full": "overlays/a%20b/c%231.png"})


def test_pictures_of_failures_broken_ones_and_those_elsewhere_are_left_out(tmp_path):
    for name in ("overlays/failed.png", "overlays/broken.png", "secret.png"):
        draw(tmp_path / name)
    (tmp_path / "overlays" / "broken.png").write_bytes((tmp_path / "secret.png").read_bytes()[:99])
    failed = case("failed", status="failed", code="TRUNCATED", message="cut")
    page = report(tmp_path, failed, case("broken"), case("../secret"), case("never_drawn"))
    assert not page.all("img", loading="lazy")


def test_the_more_pictures_the_smaller_and_the_page_stays_within_bounds(tmp_path, monkeypatch):
    draw(tmp_path / "a.png", size=(1080, 700))  # noise: no picture takes more
    alone = Thumbnails(1)(tmp_path / "a.png")
    monkeypatch.setattr(thumbnails, "PICTURE_BYTES", 10**6)
    assert alone.width < Thumbnails(1)(tmp_path / "a.png").width == WIDTHS[0]
    monkeypatch.setattr(thumbnails, "PAGE_BYTES", 10**6)
    many = Thumbnails(20)
    uris = [many(tmp_path / "a.png").uri for _ in range(20)]
    assert sum(map(len, uris)) <= 10**6 * 4 / 3 + 20 * len("data:image/webp;base64,") + 20 * 3


def test_sizes_stand_under_their_units_with_equal_decimals(tmp_path):
    page = report(tmp_path, case("a", volume_ml_left_kidney=1234.5678), case("b", volume_ml_left_kidney=0.25))
    assert "left kidney ml" in page.text
    assert "1,234.6" in page.text and " 0.2 " in page.text
    assert page.all("td", **{"data-value": "1234.57"})


def test_a_distribution_is_told_by_its_ends_and_median():
    (column,), more = columns([case("", count_nucleus=str(n)) for n in range(1, 10)])
    assert (column.name, column.unit, column.summary, more) == ("nucleus", "objects", "from 1 to 9, median 5", 0)
    assert max(column.bars) == 1


@pytest.mark.parametrize("values", [["5"] * 20, ["1", "2"], [""] * 20, ["nan", "inf", "x"] * 9])
def test_values_that_are_few_equal_or_no_numbers_have_no_distribution(values):
    (column,), _ = columns([case("", volume_ml_a=value) for value in values])
    assert column.bars == ()


def test_more_sizes_than_a_page_has_room_for_are_counted(tmp_path):
    page = report(tmp_path, case("a", **{f"volume_ml_{k}": float(k) for k in range(MOST_COLUMNS + 3)}))
    assert "3 more columns are in cases.csv" in page.text


def test_every_flag_has_a_meaning():
    told = {line.split()[0].split(":")[0] for line in quality.__doc__.splitlines() if line[:1].isupper()}
    flags = {word for word in told if word.replace("_", "").isupper() and len(word) > 1}
    assert "EMPTY" in flags
    assert flags <= set(FLAGS)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="a folder that evoseg segment has written"):
        write_report(tmp_path)
