"""multipart/related, the envelope in which DICOMweb sends many files in one answer: read as a stream, written whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator

_PIECE = 1 << 18  # bytes that are asked for at a time
_LONGEST_HEADER = 1 << 16


class BadMultipart(ValueError):
    """The stream ends before the boundary that closes it, or a part's header has no end."""


def read_parts(read: Callable[[int], bytes], boundary: str) -> Iterator[Iterator[bytes]]:
    """The content of every part, in pieces; what is left of one is skipped when the next is asked for.

    read: gives at most so many further bytes, b"" at the end. Memory does not grow with the size of a part.
    BadMultipart.
    """
    stream = _Stream(read)
    delimiter = b"\r\n--" + boundary.encode(errors="replace")
    for _ in stream.until(delimiter):
        pass  # what precedes the first part means nothing
    while stream.peek(2) != b"--":
        if sum(map(len, stream.until(b"\r\n\r\n", at_most=_LONGEST_HEADER))) > _LONGEST_HEADER:
            raise BadMultipart("a part's header has no end")
        part = stream.until(delimiter)
        yield part
        for _ in part:
            pass


def as_multipart(content: bytes, content_type: str, boundary: str) -> bytes:
    """One part in its envelope. boundary: must not occur in `content`."""
    head = f"--{boundary}\r\nContent-Type: {content_type}\r\n\r\n"
    return head.encode("ascii") + content + f"\r\n--{boundary}--\r\n".encode("ascii")


class _Stream:
    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._buffer = b"\r\n"  # as if a line had ended: the first boundary may come at once

    def until(self, mark: bytes, at_most: int | None = None) -> Iterator[bytes]:
        """What comes before `mark`, in pieces, and `mark` itself is passed over; stops soon after `at_most` bytes."""
        given = 0
        while (end := self._buffer.find(mark)) < 0:
            keep = len(mark) - 1  # it may have begun
            piece, self._buffer = self._buffer[:-keep], self._buffer[-keep:]
            given += len(piece)
            yield piece
            if at_most is not None and given > at_most:
                return
            self._fill()
        piece, self._buffer = self._buffer[:end], self._buffer[end + len(mark) :]
        yield piece

    def peek(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._fill()
        return self._buffer[:size]

    def _fill(self) -> None:
        more = self._read(_PIECE)
        if not more:
            raise BadMultipart("it ends before its closing boundary")
        self._buffer += more
