"""Every kind of file becomes documents; a file that cannot says why."""

import bz2
import gzip
import json
import os
import random
import struct

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from malmoi.core.errors import UserError
from malmoi.corpus.decode import decode
from malmoi.corpus.document import Unreadable
from malmoi.corpus.mediawiki import plain_text
from malmoi.corpus.read import ReadSettings, read_file
from malmoi.corpus.readers import file

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


def test_a_line_of_blanks_ends_a_paragraph_too(tmp_path):
    (tmp_path / "a.txt").write_text("말\n \n\u3000모이\r\n\u3000\r\n사전")
    assert texts(tmp_path / "a.txt", split="paragraph") == ["말", "\u3000모이", "사전"]


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
        ("a.xml", WIKI[:-30].encode(), "damaged file: ParseError: no element found: line 4"),
        ("a.txt.zst", zstd(random.Random(0).randbytes(99_999))[:-20], "damaged"),
        ("a.parquet", b"PAR1 no", "damaged"),
        ("a.exe", b"MZ", "unknown kind"),
        ("a.txt", b"", "empty file"),
        ("b.xml", b"<svg><g/></svg>", "no MediaWiki dump"),
        ("a.csv", b"text\n" + b"x" * (1 << 26) + b"x\n", "field larger"),
        ("a.xml", '<?xml version="1.0" encoding="euc-kr"?><rss>말</rss>'.encode("cp949"), "damaged file: ValueError"),
        ("a.md", b"---\nx: &a [1, *a]\n---\n", "damaged file: ValueError: Circular"),
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


def test_records_without_the_column_cost_nothing_but_themselves(tmp_path):
    lines = ['{"title": "가"}', '{"text": "말"}', '{"title": "나"}', '{"text": ["다"]}', '{"text": "모이", "id": %s}']
    (tmp_path / "a.jsonl").write_text("\n".join([*lines, '{"text": "이"}']) % ("1" * 5_000))
    found = list(read_file(tmp_path / "a.jsonl", "s", "l", ReadSettings(text="text")))
    assert [document.text for document in found] == ["", "말", "", "", "", "이"]
    assert [found[place].metadata["unreadable"] for place in (0, 2, 3, 4)] == [
        "no text column",
        "no text column",
        "no text in the column",
        "no JSON object",
    ]


@pytest.mark.parametrize("lines", [1, 1_000])
def test_json_lines_that_all_lack_the_column_name_the_nearest(tmp_path, lines):
    (tmp_path / "a.jsonl").write_text('{"review": "좋다"}\n' * lines)
    with pytest.raises(UserError, match="no column 'reviwe'. Did you mean 'review'"):
        texts(tmp_path / "a.jsonl", text="reviwe")


@pytest.mark.parametrize(("suffix", "compress"), [("gz", gzip.compress), ("bz2", bz2.compress)])
def test_what_stands_before_the_damage_is_read(tmp_path, suffix, compress):
    path, noise, found = tmp_path / f"a.jsonl.{suffix}", random.Random(0), []
    path.write_bytes(compress(b"".join(b'{"text": "%x"}\n' % noise.getrandbits(80_000) for _ in range(150)))[:-20])
    with pytest.raises(Unreadable, match="damaged file: EOFError"):
        for document in read_file(path, "s", "l", ReadSettings()):
            found.append(document)
    assert len(found) > 60


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


def test_front_matter_that_is_no_json_costs_no_text(tmp_path):
    (tmp_path / "a.md").write_text('---\n2026-01-01: x\ntitle: "말\\uD800"\n---\n글.\n')
    [document] = read_file(tmp_path / "a.md", "s", "l", ReadSettings())
    assert (document.text, document.metadata) == ("글.\n", {"front_matter": {"title": "말\ufffd"}})


@pytest.mark.parametrize("split", ["file", "paragraph"])
def test_a_large_text_is_cut_where_paragraphs_end(tmp_path, monkeypatch, split):
    monkeypatch.setattr(file, "LARGEST_TEXT", 100)
    paragraphs = [f"{number}번째 문단이다.\r\n또 한 줄이다." for number in range(40)]
    (tmp_path / "a.txt").write_bytes("\r\n\r\n".join(paragraphs).encode("cp949"))
    found = texts(tmp_path / "a.txt", split=split)
    if split == "file":
        assert "".join(found) == "\r\n\r\n".join(paragraphs)
        assert all(piece.endswith("이다.\r\n\r\n") and len(piece) <= 200 for piece in found[:-1])
        assert len(found) > 5
    else:
        assert found == [paragraph.replace("\r\n", "\n") for paragraph in paragraphs]


def test_a_file_is_named_within_its_source_whatever_the_encoding_of_its_name(tmp_path):
    path = tmp_path / os.fsdecode("이름.txt".encode("cp949"))
    path.write_text("말모이")
    [document] = read_file(path, "s", "l", ReadSettings(), f"글/{path.name}")
    assert document.identifier == "글/\\xc0̸\\xa7.txt#1"


def test_bytes_in_a_table_are_utf_8_and_lists_are_no_text(tmp_path):
    table = pa.table({"text": ["말모이".encode(), None], "words": [["말"], []]})
    pq.write_table(table, tmp_path / "a.parquet")
    assert texts(tmp_path / "a.parquet") == ["말모이", ""]
    with pytest.raises(UserError, match="the column 'words' holds list<element: string>, no text"):
        texts(tmp_path / "a.parquet", text="words")


def test_an_arrow_file_whose_offsets_lead_astray_is_damaged(tmp_path):
    offsets = struct.pack("<iii", 0, -637_534_208, 1)
    text = pa.Array.from_buffers(pa.string(), 2, [None, pa.py_buffer(offsets), pa.py_buffer(b"ab")])
    with pa.ipc.new_file(tmp_path / "a.arrow", pa.schema([("text", pa.string())])) as writer:
        writer.write_table(pa.table({"text": text}))
    with pytest.raises(Unreadable, match="damaged file: ArrowInvalid"):
        texts(tmp_path / "a.arrow")


def test_a_wiki_page_that_takes_too_long_is_given_up_and_the_others_are_read(tmp_path):
    slow = "{{a|" * 20_000
    page = "<page><title>{}</title><ns>0</ns><revision><text>{}</text></revision></page>"
    pages = [page.format("하나", "말"), page.format("둘", slow), page.format("셋", "모이")]
    (tmp_path / "a.xml").write_text(f"<mediawiki>{''.join(pages)}</mediawiki>")
    found = list(read_file(tmp_path / "a.xml", "s", "l", ReadSettings(seconds=1)))
    assert [document.text for document in found] == ["말", "", "모이"]
    assert found[1].metadata == {"title": "둘", "unreadable": "extraction timed out: more than 1 s"}


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
    (tmp_path / "a.csv").write_text("0,17,가\n0,가,1\n0,1,2,3\n\ninf,0,1\n")
    assert texts(tmp_path / "a.csv", picture_width=2) == [""] * 5


def test_a_class_longer_than_the_picture_is_wide_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("0,1,여섯\n")
    with pytest.raises(UserError, match="does not fit over a picture 2 wide"):
        texts(tmp_path / "a.csv", picture_width=2)
