"""Requests to one web server of a clinic: verified TLS, credentials that never leave it, failures that are told apart.

On the standard library alone: of what larger clients offer, a PACS needs none, and TLS then follows the system.
"""

from __future__ import annotations

import base64
import ipaddress
import logging
import os
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request, build_opener

from pipeline.errors import InputError

logger = logging.getLogger(__name__)

TIMEOUT_S = 60.0  # without a byte
USER, PASSWORD, TOKEN = "EVOSEG_PACS_USER", "EVOSEG_PACS_PASSWORD", "EVOSEG_PACS_TOKEN"
_AGAIN_AFTER_S = (1.0, 4.0)
_LONGEST_WAIT_S = 60.0  # that a server may ask for (Retry-After)
_BUSY = (408, 429, 502, 503, 504)
_BROKEN = (OSError, HTTPException)  # what the standard library raises of a connection


class ServerAway(InputError):
    """The server does not answer, broke off, or is too busy: later it may."""

    def __init__(self, message: str, *, again_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.again_after_s = again_after_s


class Refused(InputError):
    """The server answers this request, not necessarily the next, with an error: `status` is HTTP's."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Answer:
    """A response whose body is still to be read. where: the address, without the query, which may name a patient."""

    response: HTTPResponse
    where: str

    @property
    def headers(self) -> HTTPMessage:
        return self.response.headers

    @property
    def status(self) -> int:
        return self.response.status

    def read(self, size: int = -1) -> bytes:
        """The next bytes, at most `size`; b"" at the end. ServerAway: it broke off."""
        try:
            return self.response.read(size) if size >= 0 else self.response.read()
        except _BROKEN as error:
            raise ServerAway(f"{self.where} broke off ({type(error).__name__}): try again") from error


class Server:
    """One web server. wait: what to do for so many seconds before a busy or silent server is asked again."""

    def __init__(
        self,
        url: str,
        *,
        authorization: str | None = None,
        ca_bundle: Path | None = None,
        plain_http: bool = False,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        """InputError: the address is none, holds a password or a query, or is http where that needs `plain_http`.

        authorization: the header's value. ca_bundle: PEM file of who vouches for the server; None: the system's own,
        or that of the environment (SSL_CERT_FILE, SSL_CERT_DIR).
        """
        self.url = url.rstrip("/")
        self._origin = _checked(self.url, plain_http=plain_http)
        self._headers = {"Authorization": authorization} if authorization else {}
        self._wait = wait
        self._opener = _opener(self._origin, ca_bundle)

    @contextmanager
    def open(
        self,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        accept: str,
        body: bytes | None = None,
        content_type: str = "",
        also: Sequence[int] = (),
    ) -> Iterator[Answer]:
        """GET `path` below the address, or POST `body`; a busy or silent server is asked three times.

        also: statuses of errors to be given to the caller like an answer.
        ServerAway, Refused; InputError: credentials, certificate, redirection: no request can succeed.
        """
        where = f"{self.url}/{path}"
        headers = {**self._headers, "Accept": accept} | ({"Content-Type": content_type} if content_type else {})
        asked = f"?{urlencode(query, safe='*')}" if query else ""  # Orthanc takes an escaped * for itself
        request = Request(where + asked, body, headers)
        logger.debug("%s %s", request.get_method(), where)
        for again_after_s in (*_AGAIN_AFTER_S, None):
            try:
                response = self._opener.open(request, timeout=TIMEOUT_S)
            except HTTPError as error:
                if error.code in also:
                    response = error
                    break
                refusal = _refusal(error, where)
                error.close()
            except _BROKEN as error:
                refusal = _silence(error, where)
            else:
                break
            if again_after_s is None or not isinstance(refusal, ServerAway):
                raise refusal
            self._wait(max(again_after_s, refusal.again_after_s))
        with response:
            yield Answer(response, where)


def authorization(environ: Mapping[str, str] = os.environ) -> str | None:
    """The header's value by EVOSEG_PACS_TOKEN, or _USER and _PASSWORD; None: neither is set. InputError: half is."""
    token, user, password = (environ.get(name, "").strip() for name in (TOKEN, USER, PASSWORD))
    if token and (user or password):
        raise InputError(f"{TOKEN} and {USER} are both set: unset what the server does not take")
    if bool(user) != bool(password):
        raise InputError(f"{USER} and {PASSWORD} belong together: set both in the environment, or neither")
    if token and not re.fullmatch(r"[\x21-\x7e]+", token):  # the library's own error would show it
        raise InputError(f"{TOKEN} holds characters that no token has: copy it again")
    if token:
        return f"Bearer {token}"
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}" if user else None


def _checked(url: str, *, plain_http: bool) -> tuple[str, str, int]:
    """Scheme, host and port."""
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise InputError("the server's address cannot be read: give https://HOST[:PORT]/PATH") from error
    if parts.username is not None or parts.password is not None:
        raise InputError(f"the server's address holds a name or a password: set {USER} and {PASSWORD} instead")
    if scheme not in ("http", "https") or not host or parts.query or parts.fragment or re.search(r"\s", url):
        raise InputError(f"{url!r} is no address of a server: give https://HOST[:PORT]/PATH")
    if scheme == "http" and not (plain_http or _is_local(host)):
        raise InputError(f"{url} is not encrypted: use https, or --plain-http if nobody can listen on the way")
    return scheme, host, port


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _opener(origin: tuple[str, str, int], ca_bundle: Path | None) -> OpenerDirector:
    # No proxy of the environment is to see what goes to this very machine.
    proxies = ProxyHandler({}) if _is_local(origin[1]) else ProxyHandler()
    if origin[0] == "http":  # to read all certificates of the system takes its time
        return build_opener(proxies, _SameServer(origin))
    try:
        context = ssl.create_default_context(cafile=ca_bundle)
    except OSError as error:  # SSLError is one
        raise InputError(f"{ca_bundle} cannot be read as certificates in PEM ({error.strerror or error})") from error
    return build_opener(proxies, _SameServer(origin), HTTPSHandler(context=context))


class _SameServer(HTTPRedirectHandler):
    """Follows a redirection within the server only: elsewhere the credentials would go along.

    None of a POST: it would arrive as a GET, and what was to be stored would be lost.
    """

    def __init__(self, origin: tuple[str, str, int]) -> None:
        self._origin = origin

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        target = urlsplit(newurl)
        elsewhere = f"{target.scheme}://{target.netloc.rpartition('@')[2]}"
        if req.get_method() != "GET" or _checked(elsewhere, plain_http=True) != self._origin:
            raise InputError(f"the server sends on to {elsewhere}, where this must not go: give its final address")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _refusal(error: HTTPError, where: str) -> InputError:
    """What a status means. The error page is not shown: nobody knows what a server writes there."""
    if error.code == 401:
        return InputError(
            f"{where}: the server does not accept the credentials (401): check {USER}, {PASSWORD}, {TOKEN}"
        )
    if error.code in _BUSY:
        asked = error.headers.get("Retry-After", "") if error.headers else ""
        again_after_s = min(float(asked), _LONGEST_WAIT_S) if asked.isdecimal() else 0.0
        return ServerAway(f"{where}: the server is busy or away ({error.code})", again_after_s=again_after_s)
    return Refused(f"{where}: the server answers {error.code} {error.reason}", status=error.code)


def _silence(error: OSError | HTTPException, where: str) -> InputError:
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        message = f"{where}: the server's certificate is not trusted ({reason.verify_message})"
        return InputError(f"{message}: give who vouches for it by --ca-bundle FILE, or SSL_CERT_FILE")
    if isinstance(reason, ssl.SSLError):
        return InputError(f"{where}: no encrypted connection ({reason.reason}): is the port that of https?")
    why = reason.strerror if isinstance(reason, OSError) and reason.strerror else type(reason).__name__
    return ServerAway(f"{where}: the server does not answer ({why}): check the address, and whether it runs")
