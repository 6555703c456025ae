"""Every kind of file becomes documents; a file that cannot says why."""

import bz2
import gzip
import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from malmoi.core.errors import UserError
from malmoi.corpus.decode import decode
from malmoi.corpus.document import Unreadable
from malmoi.corpus.mediawiki import plain_text
from malmoi.corpus.read import ReadSettings, read_file

WIKI = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/">
<page><title>말모이</title><ns>0</ns><revision><text>'''말모이'''는 [[사전]]이다.{{각주}}&lt;ref&gt;주&lt;/ref&gt;</text></revision></page>
<page><title>Old</title><ns>0</ns><redirect title="말모이"/><revision><text>#REDIRECT</text></revision></page>
<page><title>Talk:x</title><ns>1</ns><revision><text>talk</text></revision></page></mediawiki>"""


def zstd(data):
    return pa.Codec("zstd").compress(data, asbytes=True)


def texts(path, **settings):
    return [document.text for document in read_file(path, "source", "CC0-1.0", ReadSettings(**settings))]


def test_a_text_file_is_one_document(tmp_path):
    (tmp_path / "a.txt").write_text("말\n모이")
    assert texts(tmp_path / "a.txt") == ["말\n모이"]


@pytest.mark.parametrize(("split", "expected"), [("line", ["a\n", "b\n", "c"]), ("paragraph", ["a\nb", "c"])])
def test_a_text_file_can_be_split(tmp_path, split, expected):
    (tmp_path / "a.txt").write_text("a\nb\n\nc")
    assert list(texts(tmp_path / "a.txt", split=split)) == expected


@pytest.mark.parametrize(("suffix", "compress"), [("gz", gzip.compress), ("zst", zstd), ("bz2", bz2.compress)])
def test_compressed_json_lines_are_read(tmp_path, suffix, compress):
    path = tmp_path / f"a.jsonl.{suffix}"
    path.write_bytes(compress(json.dumps({"id": 1, "text": "말모이"}).encode()))
    assert texts(path) == ["말모이"]


def test_tables_are_read_by_their_column(tmp_path):
    (tmp_path / "a.tsv").write_text('id\treview\n1\t좋다 "참\n2\t나쁘다\n')
    (tmp_path / "b.csv").write_text('id,review\n1,"좋다, 참"\n')
    assert texts(tmp_path / "a.tsv") == ['좋다 "참', "나쁘다"]
    assert texts(tmp_path / "b.csv", text="review") == ["좋다, 참"]


def test_a_table_without_header_is_read_by_the_number_of_its_column(tmp_path):
    (tmp_path / "a.tsv").write_text("1\t0.5\t좋다\n")
    assert texts(tmp_path / "a.tsv", text=2) == ["좋다"]


def test_a_wrong_column_names_the_nearest(tmp_path):
    (tmp_path / "a.tsv").write_text("id\treview\n")
    with pytest.raises(UserError, match="no column 'reviwe'. Did you mean 'review'"):
        texts(tmp_path / "a.tsv", text="reviwe")


def test_parquet_is_read(tmp_path):
    pq.write_table(pa.table({"text": ["말", "모이"]}), tmp_path / "a.parquet")
    assert texts(tmp_path / "a.parquet") == ["말", "모이"]


def test_a_page_loses_its_menus(tmp_path):
    body = "<p>" + "말모이는 우리말 사전의 원고이다. 많은 사람이 말을 모았다. " * 5 + "</p>"
    page = f"<html><body><nav>메뉴 하나</nav><article>{body}</article></body></html>"
    (tmp_path / "a.html").write_text(page)
    assert "말모이는" in texts(tmp_path / "a.html")[0]
    assert "메뉴" not in texts(tmp_path / "a.html")[0]


def test_a_dump_gives_articles_without_markup(tmp_path):
    (tmp_path / "a.xml.bz2").write_bytes(bz2.compress(WIKI.encode()))
    assert texts(tmp_path / "a.xml.bz2") == ["말모이는 사전이다."]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.txt", bytes(range(256)) * 10, "no text"),
        ("a.jsonl.gz", gzip.compress(b'{"text": "x"}' * 999, mtime=0)[:-20], "damaged"),
        ("a.xml", WIKI[:-30].encode(), "breaks off"),
        ("a.txt.zst", zstd(random.Random(0).randbytes(99_999))[:-20], "damaged"),
        ("a.parquet", b"PAR1 no", "damaged"),
        ("a.exe", b"MZ", "unknown kind"),
        ("a.txt", b"", "empty file"),
        ("b.xml", b"<svg><g/></svg>", "no MediaWiki dump"),
        ("a.csv", b"text\n" + b"x" * (1 << 26) + b"x\n", "field larger"),
    ],
)
def test_a_file_without_text_says_why(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Unreadable, match=reason):
        texts(tmp_path / name)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp949"])
def test_korean_is_decoded_whatever_its_encoding(encoding):
    assert decode("똠방각하와 펲시콜라를 마신 말모이".encode(encoding)) == "똠방각하와 펲시콜라를 마신 말모이"


def test_typographic_apostrophes_alone_are_not_taken_for_korean():
    assert decode("It’s a film that doesn’t end.".encode("cp1252")) == "It’s a film that doesn’t end."


def test_lines_that_are_no_objects_are_counted_and_broken_surrogates_replaced(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": \n[1]\n' + "[" * 200_000 + '\n{"text": "말\\ud83d"}\n')
    assert texts(tmp_path / "a.jsonl") == ["", "", "", "말\ufffd"]


def test_every_frame_of_a_zstandard_file_is_read(tmp_path):
    (tmp_path / "a.jsonl.zst").write_bytes(zstd(b'{"text": "one"}\n') + zstd(b'{"text": "two"}\n'))
    assert texts(tmp_path / "a.jsonl.zst") == ["one", "two"]


def test_an_orange_table_without_rows_is_empty(tmp_path):
    (tmp_path / "a.tab").write_text("Title\tContent\n")
    assert texts(tmp_path / "a.tab") == []


def test_prose_between_references_stays():
    markup = 'One.<ref name="a/b" /> Two. Three.<ref>note</ref> Four.<references />'
    assert plain_text(markup) == "One. Two. Three. Four."


def test_western_text_is_not_taken_for_korean():
    text = decode("Die Wörter für große Bücher über schöne Häuser. Déjà vu, café.".encode("cp1252"))
    assert "Wörter" in text


def test_markdown_keeps_its_front_matter_as_metadata(tmp_path):
    (tmp_path / "a.md").write_text("---\ntitle: 말모이\ndate: 2026-01-01\n---\n\n# 제목\n\n*글* 그대로.\n")
    [document] = read_file(tmp_path / "a.md", "s", "l", ReadSettings())
    assert document.text == "# 제목\n\n*글* 그대로.\n"
    assert document.metadata == {"front_matter": {"title": "말모이", "date": "2026-01-01"}}


@pytest.mark.parametrize("new", [pa.ipc.new_stream, pa.ipc.new_file])
def test_arrow_files_of_saved_data_sets_are_read(tmp_path, new):
    table = pa.table({"text": ["말", "모이"], "label": [0, 1]})
    with new(tmp_path / "a.arrow", table.schema) as writer:
        writer.write_table(table)
    assert texts(tmp_path / "a.arrow") == ["말", "모이"]


def test_a_grey_picture_is_a_grid_of_shades_under_its_class(tmp_path):
    (tmp_path / "a.csv").write_text("0,16,8,0,0,0,0,16,0,7\n")
    assert texts(tmp_path / "a.csv", picture_width=3) == ["7-\n @f\n   \n @ \n"]


def test_what_is_no_picture_is_an_empty_document(tmp_path):
    (tmp_path / "a.csv").write_text("0,17,가\n0,가,1\n0,1,2,3\n\n")
    assert texts(tmp_path / "a.csv", picture_width=2) == [""] * 4


def test_a_class_longer_than_the_picture_is_wide_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("0,1,여섯\n")
    with pytest.raises(UserError, match="does not fit over a picture 2 wide"):
        texts(tmp_path / "a.csv", picture_width=2)
