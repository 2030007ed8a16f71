"""A real Orthanc on a free port of this machine, with one user, that stops with its test; TLS in front of it.

Debian 12's Orthanc falls at the first request by https (its civetweb and OpenSSL 3 do not fit), so a relay encrypts for
it, as a clinic's web server does.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
USER, PASSWORD = "ann", "s3cret: of the ward"
UP_WITHIN_S, DOWN_WITHIN_S = 60, 30


@dataclass(frozen=True)
class Orthanc:
    """url: of DICOMweb, not encrypted. log: what it says. process: may be stopped by a test."""

    url: str
    port: int
    log: Path
    process: subprocess.Popen[bytes]


@contextmanager
def orthanc(folder: Path, *, port: int | None = None) -> Iterator[Orthanc]:
    """Start one with its archive in `folder`, which may be an earlier one's. port: None for a free one."""
    program = shutil.which("Orthanc")
    assert program and PLUGIN.is_file(), "no Orthanc with DICOMweb: apt-get install orthanc orthanc-dicomweb"
    port = port or free_port()
    settings = {
        "StorageDirectory": str(folder / "archive"),
        "IndexDirectory": str(folder / "archive"),
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: PASSWORD},
        "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen([program, str(folder / "orthanc.json")], cwd=folder, stdout=log, stderr=log)
    try:
        found = Orthanc(f"http://127.0.0.1:{port}/dicom-web", port, folder / "orthanc.log", process)
        _wait_until_up(found)
        yield found
    finally:
        process.terminate()
        try:
            process.wait(DOWN_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def encrypted(server: Orthanc, certificate: Path) -> Iterator[str]:
    """An address of https at which `server` is reached. certificate: PEM with its key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    facts = {"context": context, "upstream": ("127.0.0.1", server.port)}
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), type("Relay", (_Relay,), facts)) as relay:
        relay.daemon_threads = True
        threading.Thread(target=relay.serve_forever, daemon=True).start()
        yield f"https://127.0.0.1:{relay.server_address[1]}/dicom-web"
        relay.shutdown()


class _Relay(socketserver.BaseRequestHandler):
    context: ssl.SSLContext
    upstream: tuple[str, int]

    def handle(self) -> None:
        with (
            suppress(OSError),  # who does not trust the certificate hangs up
            self.context.wrap_socket(self.request, server_side=True) as client,
            socket.create_connection(self.upstream) as server,
        ):
            back = threading.Thread(target=_copy, args=(server, client), daemon=True)
            back.start()
            _copy(client, server)
            back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(1 << 16):
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def self_signed(folder: Path, name: str = "IP:127.0.0.1") -> tuple[Path, Path]:
    """A certificate for `name` that vouches for itself; the same with its key."""
    folder.mkdir(parents=True, exist_ok=True)
    key, certificate, both = (folder / each for each in ("key.pem", "certificate.pem", "both.pem"))
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=orthanc"]
    files = ["-addext", f"subjectAltName={name}", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*words, *files], check=True, capture_output=True)
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    return certificate, both


def environment(**more: str) -> dict[str, str]:
    """What a command is started with: credentials, and none of the caller's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("EVOSEG_PACS", "SSL_CERT"))}
    return {**kept, "EVOSEG_PACS_USER": USER, "EVOSEG_PACS_PASSWORD": PASSWORD, **more}


def _wait_until_up(found: Orthanc) -> None:
    until = time.monotonic() + UP_WITHIN_S
    while time.monotonic() < until:
        assert found.process.poll() is None, found.log.read_text()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", found.port)) == 0:
                return
        time.sleep(0.1)  # another process: there is nothing to wait on but its port
    raise AssertionError(f"Orthanc did not come up within {UP_WITHIN_S} s:\n{found.log.read_text()}")
