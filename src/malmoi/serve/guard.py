"""Who may talk to the server."""

from __future__ import annotations

import ipaddress
import secrets
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from malmoi.serve.errors import ApiError


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """Turns away what does not belong here, before anything is read.

    On loopback the Host header must name this machine: a web site whose name is made to point at 127.0.0.1 (DNS
    rebinding) is refused. Requests that a page of another origin makes are refused everywhere.
    """

    def __init__(self, app: ASGIApp, *, loopback: bool, api_key: str | None) -> None:
        self._app, self._loopback, self._key = app, loopback, api_key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or answer 401 or 403."""
        if scope["type"] == "http":
            error = self._refusal(scope["path"], Headers(scope=scope))
            if error:
                await error.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, path: str, headers: Headers) -> ApiError | None:
        host = headers.get("host", "")
        if self._loopback and not is_loopback(_host_name(host)):
            return ApiError(403, f"The Host header {host!r} does not name this machine.", code="wrong_host")
        origin = headers.get("origin")
        if origin is not None and _address(origin) != host:
            return ApiError(403, f"Pages of {origin!r} may not use this server.", code="wrong_origin")
        if self._key and path.startswith("/v1") and not self._has_key(headers.get("authorization", "")):
            return ApiError(401, "Send the server's key as 'Authorization: Bearer KEY'.", code="invalid_api_key")
        return None

    def _has_key(self, authorization: str) -> bool:
        scheme, _, key = authorization.partition(" ")
        given, wanted = key.strip().encode("latin-1"), (self._key or "").encode()
        return scheme.lower() == "bearer" and secrets.compare_digest(given, wanted)


def _address(origin: str) -> str | None:
    """Host and port of an Origin header, None where it is no address."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _host_name(host: str) -> str:
    """The name in a Host header, without port and brackets."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
