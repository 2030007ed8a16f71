"""Parts of a multipart answer come out as they went in, wherever the network cuts it into pieces."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest

from pipeline.io.multipart import BadMultipart, as_multipart, read_parts

# Things that look like an envelope and are content.
PARTS = [b"first", b"", b"\r\n--edg\r\n\r\n-", b"a\r\n\r\nb\r\n", bytes(range(256)) * 9]
HEAD = b"Content-Type: application/dicom\r\n\r\n"


def envelope(parts: list[bytes], *, before: bytes = b"", after: bytes = b"") -> bytes:
    return before + b"".join(b"--edge\r\n" + HEAD + part + b"\r\n" for part in parts) + b"--edge--" + after


def reader(content: bytes, at_most: int = 1 << 20) -> Callable[[int], bytes]:
    stream = io.BytesIO(content)
    return lambda size: stream.read(min(size, at_most))


@pytest.mark.parametrize("at_most", [1, 2, 5, 7, 1000])
@pytest.mark.parametrize(("before", "after"), [(b"", b""), (b"\r\n", b"\r\n"), (b"read me\r\n", b"\r\nthe end")])
def test_parts_are_what_was_put_in(at_most: int, before: bytes, after: bytes) -> None:
    read = reader(envelope(PARTS, before=before, after=after), at_most)
    assert [b"".join(part) for part in read_parts(read, "edge")] == PARTS


def test_a_part_without_any_header_is_read() -> None:
    assert [b"".join(part) for part in read_parts(reader(b"--e\r\n\r\nabc\r\n--e--"), "e")] == [b"abc"]


def test_a_part_that_nobody_reads_is_skipped() -> None:
    parts = read_parts(reader(envelope(PARTS), at_most=3), "edge")
    next(parts)
    assert b"".join(next(parts)) == PARTS[1]


@pytest.mark.parametrize("left", [0, 5, 30, 60, -1])
def test_an_answer_without_its_end_is_refused(left: int) -> None:
    whole = envelope([b"x" * 40])
    with pytest.raises(BadMultipart, match="closing boundary"):
        [b"".join(part) for part in read_parts(reader(whole[:left]), "edge")]


def test_a_header_without_end_is_refused_before_it_fills_the_memory() -> None:
    asked = []

    def endless(size: int) -> bytes:
        asked.append(size)
        return b"--edge\r\n" if len(asked) == 1 else b"x" * size

    with pytest.raises(BadMultipart, match="header has no end"):
        list(read_parts(endless, "edge"))
    assert len(asked) < 5


def test_pieces_stay_small_however_large_a_part_is() -> None:
    content = b"y" * (5 << 20)
    (sizes,) = ([len(piece) for piece in part] for part in read_parts(reader(envelope([content])), "edge"))
    assert sum(sizes) == len(content)
    assert max(sizes) < len(content) / 10


def test_what_is_written_is_read_back() -> None:
    content = b"DICM" * 100
    (part,) = (b"".join(part) for part in read_parts(reader(as_multipart(content, "application/dicom", "b0")), "b0"))
    assert part == content


def test_blanks_after_a_boundary_mean_nothing() -> None:
    assert [b"".join(part) for part in read_parts(reader(b"--e  \r\nA: b\r\n\r\nabc\r\n--e--  \r\n"), "e")] == [b"abc"]
