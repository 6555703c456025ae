"""PDF and EPUB become text, or say why not."""

import io
import zipfile

import pytest

from malmoi.corpus import extract
from malmoi.corpus.document import Unreadable
from malmoi.corpus.read import ReadSettings, read_file
from malmoi.corpus.readers import books

PROSE = "말모이는 최초의 한국어 사전 원고이다. 주시경과 제자들이 낱말을 모았다. " * 4
CONTAINER = '<container xmlns="urn:x"><rootfiles><rootfile full-path="책/p.opf"/></rootfiles></container>'
PACKAGE = (
    '<package xmlns="http://www.idpf.org/2007/opf"><manifest><item id="b" href="%EB%91%98.xhtml"/>'
    '<item id="a" href="one.xhtml"/></manifest><spine><itemref idref="a"/><itemref idref="b"/></spine></package>'
)


def read(path):
    return [document.text for document in read_file(path, "s", "l", ReadSettings())]


def write_epub(path, **changes):
    parts = {
        "META-INF/container.xml": CONTAINER,
        "책/p.opf": PACKAGE,
        "책/one.xhtml": f"<html><body><h1>하나</h1><p>{PROSE}</p></body></html>",
        "책/둘.xhtml": f"<html><body><h1>둘</h1><p>둘째 장. {PROSE}</p></body></html>",
    } | changes
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as book:
        for name, content in parts.items():
            if content is not None:
                book.writestr(name, content)


def write_pdf(path, *pages, password=""):
    """A PDF whose pages show a line of Latin text each, or nothing."""
    from pypdf import PdfWriter
    from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

    writer = PdfWriter()
    for text in pages:
        page = writer.add_blank_page(200, 200)
        font = DictionaryObject({NameObject(f"/{k}"): NameObject(f"/{v}") for k, v in
                                 (("Type", "Font"), ("Subtype", "Type1"), ("BaseFont", "Helvetica"))})  # fmt: skip
        page[NameObject("/Resources")] = DictionaryObject(
            {NameObject("/Font"): DictionaryObject({NameObject("/F"): font})}
        )
        content = DecodedStreamObject()
        content.set_data(f"BT /F 12 Tf 10 100 Td ({text}) Tj ET".encode() if text else b"")
        page[NameObject("/Contents")] = writer._add_object(content)
    if password:
        writer.encrypt(password, algorithm="RC4-128")
    writer.write(path)


def test_the_pages_of_a_pdf_are_one_text(tmp_path):
    write_pdf(tmp_path / "a.pdf", "First page", "", "Third page")
    assert read(tmp_path / "a.pdf") == ["First page\n\nThird page"]


@pytest.mark.parametrize(
    ("pages", "password", "reason"),
    [(["", ""], "", "2 pages have no text: scanned"), (["Secret"], "x", "an encrypted PDF")],
)
def test_pdfs_without_text_and_encrypted_ones_are_refused(tmp_path, pages, password, reason):
    write_pdf(tmp_path / "a.pdf", *pages, password=password)
    with pytest.raises(Unreadable, match=reason):
        read(tmp_path / "a.pdf")


def test_a_pdf_of_very_many_pages_is_refused(monkeypatch):
    monkeypatch.setattr(extract, "MOST_PDF_PAGES", 2)
    pages = io.BytesIO()
    write_pdf(pages, "1", "2", "3")
    assert str(extract._extract(extract.Page("pdf", pages.getvalue()))) == "a PDF of more than 2 pages"


def test_a_book_is_one_text_in_the_order_of_its_spine(tmp_path):
    write_epub(tmp_path / "a.epub")
    [text] = read(tmp_path / "a.epub")
    assert text.index("말모이는") < text.index("둘째 장")


ENCRYPTED = '<encryption><EncryptedData><EncryptionMethod Algorithm="{}"/></EncryptedData></encryption>'


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"META-INF/encryption.xml": ENCRYPTED.format("http://www.w3.org/2001/04/xmlenc#aes256-cbc")}, "an encrypted EPUB"),
        ({"책/one.xhtml": bytes(3_000_000)}, "책/one.xhtml in the EPUB unpacks to more than 2 MiB"),
        ({"책/p.opf": None}, "damaged file"),
        ({"책/p.opf": "<package>"}, "damaged file"),
        ({"META-INF/container.xml": "<a/>"}, "damaged file"),
        ({"책/one.xhtml": "<html/>", "책/둘.xhtml": ""}, "no text in the 2 chapters"),
    ],
)  # fmt: skip
def test_books_that_cannot_be_read_say_why(tmp_path, monkeypatch, changes, reason):
    monkeypatch.setattr(books, "LARGEST_PAGE", 2 << 20)
    write_epub(tmp_path / "a.epub", **changes)
    with pytest.raises(Unreadable, match=reason):
        read(tmp_path / "a.epub")


def test_a_book_with_obfuscated_fonts_only_is_read(tmp_path):
    fonts = ENCRYPTED.format("http://www.idpf.org/2008/embedding")
    write_epub(tmp_path / "a.epub", **{"META-INF/encryption.xml": fonts})
    assert len(read(tmp_path / "a.epub")) == 1


def test_what_is_no_archive_is_no_book(tmp_path):
    (tmp_path / "a.epub").write_bytes(b"PK no")
    with pytest.raises(Unreadable, match="damaged file"):
        read(tmp_path / "a.epub")
