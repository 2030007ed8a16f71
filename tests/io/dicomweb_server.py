"""A small DICOMweb server in this process, which can be told to fail: what the tests of `evoseg pacs` talk to."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pydicom
import pytest

from pipeline.io.web import Server

JSON = "application/dicom+json"
EDGE = "tests--edge"
MULTIPART = f'multipart/related; type="application/dicom"; boundary="{EDGE}"'
STUDY, SERIES = "1.2.3.4", "1.2.826.0.1.3680043.8.498.1"


@dataclass
class Reply:
    """length: the Content-Length that is claimed."""

    status: int = 200
    body: bytes = b""
    kind: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None


@dataclass
class Pacs:
    """files: SOPInstanceUID -> DICOM file. instead: a path's end -> replies to give, once each, for the right ones.

    asked: method and path of each request; queries and headers: of each request.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    instead: dict[str, list[Reply]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    queries: list[dict[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    page: int = 1000
    waited: list[float] = field(default_factory=list)

    @property
    def server(self) -> Server:
        """A client of it, which does not wait."""
        return Server(self.url, wait=self.waited.append)

    def store(self, *paths: Path) -> None:
        for path in paths:
            self.files[str(pydicom.dcmread(path).SOPInstanceUID)] = path.read_bytes()

    def reply(self, method: str, target: str, body: bytes) -> Reply:
        parts = urlsplit(target)
        self.asked.append(f"{method} {parts.path}")
        self.queries.append(dict(parse_qsl(parts.query)))
        for end, replies in self.instead.items():
            if replies and parts.path.endswith(end):
                return replies.pop(0)
        if method == "POST":
            return self._stored(body)
        *_, before, last = parts.path.split("/")
        if last in ("series", "instances"):
            return self._results(self.queries[-1], of_series="" if last == "series" else before)
        if last in self.files:
            return multipart(self.files[last])
        return multipart(*(self.files[str(header.SOPInstanceUID)] for header in self._headers(last)))

    def _headers(self, of_series: str = "") -> list[pydicom.Dataset]:
        found = [pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True) for content in self.files.values()]
        return [header for header in found if of_series in ("", header.SeriesInstanceUID)]

    def _results(self, query: dict[str, str], *, of_series: str) -> Reply:
        headers = [each for each in self._headers(of_series) if query.get("00080060") in (None, each.Modality)]
        found = [described(header) for header in headers]
        if not of_series:
            uids = [header.SeriesInstanceUID for header in headers]
            found = [
                described(header) | {"00201209": {"vr": "IS", "Value": [uids.count(header.SeriesInstanceUID)]}}
                for k, header in enumerate(headers)
                if header.SeriesInstanceUID not in uids[:k]
            ]
        first = int(query.get("offset", 0))
        return Reply(body=json.dumps(found[first : first + self.page]).encode())

    def _stored(self, body: bytes) -> Reply:
        content = body.split(b"\r\n\r\n", 1)[1].rpartition(b"\r\n--")[0]
        uid = str(pydicom.dcmread(io.BytesIO(content)).SOPInstanceUID)
        self.files[uid] = content
        return Reply(body=json.dumps({"00081199": items({"00081155": element("UI", uid)})}).encode())


def described(header: pydicom.Dataset) -> dict[str, Any]:
    tags = ("0020000D", "0020000E", "00080018", "00080020", "00080060", "00100020", "00100010")
    values = {tag: header.get(int(tag, 16)) for tag in tags}
    return {tag: element(each.VR, str(each.value)) for tag, each in values.items() if each is not None}


def element(vr: str, value: Any) -> dict[str, Any]:
    return {"vr": vr, "Value": [value]}


def items(*content: dict[str, Any]) -> dict[str, Any]:
    return {"vr": "SQ", "Value": list(content)}


def multipart(*files: bytes, end: bytes = f"\r\n--{EDGE}--\r\n".encode()) -> Reply:
    head = f"--{EDGE}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    return Reply(body=b"\r\n".join(head + file for file in files) + end, kind=MULTIPART)


class _Handler(BaseHTTPRequestHandler):
    pacs: Pacs

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"])))

    def _answer(self, body: bytes) -> None:
        self.pacs.headers.append(dict(self.headers))
        reply = self.pacs.reply(self.command, self.path, body)
        self.send_response(reply.status)
        length = len(reply.body) if reply.length is None else reply.length
        for name, value in {"Content-Type": reply.kind, "Content-Length": str(length), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def start() -> Iterator[Callable[[], Pacs]]:
    """Starts a server on a free port of this machine; all of them stop with the test."""
    running: list[ThreadingHTTPServer] = []

    def run() -> Pacs:
        pacs = Pacs()
        running.append(ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"pacs": pacs})))
        threading.Thread(target=running[-1].serve_forever, args=(0.01,), daemon=True).start()
        pacs.url = f"http://127.0.0.1:{running[-1].server_port}/dicom-web"
        return pacs

    yield run
    for server in running:
        server.shutdown()
        server.server_close()


@pytest.fixture
def pacs(start: Callable[[], Pacs]) -> Pacs:
    return start()
