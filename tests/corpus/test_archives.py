"""WARC and WET, of our own crawls and of others."""

import gzip
import io
import zlib
from functools import partial

import brotli
import pytest
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from malmoi.corpus.document import Unreadable
from malmoi.corpus.read import ReadSettings, read_file
from malmoi.corpus.readers import web

PROSE = "말모이는 최초의 한국어 사전 원고이다. 똠방각하도 낱말이다. " * 6
PAGE = f"<html><body><p>{PROSE}</p></body></html>"


def write_archive(path, *records, zipped=True):
    """Records: kind, body, headers of HTTP or the content type."""
    with open(path, "wb") as file:
        writer = WARCWriter(file, gzip=zipped)
        for number, (kind, body, headers) in enumerate(records):
            options = {"payload": io.BytesIO(body), "length": len(body)}
            if isinstance(headers, dict):
                status = headers.pop("status", "200 OK")
                options["http_headers"] = StatusAndHeaders(status, list(headers.items()), protocol="HTTP/1.1")
            else:
                options["warc_content_type"] = headers
            writer.write_record(writer.create_warc_record(f"http://example.com/{number}", kind, **options))


def read(path):
    return [
        document.metadata.get("unreadable") or document.text for document in read_file(path, "s", "l", ReadSettings())
    ]


HTML = {"Content-Type": "text/html"}


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (PAGE.encode(), {}),
        (PAGE.encode("cp949"), {"Content-Type": "text/html; charset=euc-kr"}),
        (gzip.compress(PAGE.encode()), {"Content-Encoding": "gzip"}),
        (brotli.compress(PAGE.encode()), {"Content-Encoding": "br"}),
        (zlib.compress(PAGE.encode()), {"Content-Encoding": "deflate"}),
        (b"%x\r\n" % len(PAGE.encode()) + PAGE.encode() + b"\r\n0\r\n\r\n", {"Transfer-Encoding": "chunked"}),
    ],
)
def test_pages_are_read_however_they_were_sent(tmp_path, body, headers):
    write_archive(tmp_path / "a.warc.gz", ("response", body, HTML | headers))
    assert read(tmp_path / "a.warc.gz") == [PROSE.strip()]


def test_pages_that_cannot_be_read_are_counted_and_what_is_no_page_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr(web, "LARGEST_PAGE", 1 << 20)
    write_archive(
        tmp_path / "a.warc",
        ("response", PAGE.encode(), HTML | {"status": "404 Not Found"}),
        ("response", PAGE.encode(), HTML | {"status": "GARBAGE"}),
        ("response", b"GIF89a", {"Content-Type": "image/gif"}),
        ("response", gzip.compress(bytes(5 << 20)), HTML | {"Content-Encoding": "gzip"}),
        ("response", brotli.compress(bytes(5 << 20)), HTML | {"Content-Encoding": "br"}),
        ("response", b"\x1f\x8b no", HTML | {"Content-Encoding": "gzip"}),
        ("response", b"x", HTML | {"Content-Encoding": "secret"}),
        ("response", b"<html></html>", dict(HTML)),
        ("metadata", b"x: y", "application/warc-fields"),
        ("response", b"plain \xed\x95\x9c", {"Content-Type": "text/plain"}),
        zipped=False,
    )
    assert read(tmp_path / "a.warc") == [
        "no answer of HTTP",
        "more than 1 MiB in one page",
        "more than 1 MiB in one page",
        "the page's compression is damaged",
        "the page is encoded as 'secret'",
        "no text in the page",
        "plain 한",
    ]


def test_extracted_texts_of_others_are_read_as_they_are(tmp_path):
    write_archive(tmp_path / "a.wet.gz", ("conversion", PROSE.encode(), "text/plain"))
    [document] = read_file(tmp_path / "a.wet.gz", "s", "l", ReadSettings())
    assert document.text == PROSE
    assert document.metadata["url"] == "http://example.com/0"
    assert document.identifier == "a.wet.gz#http://example.com/0"


@pytest.mark.parametrize("cut", [lambda data: data[:-40], lambda data: b"no archive at all\r\n" * 9])
def test_a_damaged_archive_says_so(tmp_path, cut):
    write_archive(tmp_path / "a.warc.gz", ("response", PAGE.encode(), dict(HTML)))
    (tmp_path / "b.warc.gz").write_bytes(cut((tmp_path / "a.warc.gz").read_bytes()))
    with pytest.raises(Unreadable, match="damaged"):
        read(tmp_path / "b.warc.gz")


@pytest.mark.parametrize(
    ("length", "reason"),
    [(b"99999", "breaks off within its last record"), (b"2", "1 records are not as long as they say")],
)
def test_an_archive_with_a_wrong_length_says_so_after_what_comes_before(tmp_path, capfd, length, reason):
    texts = [("conversion", text, "text/plain") for text in (b"one", b"two and some more")]
    write_archive(tmp_path / "a.warc", *texts, zipped=False)
    broken = (tmp_path / "a.warc").read_bytes().replace(b"Content-Length: 17", b"Content-Length: " + length)
    (tmp_path / "a.warc").write_bytes(broken)
    documents = read_file(tmp_path / "a.warc", "s", "l", ReadSettings())
    assert next(documents).text == "one"
    with pytest.raises(Unreadable, match=f"damaged archive: .*{reason}"):
        list(documents)
    assert capfd.readouterr() == ("", "")


def test_a_record_of_no_address_is_damage(tmp_path):
    write_archive(tmp_path / "a.warc", ("response", PAGE.encode(), dict(HTML)), zipped=False)
    (tmp_path / "a.warc").write_bytes((tmp_path / "a.warc").read_bytes().replace(b"Target-URI", b"Target-URL"))
    with pytest.raises(Unreadable, match="damaged file"):
        read(tmp_path / "a.warc")


def test_a_page_that_did_not_decode_or_took_too_long_is_dropped_with_its_reason(tmp_path):
    from malmoi.corpus.build import Source, build_corpus
    from malmoi.corpus.settings import BuildSettings

    broken = f"<html><body><p>{PROSE}</p></body></html>".encode().replace(b"\xeb", b"\xff")
    write_archive(tmp_path / "a.warc.gz", ("response", broken, HTML | {"Content-Type": "text/html; charset=utf-8"}))
    for seconds, reason in ((30, "undecodable"), (1e-4, "extraction timed out")):
        read = partial(read_file, tmp_path / "a.warc.gz", "s", "l", ReadSettings(seconds=seconds))
        counts = build_corpus([Source(lambda unreadable, read=read: read())], tmp_path / "out", BuildSettings())
        assert counts["dropped"] == {reason: 1}
