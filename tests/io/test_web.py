"""A server of a clinic: whom credentials go to, what is refused, and what a failure is called."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.io.web import Refused, Server, ServerAway, authorization
from tests.io.dicomweb_server import JSON, Pacs, Reply, pacs, start

__all__ = ["pacs", "start"]


def get(server: Server, path: str = "series", **more) -> bytes:
    with server.open(path, accept=JSON, **more) as answer:
        return answer.read()


@pytest.mark.parametrize(
    ("environ", "header"),
    [
        ({}, None),
        ({"EVOSEG_PACS_TOKEN": "abc.def\n"}, "Bearer abc.def"),
        # printf 'Ann:s3cret:' | base64
        ({"EVOSEG_PACS_USER": "Ann", "EVOSEG_PACS_PASSWORD": "s3cret:"}, "Basic QW5uOnMzY3JldDo="),
    ],
)
def test_credentials_come_from_the_environment(environ: dict[str, str], header: str | None) -> None:
    assert authorization(environ) == header


@pytest.mark.parametrize(
    "environ",
    [
        {"EVOSEG_PACS_USER": "Ann"},
        {"EVOSEG_PACS_PASSWORD": "s3cret"},
        {"EVOSEG_PACS_TOKEN": "s3cret", "EVOSEG_PACS_USER": "Ann"},
        {"EVOSEG_PACS_TOKEN": "s3cret\r\nHost: elsewhere"},
    ],
)
def test_half_credentials_are_refused_without_showing_them(environ: dict[str, str]) -> None:
    with pytest.raises(InputError, match="EVOSEG_PACS_") as refusal:
        authorization(environ)
    assert "s3cret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://pacs.example/dicom-web", "not encrypted"),
        ("http://127.0.0.1.example/dicom-web", "not encrypted"),
        ("http://localhost.example/dicom-web", "not encrypted"),
        ("https://Ann:s3cret@pacs.example/dicom-web", "EVOSEG_PACS_USER"),
        ("ftp://pacs.example", "no address"),
        ("pacs.example/dicom-web", "no address"),
        ("https://pacs.example/dicom-web?token=s3cret", "no address"),
        ("https://pacs.example:port/", "cannot be read"),
    ],
)
def test_an_address_that_is_none_or_not_safe_is_refused(url: str, why: str) -> None:
    with pytest.raises(InputError, match=why) as refusal:
        Server(url)
    assert "Ann" not in str(refusal.value)


@pytest.mark.parametrize(
    "url", ["http://localhost:8042", "http://127.0.0.1/x", "http://[::1]:80/x", "https://pacs.example/"]
)
def test_this_machine_needs_no_encryption(url: str) -> None:
    assert Server(url).url == url.rstrip("/")


def test_plain_http_to_another_machine_is_allowed_by_choice() -> None:
    assert Server("http://pacs.example/dicom-web", plain_http=True)


def test_a_bundle_of_certificates_that_is_none_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    for name in ("ca.pem", "missing.pem"):
        with pytest.raises(InputError, match=name):
            Server("https://pacs.example", ca_bundle=tmp_path / name)


def test_certificates_and_host_names_are_verified() -> None:
    (context,) = (
        handler._context
        for handler in Server("https://pacs.example")._opener.handlers
        if hasattr(handler, "_context") and handler._context
    )
    assert context.verify_mode == ssl.CERT_REQUIRED and context.check_hostname


def test_a_proxy_of_the_environment_does_not_see_what_goes_to_this_machine(pacs: Pacs, monkeypatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert get(pacs.server) == b"[]"


def test_credentials_go_with_every_request_and_into_no_log(pacs: Pacs, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    get(Server(pacs.url, authorization="Bearer s3cret"), query=[("PatientID", "Roe")])
    assert pacs.headers[0]["Authorization"] == "Bearer s3cret"
    assert pacs.queries == [{"PatientID": "Roe"}]
    assert "GET" in caplog.text and "s3cret" not in caplog.text and "Roe" not in caplog.text


def test_a_redirection_to_another_server_is_refused_and_not_followed(pacs: Pacs, start: Callable[[], Pacs]) -> None:
    other = start()
    pacs.instead["series"] = [Reply(302, headers={"Location": f"{other.url}/series"})]
    with pytest.raises(InputError, match=r"sends on to http://127\.0\.0\.1:\d+,"):
        get(pacs.server)
    assert other.asked == []


def test_a_redirection_within_the_server_is_followed(pacs: Pacs) -> None:
    pacs.instead["series"] = [Reply(302, headers={"Location": f"{pacs.url}/there/series"})]
    assert get(pacs.server) == b"[]"
    assert [each.split("/dicom-web")[1] for each in pacs.asked] == ["/series", "/there/series"]


def test_an_upload_is_not_redirected_since_it_would_arrive_empty(pacs: Pacs) -> None:
    pacs.instead["studies"] = [Reply(302, headers={"Location": f"{pacs.url}/series"})]
    with pytest.raises(InputError, match="sends on"):
        get(pacs.server, "studies", body=b"x", content_type="text/plain")
    assert len(pacs.asked) == 1


def test_wrong_credentials_are_named_and_not_tried_again(pacs: Pacs) -> None:
    pacs.instead["series"] = [Reply(401)]
    with pytest.raises(InputError, match="EVOSEG_PACS_PASSWORD") as refusal:
        get(pacs.server)
    assert not isinstance(refusal.value, Refused | ServerAway)
    assert len(pacs.asked) == 1


@pytest.mark.parametrize("status", [400, 403, 404, 500])
def test_an_error_is_told_by_its_number_and_not_by_its_page(pacs: Pacs, status: int) -> None:
    pacs.instead["series"] = [Reply(status, b"<h1>no study of Roe^Jane</h1>", "text/html")]
    with pytest.raises(Refused, match=str(status)) as refusal:
        get(pacs.server)
    assert refusal.value.status == status and "Roe" not in str(refusal.value)


def test_a_busy_server_is_asked_again_when_it_says(pacs: Pacs) -> None:
    pacs.instead["series"] = [Reply(503, headers={"Retry-After": "7"}), Reply(429)]
    assert get(pacs.server) == b"[]"
    assert pacs.waited == [7, 4]


def test_a_server_that_asks_for_too_long_a_wait_is_not_obeyed(pacs: Pacs) -> None:
    pacs.instead["series"] = [Reply(503, headers={"Retry-After": "86400"})]
    get(pacs.server)
    assert pacs.waited == [60]


def test_a_server_that_stays_busy_is_away_after_three_times(pacs: Pacs) -> None:
    pacs.instead["series"] = [Reply(503)] * 9
    with pytest.raises(ServerAway, match="503"):
        get(pacs.server)
    assert len(pacs.asked) == 3


def test_a_server_that_does_not_answer_is_away() -> None:
    waited: list[float] = []
    with pytest.raises(ServerAway, match="does not answer"):
        get(Server("http://127.0.0.1:9", wait=waited.append))
    assert waited == [1, 4]


def test_an_answer_that_breaks_off_is_no_answer(pacs: Pacs) -> None:
    pacs.instead["series"] = [Reply(body=b"[", length=100)]
    with pytest.raises(ServerAway, match="broke off"):
        get(pacs.server)


def test_https_on_a_port_of_http_is_explained(pacs: Pacs) -> None:
    with pytest.raises(InputError, match="port that of https"):
        get(Server(pacs.url.replace("http:", "https:"), wait=pacs.waited.append))
