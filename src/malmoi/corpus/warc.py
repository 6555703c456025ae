"""WARC archives (ISO 28500): what a crawl keeps, and what readers take out of them."""

from __future__ import annotations

import io
import os
import uuid
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from malmoi.core.errors import MissingExtra, UserError
from malmoi.corpus.decode import media_type
from malmoi.corpus.document import Unreadable

SEGMENT = 64 << 20
"""Bytes of an archive after which the next one begins."""
_ARCHIVE = "pages-{:05}.warc.gz"
_CODECS = {"gzip": "gzip", "x-gzip": "gzip", "br": "brotli", "zstd": "zstd"}


@dataclass(frozen=True, slots=True)
class Answer:
    """A server's answer to one request, its body decompressed.

    Attributes:
        headers: names and values as they came, in their order.
        fetched: when, as ISO 8601 in UTC with a final Z.
        address: of the server, or "".
    """

    url: str
    status: int
    headers: list[tuple[str, str]]
    body: bytes
    fetched: str
    address: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """A page in an archive.

    Attributes:
        type: such as "text/html".
        label: the encoding that the server declared, or "".
        data: the body, or why it cannot be had.
    """

    url: str
    date: str
    type: str
    label: str
    data: bytes | Unreadable


class ArchiveWriter:
    """Appends answers to archives of about `SEGMENT` bytes; the same answers make the same records.

    Args:
        about: what the archives say of themselves.
        ends: number of an archive -> how many of its bytes count; what a kill left behind them is cut off.

    Raises:
        UserError: an archive is shorter than that.
    """

    def __init__(self, directory: Path, about: dict[str, str], ends: Mapping[int, int]) -> None:
        self._directory, self._about, self._number = directory, about, max(ends, default=1)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / _ARCHIVE.format(self._number + 1)).unlink(missing_ok=True)
        path, end = directory / _ARCHIVE.format(self._number), ends.get(self._number, 0)
        with open(path, "ab") as file:
            if file.tell() < end:
                raise UserError(f"{path} has lost pages that were fetched.", "Crawl again, into another directory.")
            file.truncate(end)

    def write(self, answer: Answer) -> tuple[int, int]:
        """The number of the archive that has the answer now, and the archive's bytes with it, which are on the disk."""
        from warcio.statusandheaders import StatusAndHeaders
        from warcio.warcwriter import WARCWriter

        identifier = uuid.uuid5(uuid.NAMESPACE_URL, f"{answer.url} {answer.fetched}")
        fields = {"WARC-Date": answer.fetched, "WARC-Record-ID": f"<urn:uuid:{identifier}>"}
        if answer.address:
            fields["WARC-IP-Address"] = answer.address
        headers = StatusAndHeaders(str(answer.status), _of_stored_body(answer), protocol="HTTP/1.1")
        path = self._directory / _ARCHIVE.format(self._number)
        with open(path, "ab") as file:
            writer = WARCWriter(file, gzip=True, warc_version="1.1")
            if not file.tell():
                writer.write_record(writer.create_warcinfo_record(path.name, self._about))
            body = io.BytesIO(answer.body)
            writer.write_record(
                writer.create_warc_record(
                    answer.url, "response", body, len(answer.body), http_headers=headers, warc_headers_dict=fields
                )
            )
            file.flush()
            os.fsync(file.fileno())
            written = self._number, file.tell()
        self._number += written[1] > SEGMENT
        return written


def read_records(stream: IO[bytes], largest: int) -> Iterator[Record]:
    """The pages that were found, and texts that were extracted of pages (WET), each of at most `largest` bytes.

    Raises:
        Unreadable: the stream is no archive, or is damaged.
    """
    try:
        from warcio.archiveiterator import ArchiveIterator
        from warcio.exceptions import ArchiveLoadFailed
    except ImportError:
        raise MissingExtra("warcio", "corpus", "Reading WARC") from None
    watched, record = _Watched(stream), None
    records = ArchiveIterator(watched)
    records.INC_RECORD = ""  # a warning that it would print
    try:
        for record in records:
            if record.rec_type not in ("response", "resource", "conversion"):
                continue
            headers = record.http_headers
            status = headers.get_statuscode() if headers is not None else "200"
            if status.isdigit() and status not in ("200", "203"):
                continue
            kind, label = media_type((headers or record.rec_headers).get_header("Content-Type") or "")
            try:
                data: bytes | Unreadable = (
                    _body(record, largest) if status.isdigit() else Unreadable("no answer of HTTP")
                )
            except Unreadable as reason:
                data = reason
            url, date = (record.rec_headers.get_header(f"WARC-{name}") or "" for name in ("Target-URI", "Date"))
            yield Record(url, date, kind, label, data)
    except ArchiveLoadFailed as error:
        raise Unreadable(f"damaged archive: {error}") from None
    if watched.error is not None:
        raise Unreadable(f"damaged archive: {watched.error}")
    if record is not None and getattr(record.raw_stream, "limit", None):
        raise Unreadable("damaged archive: it breaks off within its last record")
    if records.err_count:
        raise Unreadable(f"damaged archive: {records.err_count:,} records are not as long as they say")


class _Watched:
    """A stream that remembers the error with which it broke off, which warcio takes for the end of the archive."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.error: Exception | None = None

    def read(self, size: int) -> bytes:
        try:
            return self._stream.read(size)
        except (EOFError, OSError, zlib.error) as error:
            self.error = error
            raise


def _of_stored_body(answer: Answer) -> list[tuple[str, str]]:
    """The headers, of which those that spoke of the body on the wire are renamed, since it is stored decompressed."""
    wire = ("content-encoding", "content-length", "transfer-encoding")
    renamed = [(f"X-Archive-Orig-{name}" if name.lower() in wire else name, value) for name, value in answer.headers]
    return [*renamed, ("Content-Length", str(len(answer.body)))]


def _body(record: Any, largest: int) -> bytes:
    from warcio.bufferedreaders import ChunkedDataReader

    headers, stream = record.http_headers, record.raw_stream
    coding = (headers.get_header("Content-Encoding") or "").strip().lower() if headers else ""
    if headers and "chunked" in (headers.get_header("Transfer-Encoding") or "").lower():
        stream = ChunkedDataReader(stream)
    data = bytearray()
    while len(data) <= largest and (piece := stream.read(1 << 16)):
        data += piece
    body = _decompressed(bytes(data), coding, largest) if coding not in ("", "identity") else bytes(data)
    if len(body) > largest or len(data) > largest:
        raise Unreadable(f"more than {largest >> 20} MiB in one page")
    return body


def _decompressed(data: bytes, coding: str, largest: int) -> bytes:
    """At most `largest` + 1 bytes of what compressed data stand for."""
    import pyarrow as pa  # a crawler, which writes only, starts faster without

    try:
        if coding == "deflate":
            raw = -zlib.MAX_WBITS if data[:1] and data[0] & 0x0F != 8 else zlib.MAX_WBITS
            return zlib.decompressobj(raw).decompress(data, largest + 1)
        if coding in _CODECS:
            with pa.CompressedInputStream(pa.BufferReader(data), _CODECS[coding]) as stream:
                return bytes(stream.read(largest + 1))
    except (OSError, zlib.error):
        raise Unreadable("the page's compression is damaged") from None
    raise Unreadable(f"the page is encoded as {coding!r}")
