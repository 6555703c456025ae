"""Asking a server: downloads go on where they were cut, and a token stays with the server it is for."""

from __future__ import annotations

import errno
import http.client
import os
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from http.client import HTTPMessage
from pathlib import Path
from typing import IO, Any

from malmoi.core.console import progress
from malmoi.core.errors import UserError

CHUNK = 1 << 20
_ATTEMPTS = 50
_SECONDS = 30


class PlaceError(UserError):
    """A place did not give a file; whoever knows another place tries that."""


class Refused(PlaceError):
    """A server's answer is an error.

    Attributes:
        status: of HTTP.
        code: what the hub calls the error (`X-Error-Code`), or "".
    """

    def __init__(self, url: str, status: int, reason: str, code: str = "") -> None:
        what = "redirects in a circle, or to where it must not" if 300 <= status < 400 else f"answers {status} {reason}"
        super().__init__(f"{url} {what}.", "Check the address.")
        self.status, self.code = status, code


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Takes a token along to the same server only, never from https to http, and asks for heads as heads."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        here, there = urllib.parse.urlsplit(req.full_url), urllib.parse.urlsplit(newurl)
        if there.scheme != here.scheme and there.scheme != "https":
            return None
        followed = super().redirect_request(req, fp, code, msg, headers, newurl)
        if followed is not None:
            followed.method = req.get_method()
            if (here.scheme, here.netloc) == (there.scheme, there.netloc):
                followed.unredirected_hdrs.update(req.unredirected_hdrs)
            elif followed.method == "HEAD":
                return None  # what is asked for stands in the redirect's own head
        return followed


def open_url(url: str, headers: dict[str, str] | None = None, token: str = "", method: str = "GET") -> Any:
    """The answer of a server, to be closed by the caller.

    Args:
        token: sent to the server of `url`, and to no other that it redirects to.

    Raises:
        Refused: the answer is an error.
        PlaceError: the server is out of reach.
    """
    opener = urllib.request.build_opener(_Redirects)
    try:
        request = urllib.request.Request(url, headers=headers or {}, method=method)
        if token:
            request.add_unredirected_header("Authorization", f"Bearer {token}")
        return opener.open(request, timeout=_SECONDS)
    except urllib.error.HTTPError as error:
        if method == "HEAD" and 300 <= error.code < 400:
            return error  # the redirect itself, which is an answer too
        with error:
            raise Refused(url, error.code, error.reason, error.headers.get("X-Error-Code", "")) from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise PlaceError(f"{url} is out of reach: {reason}.", "Check the connection and the address.") from None


def read_answer(url: str, token: str, largest: int) -> bytes:
    """The whole of a short answer. Takes and raises what `open_url` does.

    Raises:
        PlaceError: it is longer than `largest` bytes, or breaks off.
    """
    with open_url(url, token=token) as answer:
        try:
            content: bytes = answer.read(largest + 1)
        except (OSError, http.client.HTTPException):
            raise PlaceError(f"{url} broke off.", "Try again.") from None
    if len(content) > largest:
        raise PlaceError(f"{url} answers more than {largest:,} bytes.", "Check the address.")
    return content


def download(
    url: str, target: Path, size: int = 0, token: str = "", check: Callable[[Path], None] | None = None
) -> None:
    """Download into `target`, through `target`.part; what was cut is gone on with, now or by a later call.

    Args:
        size: of the file in bytes, or 0 where it is not known.
        check: raises PlaceError for a file that is not the right one, which is then removed.

    Raises:
        PlaceError: the server is out of reach, refuses, sends more than `size` or a wrong file, or breaks off for good.
        UserError: the disk is full, or would be.
    """
    part = target.with_name(target.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    if size and _length(part) > size:
        part.unlink()
    for _ in range(_ATTEMPTS):
        before = _length(part)
        if (size and before == size) or _receive(url, part, size, token):
            _check(part, check)
            os.replace(part, target)
            return
        if _length(part) <= before:
            break
    raise PlaceError(f"{url} broke off.", "The next attempt goes on from there.")


def check_space(folder: Path, size: int) -> None:
    """Find out before a download whether the disk has room for it.

    Raises:
        UserError: it has not.
    """
    free = shutil.disk_usage(folder).free
    if size > free:
        raise UserError(
            f"{folder} has {free / 1e9:,.1f} GB left; the download needs {size / 1e9:,.1f} GB.",
            "Free some space, or set MALMOI_CACHE to a folder on another disk.",
        )


def _receive(url: str, part: Path, size: int, token: str) -> bool:
    """Append to `part` what the server sends; whether it came to an end, rather than broke off."""
    done = _length(part)
    try:
        answer = open_url(url, {"Range": f"bytes={done}-"} if done else {}, token)
    except Refused as error:
        if error.status != 416 or not done:
            raise
        part.unlink()  # it is longer than the file, and so of another version
        return _receive(url, part, size, token)
    with answer:
        done = done if answer.status == 206 else 0
        expected = answer.length or 0
        check_space(part.parent, expected)
        with open(part, "ab" if done else "wb") as file, progress(part.stem, done + expected or None) as advance:
            advance(done)
            try:
                while chunk := answer.read(CHUNK):
                    file.write(chunk)
                    file.flush()  # a full disk is told here
                    advance(len(chunk))
                    if size and file.tell() > size:
                        break
            except (OSError, http.client.HTTPException) as error:
                if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                    way_out = "Free some space; the download goes on from there."
                    raise UserError(f"The disk is full: {part}.", way_out) from None
                return False
    if size and _length(part) > size:
        part.unlink()
        raise PlaceError(f"{url} sends more than the {size:,} bytes that the file has.", "Try again later.")
    return _length(part) >= done + expected


def _check(part: Path, check: Callable[[Path], None] | None) -> None:
    try:
        if check:
            check(part)
    except PlaceError:
        part.unlink()
        raise


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
