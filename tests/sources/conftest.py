"""A server that answers as Hugging Face's hub does, large files from a second one, for tests."""

import hashlib
import http.server
import json
import threading
import urllib.parse
from dataclasses import dataclass, field

import pytest

LARGE = (".safetensors", ".bin", ".gguf")


def sum_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def blob_of(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Repository:
    """Commits by their hash, and what the branches and tags mean; a gated one wants the token."""

    commits: dict[str, dict[str, bytes]]
    revisions: dict[str, str]
    gated: bool = False


@dataclass
class Hub:
    """The state of both servers.

    Attributes:
        blobs: whether listings state sizes and sums.
        cut: break off after so many bytes of a large file.
        broken: status of every answer of the hub, or 0.
        changed: what listings hold besides, or instead.
        corrupt: send other bytes than those promised.
        requests: (server, path, headers) of all that was asked.
        token: the one that may read gated repositories.
    """

    repositories: dict[str, Repository] = field(default_factory=dict)
    blobs: bool = True
    cut: int = 0
    broken: int = 0
    changed: dict = field(default_factory=dict)
    corrupt: bool = False
    requests: list = field(default_factory=list)
    url: str = ""
    store: str = ""
    token: str = "hf_secret"

    def add(self, name: str, files: dict[str, bytes], revision: str = "main", gated: bool = False) -> str:
        """Push files; gives the commit."""
        commit = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        repository = self.repositories.setdefault(name, Repository({}, {}, gated))
        repository.commits[commit] = files
        repository.revisions[revision] = commit
        return commit

    def asked(self, server: str = "hub") -> list[str]:
        return [path for asked, path, _ in self.requests if asked == server]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.do_GET()

    def log_message(self, *_):
        pass

    @property
    def hub(self) -> Hub:
        return self.server.hub

    def answer(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def refuse(self, status: int, code: str) -> None:
        self.answer(status, b'{"error": "no"}', X_Error_Code=code, X_Error_Message=code)

    def json(self, content) -> None:
        self.answer(200, json.dumps(content).encode(), Content_Type="application/json")


class HubHandler(Handler):
    def do_GET(self):
        self.hub.requests.append(("hub", self.path, dict(self.headers)))
        if self.hub.broken:
            return self.answer(self.hub.broken, Location=self.path)  # where it redirects, in a circle
        path = urllib.parse.urlsplit(self.path).path
        parts = [urllib.parse.unquote(part) for part in path.strip("/").split("/")]
        prefix = "datasets/" if "datasets" in parts[:2] else ""
        parts = ["api", "models", *parts[2:]] if parts[:2] == ["api", "datasets"] else parts[bool(prefix) :]
        api = parts[:2] == ["api", "models"]
        cached = parts[:3] == ["api", "resolve-cache", "models"]
        owner, name, *rest = parts[3:] if cached else parts[2:] if api else parts
        repository = self.hub.repositories.get(f"{prefix}{owner}/{name}")
        token = self.headers.get("Authorization")
        if repository is None:
            return self.refuse(404 if token else 401, "RepoNotFound")
        if repository.gated and not api and token != f"Bearer {self.hub.token}":
            return self.refuse(403 if token else 401, "GatedRepo")
        verb, revision, *file = ["resolve-cache", *rest] if cached else rest or ["revision", "main"]
        commit = repository.revisions.get(revision, revision)
        if commit not in repository.commits:
            return self.refuse(404, "RevisionNotFound")
        files = repository.commits[commit]
        if verb == "revision":
            return self.json(self.listing(f"{owner}/{name}", commit, files) | self.hub.changed)
        if verb == "tree":
            return self.json([self.entry(name, content) for name, content in files.items()])
        return self.file(commit, "/".join(file), files, f"{owner}/{name}", cached or bool(prefix))

    def listing(self, repository, commit, files):
        siblings = []
        for name, content in files.items():
            sibling = {"rfilename": name}
            if self.hub.blobs and "blobs=true" in self.path.lower():
                sibling |= {"size": len(content), "blobId": blob_of(content)}
                if name.endswith(LARGE):
                    sibling |= {"lfs": {"size": len(content), "sha256": sum_of(content), "pointerSize": 134}}
            siblings.append(sibling)
        return {"id": repository, "sha": commit, "siblings": siblings}

    def entry(self, name, content):
        entry = {"type": "file", "path": name, "size": len(content), "oid": blob_of(content)}
        if name.endswith(LARGE):
            entry |= {"lfs": {"oid": sum_of(content), "size": len(content), "pointerSize": 134}}
        return entry

    def file(self, commit, name, files, repository, cached):
        if name not in files:
            return self.refuse(404, "EntryNotFound")
        content = files[name]
        if name.endswith(LARGE):
            return self.answer(
                302, X_Repo_Commit=commit, X_Linked_Size=str(len(content)), X_Linked_ETag=f'"{sum_of(content)}"',
                Location=f"{self.hub.store}/{sum_of(content)}",
            )  # fmt: skip
        if not cached:
            where = urllib.parse.quote(f"/api/resolve-cache/models/{repository}/{commit}/{name}")
            return self.answer(307, X_Repo_Commit=commit, Location=where)
        content = content.replace(b"a", b"b") if self.hub.corrupt else content
        return self.answer(200, content, X_Repo_Commit=commit, ETag=f'"{blob_of(files[name])}"')


class StoreHandler(Handler):
    """Where the large files lie: it knows ranges, and no token."""

    def do_GET(self):
        self.hub.requests.append(("store", self.path, dict(self.headers)))
        all_files = [
            file
            for repo in self.hub.repositories.values()
            for files in repo.commits.values()
            for file in files.values()
        ]
        content = next(file for file in all_files if sum_of(file) == self.path.strip("/"))
        size = len(content)
        content = content[:-1] + b"?" if self.hub.corrupt else content
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(size - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.end_headers()
        end = start + self.hub.cut if self.hub.cut else size
        self.wfile.write(content[start:end])
        if end < size:
            self.close_connection = True


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """Both servers, with nothing on them; the environment leads to them and to an empty cache."""
    hub = Hub()
    servers = []
    for handler in (HubHandler, StoreHandler):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        server.hub = hub
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
    hub.url, hub.store = (f"http://127.0.0.1:{server.server_port}" for server in servers)
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    yield hub
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def no_settings_of_the_machine(monkeypatch, tmp_path):
    """No cache, token or mirror but the test's own."""
    for name in ("HF_TOKEN", "HF_TOKEN_PATH", "HF_HUB_OFFLINE", "HF_HUB_DISABLE_IMPLICIT_TOKEN", "MALMOI_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("MALMOI_CACHE", str(tmp_path / "cache"))
