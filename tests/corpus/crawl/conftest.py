"""A web site on the loopback with traps in it."""

import gzip
import http.server
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

PROSE = "말모이는 최초의 한국어 사전 원고이다. 주시경과 제자들이 낱말을 모았고, 원고는 지금도 남아 있다. "


def page(*links: str, text: str = PROSE, head: str = "") -> bytes:
    """A page of Korean prose with links."""
    anchors = "".join(f'<li><a href="{link}">{link}</a></li>' for link in links)
    return f"<html><head>{head}</head><body><p>{text * 3}</p><ul>{anchors}</ul></body></html>".encode()


@dataclass
class Site:
    """What a server answers, by path with query; a function sends its answer itself.

    Attributes:
        asked: how often each path was asked for.
        agents: values of User-Agent.
        times: when requests came.
    """

    host: str
    pages: dict[str, tuple[int, dict[str, str], bytes] | Callable] = field(default_factory=dict)
    fallback: Callable[[str], tuple[int, dict[str, str], bytes] | None] = lambda path: None
    asked: Counter = field(default_factory=Counter)
    agents: set = field(default_factory=set)
    times: list[float] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def add(self, path: str, body: bytes, status: int = 200, **headers: str) -> None:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        self.pages[path] = (status, {"Content-Type": "text/html; charset=utf-8"} | names, body)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def do_GET(self):
        site = self.server.site
        path = urllib.parse.unquote(self.path)
        site.asked[path] += 1
        site.agents.add(self.headers["User-Agent"])
        site.times.append(time.monotonic())
        answer = site.pages.get(path) or site.fallback(path) or (404, {}, b"no")
        try:
            if callable(answer):
                answer(self)
                self.close_connection = True
                return
            status, headers, body = answer
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True


@pytest.fixture(scope="module")
def serve():
    """Starts a site on an address of the loopback."""
    servers = []

    def start(host="127.0.0.1", port=0, tls=None) -> Site:
        server = http.server.ThreadingHTTPServer((host, port), _Handler)
        server.daemon_threads = True
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        server.site = Site(host, port=server.server_port)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return server.site

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def drip(handler) -> None:
    """One byte at a time, for ever."""
    handler.send_response(200)
    handler.send_header("Content-Type", "text/html")
    handler.end_headers()
    while True:
        handler.wfile.write(b"x")
        time.sleep(0.05)


def flood(handler) -> None:
    """A hundred megabytes, without saying so before."""
    handler.send_response(200)
    handler.send_header("Content-Type", "text/html")
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b"<p>flood" * 125_000)


def gzip_bomb() -> bytes:
    return gzip.compress(bytes(50_000_000), 9)
