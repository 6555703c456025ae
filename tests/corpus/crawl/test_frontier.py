"""The queue is right at every moment, and is nobody else's."""

import sqlite3

import pytest

from malmoi.core.errors import UserError
from malmoi.corpus import warc
from malmoi.corpus.crawl.frontier import KEPT, Fate, Frontier
from malmoi.corpus.read import ReadSettings, read_file
from malmoi.corpus.warc import Answer

HOST = "example.com"


def url(path):
    return f"http://{HOST}/{path}"


def answer(path, body=None):
    return Answer(
        url(path), 200, [("Content-Type", "text/plain")], (body or f"말모이 {path}").encode(), "2026-01-01T00:00:00Z"
    )


def links(*paths):
    return tuple((url(path), "page") for path in paths)


@pytest.fixture
def begin(tmp_path):
    """Opens the queue, as often as it is called."""
    opened = []

    def begin() -> Frontier:
        if opened:
            opened.pop().close()
        opened.append(Frontier(tmp_path / "crawl.sqlite", {HOST}, depth=2))
        opened[0].begin([url("")])
        opened[0].open_archives(tmp_path, {})
        return opened[0]

    yield begin
    opened.pop().close()


def fates(frontier):
    return {row["url"].removeprefix(url("")): row.get("fate") for row in frontier.report()}


def test_pages_come_by_their_depth_and_no_deeper_than_asked(begin):
    frontier = begin()
    frontier.settle(frontier.next(HOST), Fate(KEPT, links=links("a", "b")), answer(""))
    frontier.settle(frontier.next(HOST), Fate(KEPT, links=links("a/a", "b", "")), answer("a"))
    assert frontier.next(HOST).url == url("b")
    frontier.settle(frontier.next(HOST), Fate("empty"))
    frontier.settle(frontier.next(HOST), Fate(KEPT, links=links("a/a/a")), answer("a/a"))
    assert fates(frontier) == {"": KEPT, "a": KEPT, "b": "empty", "a/a": KEPT, "a/a/a": "too deep"}


def test_what_was_settled_stays_and_what_waits_goes_on_after_a_kill(begin):
    frontier = begin()
    frontier.settle(frontier.next(HOST), Fate(KEPT, links=links("a", "b")), answer(""))
    frontier.settle(frontier.next(HOST), Fate("too slow", passing=True))
    assert [begin().next(HOST).url, frontier is not None] == [url("a"), True]


def test_other_hosts_are_left_alone(begin):
    frontier = begin()
    frontier.settle(frontier.next(HOST), Fate(KEPT, links=(("http://other.example/", "page"),)), answer(""))
    assert frontier.waiting_hosts() == []
    assert fates(frontier)["http://other.example/"] == "other host"


def test_the_same_content_is_kept_once_and_its_links_are_not_followed(begin):
    frontier = begin()
    frontier.settle(frontier.next(HOST), Fate(KEPT, links=links("s1")), answer("", "하나"))
    frontier.settle(frontier.next(HOST), Fate(KEPT, links=links("s2")), answer("s1", "하나"))
    assert fates(frontier) == {"": KEPT, "s1": "same content"}


def test_what_a_kill_left_in_an_archive_is_cut_off(begin, tmp_path, monkeypatch):
    frontier = begin()
    frontier.settle(frontier.next(HOST), Fate(KEPT, links=links("a", "b")), answer(""))
    with (tmp_path / "pages-00001.warc.gz").open("ab") as file:
        file.write(b"killed in between")
    (tmp_path / "pages-00002.warc.gz").write_bytes(b"or here")
    frontier = begin()
    frontier.settle(frontier.next(HOST), Fate(KEPT), answer("a"))
    monkeypatch.setattr(warc, "SEGMENT", 1)
    frontier.settle(frontier.next(HOST), Fate(KEPT), answer("b"))
    frontier = begin()
    archives = sorted(tmp_path.glob("*.warc.gz"))
    texts = [document.text for path in archives for document in read_file(path, "s", "l", ReadSettings())]
    assert texts == ["말모이 ", "말모이 a", "말모이 b"]


def test_an_archive_that_lost_pages_is_not_gone_on_with(begin, tmp_path):
    frontier = begin()
    frontier.settle(frontier.next(HOST), Fate(KEPT), answer(""))
    (tmp_path / "pages-00001.warc.gz").unlink()
    with pytest.raises(UserError, match="has lost pages"):
        frontier.open_archives(tmp_path, {})


@pytest.mark.parametrize("foreign", [b"not a database at all" * 100, None])
def test_a_queue_that_is_not_ours_is_refused(tmp_path, foreign):
    path = tmp_path / "crawl.sqlite"
    if foreign:
        path.write_bytes(foreign)
    else:
        with sqlite3.connect(path) as base:
            base.execute("CREATE TABLE pages (url TEXT)")
    with pytest.raises(UserError, match="is no queue of a crawl"):
        Frontier(path, {HOST}, 1)


def test_two_crawls_do_not_share_a_queue(begin, tmp_path, monkeypatch):
    begin()
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, timeout: connect(path, timeout=0))
    with pytest.raises(UserError, match="another crawl is using it"):
        Frontier(tmp_path / "crawl.sqlite", {HOST}, 1)
