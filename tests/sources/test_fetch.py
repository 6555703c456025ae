"""Files are fetched once, checked, and gone on with when they were cut."""

import errno
import hashlib
import http.server
import io
import random
import tarfile
import threading
import zipfile

import pytest

from malmoi.core.errors import UserError
from malmoi.core.hashing import hash_file
from malmoi.sources import fetch as fetch_module
from malmoi.sources.archives import ARCHIVES
from malmoi.sources.card import Card, all_cards, find_card
from malmoi.sources.download import PlaceError, download
from malmoi.sources.fetch import fetch_source
from malmoi.sources.packages import read_member
from malmoi.sources.places import get

CONTENT = "말모이".encode() * 1000


class Handler(http.server.BaseHTTPRequestHandler):
    requests: list[str] = []
    tokens: list[str | None] = []
    redirects = False

    def do_GET(self):
        asked = self.headers.get("Range", "bytes=0-")
        self.requests.append(asked)
        self.tokens.append(self.headers.get("Authorization"))
        if "/resolve/" in self.path and self.redirects:
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{self.server.server_port}/elsewhere")
            self.end_headers()
            return
        start = int(asked.removeprefix("bytes=").rstrip("-"))
        if start > len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start : start + 4000] if self.path == "/cut" else CONTENT[start:])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    Handler.requests, Handler.tokens, Handler.redirects = [], [], False
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def make_card(monkeypatch):
    def make(places=(), sha256=hashlib.sha256(CONTENT).hexdigest()):
        file = {"name": "a.txt", "sha256": sha256, "places": places, "mirror": "elsewhere/b.txt"}
        card = Card(about="x", licence="CC0-1.0", files=[file])
        monkeypatch.setattr(fetch_module, "find_card", lambda name: card)

    return make


def test_a_file_is_downloaded_once(server, make_card):
    make_card([server])
    assert fetch_source("x")[0].read_bytes() == CONTENT
    fetch_source("x")
    assert len(Handler.requests) == 1


def test_a_cut_download_goes_on_where_it_stopped(server, tmp_path):
    (tmp_path / "a.txt.part").write_bytes(CONTENT[:500])
    download(server, tmp_path / "a.txt", len(CONTENT))
    assert Handler.requests == ["bytes=500-"]
    assert (tmp_path / "a.txt").read_bytes() == CONTENT


def test_a_download_cut_again_and_again_goes_on_until_it_is_whole(server, tmp_path):
    target = tmp_path / "a.txt"
    download(f"{server}/cut", target, len(CONTENT))
    assert Handler.requests == ["bytes=0-", "bytes=4000-", "bytes=8000-"]
    assert target.read_bytes() == CONTENT


def test_a_part_longer_than_the_file_is_dropped(server, tmp_path):
    (tmp_path / "a.txt.part").write_bytes(CONTENT + b"of another version")
    download(server, tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_bytes() == CONTENT


class FullDisk(io.BytesIO):
    def write(self, _):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_a_sentence(server, tmp_path, monkeypatch):
    monkeypatch.setattr("malmoi.sources.download.open", lambda *_: FullDisk(), raising=False)
    with pytest.raises(UserError, match=r"The disk is full: .*a\.txt\.part\. Free some space; the download goes on"):
        download(server, tmp_path / "a.txt")


def test_a_token_stays_with_the_hub(server, make_card, monkeypatch):
    Handler.redirects = True
    monkeypatch.setenv("HF_ENDPOINT", server)
    monkeypatch.setenv("HF_TOKEN", "secret")
    make_card(["hf:org/name/a.txt"])
    fetch_source("x")
    assert Handler.tokens == ["Bearer secret", None]


def test_a_place_with_a_wrong_file_does_not_hide_the_next(server, make_card, tmp_path, monkeypatch):
    wrong = tmp_path / "wrong.zip"
    with zipfile.ZipFile(wrong, "w") as archive:
        archive.writestr("a.txt", "another version")
    monkeypatch.setattr("malmoi.sources.places.fetch_package", lambda *_, **__: wrong)
    make_card(["pypi:x==1#a.txt", server])
    assert fetch_source("x")[0].read_bytes() == CONTENT


def test_a_download_may_not_be_larger_than_its_card_says(server, tmp_path):
    with pytest.raises(PlaceError, match="more than the 100 bytes"):
        download(server, tmp_path / "a.txt", 100)


def test_a_hub_file_is_asked_for_at_the_endpoint(server, make_card, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", server)
    make_card(["hf:org/name/a.txt"])
    assert fetch_source("x")[0].read_bytes() == CONTENT


def test_the_hub_is_not_asked_when_offline(make_card, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    make_card(["hf:org/name/a.txt"])
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set"):
        fetch_source("x")


def test_the_next_place_is_tried(server, make_card):
    make_card(["http://127.0.0.1:9/closed", server])
    assert fetch_source("x")[0].read_bytes() == CONTENT


def test_a_wrong_sum_is_refused_and_names_both(server, make_card):
    make_card([server], sha256="0" * 64)
    with pytest.raises(UserError, match=f"has sha256 {hashlib.sha256(CONTENT).hexdigest()}, its card says 0000"):
        fetch_source("x")


@pytest.mark.parametrize("where", ["x/a.txt", "elsewhere/b.txt"])
def test_the_mirror_comes_first(make_card, monkeypatch, tmp_path, where):
    (tmp_path / where).parent.mkdir()
    (tmp_path / where).write_bytes(CONTENT)
    make_card()
    monkeypatch.setenv("MALMOI_MIRROR", str(tmp_path))
    assert fetch_source("x") == [tmp_path / where]


def test_a_source_that_is_nowhere_says_where_to_put_it(make_card):
    make_card()
    with pytest.raises(UserError, match="MALMOI_MIRROR/elsewhere/b.txt"):
        fetch_source("x")


def test_a_mistyped_source_names_the_nearest():
    with pytest.raises(UserError, match="Did you mean 'shakespeare'"):
        find_card("shakespere")


@pytest.mark.parametrize("name", sorted(all_cards()))
def test_every_card_says_what_it_is_and_under_which_licence(name):
    card = find_card(name)
    assert card.about
    assert card.licence
    assert all(len(file.sha256 or "0" * 64) == 64 for file in card.files)


@pytest.fixture
def archive(tmp_path):
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as tar:
        info = tarfile.TarInfo("folder/a.txt")
        info.size = len(CONTENT)
        tar.addfile(info, io.BytesIO(CONTENT))
    path = tmp_path / "a.whl"
    with zipfile.ZipFile(path, "w") as zip_file:
        zip_file.writestr("data/inner.tar.gz", inner.getvalue())
    return path


def test_a_member_is_read_from_an_archive_in_an_archive(archive):
    assert read_member(archive, "data/inner.tar.gz#folder/a.txt", len(CONTENT)) == CONTENT


def test_a_member_larger_than_its_card_is_refused(archive):
    with pytest.raises(PlaceError, match="larger than the 10 bytes"):
        read_member(archive, "data/inner.tar.gz#folder/a.txt", 10)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04" + b"\0" * 40, b"no archive"])
def test_a_broken_archive_is_refused(tmp_path, content):
    (tmp_path / "a.whl").write_bytes(content)
    with pytest.raises(PlaceError, match="broken"):
        read_member(tmp_path / "a.whl", "a.txt", 10)


def test_every_package_that_a_card_names_has_its_sum():
    places = [place for card in all_cards().values() for file in card.files for place in file.places]
    requirements = {place.partition(":")[2].partition("#")[0] for place in places if place.startswith("pypi")}
    assert requirements == set(ARCHIVES)


def test_a_file_of_an_installed_package_is_taken_as_it_is(tmp_path):
    get("installed:sklearn#datasets/data/digits.csv.gz", tmp_path / "digits.csv.gz", 0)
    assert hash_file(tmp_path / "digits.csv.gz") == find_card("digits").files[0].sha256


@pytest.mark.parametrize("place", ["installed:sklearn#no.csv", "installed:no_such_package#a.csv"])
def test_a_file_that_is_not_installed_is_looked_for_elsewhere(tmp_path, place):
    with pytest.raises(PlaceError, match="has no"):
        get(place, tmp_path / "a.csv", 0)


@pytest.mark.parametrize("packing", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_byte_of_an_archive_is_read_or_named(packing):
    stream, dice = io.BytesIO(), random.Random(0)
    with zipfile.ZipFile(stream, "w", packing) as archive:
        archive.writestr("a.txt", CONTENT * 20)
    named = 0
    for _ in range(200):
        damaged = bytearray(stream.getvalue())
        damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        try:
            read_member(io.BytesIO(damaged), "a.txt", 1 << 16)
        except PlaceError:
            named += 1
    assert named > 50
