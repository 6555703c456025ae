"""Hugging Face's hub: what a repository holds at one commit, and its files.

HF_ENDPOINT names another hub. HF_TOKEN, or the file HF_TOKEN_PATH (else HF_HOME/token), says who asks, unless
HF_HUB_DISABLE_IMPLICIT_TOKEN is set. With HF_HUB_OFFLINE nothing is asked.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from malmoi.core.errors import UserError
from malmoi.sources.download import PlaceError, Refused, download, open_url, read_answer

_ADDRESS = re.compile(
    r"(?P<repository>(datasets/(?=[^/]+/))?[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)"
    r"(@(?P<revision>refs/(pr|convert)/[\w.-]+|[^/@]+))?(/(?P<file>[^@]+))?",
    re.ASCII,
)
_LARGEST_LISTING = 1 << 26


@dataclass(frozen=True)
class Address:
    """`hf:ORG/NAME[@REVISION][/FILE]`, or `hf:datasets/ORG/NAME…`.

    Attributes:
        repository: ORG/NAME, with datasets/ before it where it is one.
        revision: a branch, a tag or a commit.
        file: "" for the whole repository.
    """

    repository: str
    revision: str = "main"
    file: str = ""

    def __str__(self) -> str:
        revision = "" if self.revision == "main" else f"@{self.revision}"
        return f"hf:{self.repository}{revision}{'/' if self.file else ''}{self.file}"


@dataclass(frozen=True)
class HubFile:
    """A file of a repository, as the hub describes it.

    Attributes:
        name: its path in the repository.
        size: in bytes, None where the hub does not say.
        sha256: of its content, or "".
        blob: git's sum of it, or "".
    """

    name: str
    size: int | None = None
    sha256: str = ""
    blob: str = ""

    def check(self, path: Path) -> None:
        """Compare what lies at `path` with what the hub says of the file.

        Raises:
            PlaceError: it is not the same.
        """
        size = path.stat().st_size
        with open(path, "rb") as content:
            if self.sha256:
                same = hashlib.file_digest(content, "sha256").hexdigest() == self.sha256
            elif self.blob:
                head = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
                same = hashlib.file_digest(content, lambda: head).hexdigest() == self.blob
            else:
                same = True
        if not same or self.size not in (None, size):
            raise PlaceError(f"What came is not the file {self.name} of the hub.", "Run the same command again.")


@dataclass(frozen=True)
class Listing:
    """What a repository holds at one commit.

    Attributes:
        commit: 40 hexadecimal digits.
        files: by their names.
    """

    repository: str
    commit: str
    files: dict[str, HubFile]


def parse_address(text: str) -> Address:
    """What stands behind `hf:`.

    Raises:
        UserError: it is no address.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None or leads_out(match["file"] or "file"):
        raise UserError(
            f"'hf:{text}' is no address on the hub.", "Write hf:ORG/NAME, hf:ORG/NAME@REVISION or hf:ORG/NAME/FILE."
        )
    return Address(match["repository"], urllib.parse.unquote(match["revision"] or "main"), match["file"] or "")


def endpoint() -> str:
    """Where the hub is: HF_ENDPOINT, or the public one."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"


def is_offline() -> bool:
    """Whether the hub may not be asked."""
    return _is_set("HF_HUB_OFFLINE")


def list_repository(address: Address) -> Listing:
    """What the repository holds at the commit that its revision means now.

    Raises:
        PlaceError: the hub is out of reach, refuses, or answers what no hub answers.
    """
    revision = urllib.parse.quote(address.revision, safe="")
    kind = "" if address.repository.startswith("datasets/") else "models/"
    url = f"{endpoint()}/api/{kind}{address.repository}/revision/{revision}?blobs=true"
    token = _token()
    try:
        answer = json.loads(read_answer(url, token, _LARGEST_LISTING))
        commit, siblings = answer["sha"], answer["siblings"]
        files = [_described(sibling) for sibling in siblings]
    except Refused as error:
        raise _explained(error, address, token) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise PlaceError(f"{url} does not answer as the hub does.", "Check HF_ENDPOINT.") from None
    if not re.fullmatch("[0-9a-f]{40}", str(commit)):
        raise PlaceError(f"{url} names {str(commit)[:50]!r}, which is no commit.", "Check HF_ENDPOINT.")
    for file in files:
        if leads_out(file.name):
            raise PlaceError(f"{address} lists {file.name!r}, which leads out of its folder.", "Do not trust it.")
    return Listing(address.repository, commit, {file.name: file for file in files})


def get_file(address: Address, target: Path, size: int = 0, check: Callable[[Path], None] | None = None) -> None:
    """Download the file that `address` names; see `malmoi.sources.download.download`.

    Raises:
        PlaceError: the hub is out of reach or refuses, or HF_HUB_OFFLINE is set.
    """
    if is_offline():
        raise PlaceError(f"{address} is not asked for, since HF_HUB_OFFLINE is set.", "Unset it.")
    token = _token()
    try:
        download(_url(address), target, size, token, check)
    except Refused as error:
        raise _explained(error, address, token) from None


def described_by_head(address: Address) -> HubFile:
    """What the hub says of a file in the head of its answer, for hubs that do not say it in their listings.

    Raises:
        PlaceError: the hub is out of reach or refuses.
    """
    token = _token()
    try:
        with open_url(_url(address), token=token, method="HEAD") as answer:
            headers = answer.headers
    except Refused as error:
        raise _explained(error, address, token) from None
    sum_ = (headers.get("X-Linked-ETag") or headers.get("ETag") or "").removeprefix("W/").strip('"')
    size = headers.get("X-Linked-Size") or headers.get("Content-Length") or ""
    file = HubFile(address.file, int(size) if size.isdecimal() else None)
    if re.fullmatch("[0-9a-f]{64}", sum_):
        return replace(file, sha256=sum_)
    return replace(file, blob=sum_) if re.fullmatch("[0-9a-f]{40}", sum_) else file


def leads_out(name: str) -> bool:
    """Whether a name is none of a file below its folder."""
    return bool(re.search(r"[\\\x00-\x1f]", name)) or any(part in ("", ".", "..") for part in name.split("/"))


def _described(sibling: dict[str, Any]) -> HubFile:
    linked = sibling.get("lfs") or {}
    size = linked.get("size", sibling.get("size"))
    if size is not None and (type(size) is not int or size < 0):
        raise ValueError("a size that is none")
    name, blob = str(sibling["rfilename"]), "" if linked else str(sibling.get("blobId") or "")
    return HubFile(name, size, str(linked.get("sha256") or ""), blob)


def _url(address: Address) -> str:
    revision, file = urllib.parse.quote(address.revision, safe=""), urllib.parse.quote(address.file)
    return f"{endpoint()}/{address.repository}/resolve/{revision}/{file}"


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "").upper() in ("1", "ON", "YES", "TRUE")


def _token() -> str:
    """Who asks, or "" for nobody in particular. Never printed."""
    if _is_set("HF_HUB_DISABLE_IMPLICIT_TOKEN"):
        return ""
    token = os.environ.get("HF_TOKEN", "").strip()
    if not token:
        cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        home = os.environ.get("HF_HOME") or f"{cache}/huggingface"
        path = Path(os.path.expandvars(os.environ.get("HF_TOKEN_PATH") or f"{home}/token")).expanduser()
        with contextlib.suppress(OSError):
            token = path.read_text(encoding="utf-8", errors="replace").strip()
    if not re.fullmatch("[!-~]*", token):
        raise UserError("The token of the hub holds a character that no token has.", "Set HF_TOKEN anew.")
    return token


def _explained(error: Refused, address: Address, token: str) -> PlaceError:
    """What the hub's refusal means, and the way out."""
    hub, repository = endpoint(), f"hf:{address.repository}"
    page = f"{hub}/{address.repository}"
    if error.code == "GatedRepo":
        who = "with the account of your token" if token else "and set HF_TOKEN to a token of your account"
        what, way_out = "is gated: who reads it has to accept its terms", f"Accept them at {page} {who}"
    elif error.code == "RevisionNotFound":
        what, way_out = f"has no revision {address.revision!r}", f"Name a branch, a tag or a commit of {page}"
    elif error.code == "EntryNotFound":
        what, way_out = f"has no file {address.file!r}", f"See {page}/tree/main"
    elif error.status == 401 and token:
        what, way_out = "refuses your token", f"Make another at {hub}/settings/tokens, or unset HF_TOKEN"
    elif error.status in (401, 404):
        what, way_out = f"is not on {hub}, or is private", "Check the name; for a private one set HF_TOKEN"
    elif error.status == 403:
        what, way_out = f"may not be read {'with your' if token else 'without a'} token", f"Look at {page}"
    elif error.status == 429:
        what, way_out = "has been asked for too often", "Wait some minutes; more is allowed with HF_TOKEN"
    elif error.status >= 500:
        what, way_out = f"is out of reach, the hub being out of order ({error.status})", "Try again later"
    else:
        return PlaceError(error.what, "Check HF_ENDPOINT.")
    return PlaceError(f"{repository} {what}.", f"{way_out}.")
