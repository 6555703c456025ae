"""Every document is kept or dropped with a reason, and the counts add up."""

import errno
import unicodedata

import pyarrow.parquet as pq
import pytest

from malmoi.core.errors import UserError
from malmoi.corpus.build import BuildSettings, build_corpus
from malmoi.corpus.document import Document
from malmoi.corpus.normalize import normalize
from malmoi.corpus.store import count_documents, read_documents

SENTENCE = "말모이는 최초의 한국어 사전 원고이다, number"


def documents(*given):
    return [Document(text, "source") for text in given]


def test_counts_add_up(tmp_path):
    given = documents(*[f"{SENTENCE} {n}" for n in range(50)], f"{SENTENCE} 1", "짧다", "", "*** --- !!! ??? ### $$$")
    counts = build_corpus(given, tmp_path, BuildSettings())
    assert counts["read"] == counts["kept"] + sum(counts["dropped"].values()) == 54
    assert counts["dropped"] == {"duplicate": 1, "too short": 1, "empty": 1, "few letters": 1}
    assert counts["kept"] == count_documents(tmp_path, "train") + count_documents(tmp_path, "held_out")


def test_what_is_dropped_is_kept_to_be_looked_at(tmp_path):
    build_corpus(documents("짧다", SENTENCE), tmp_path, BuildSettings())
    assert pq.read_table(tmp_path / "dropped.parquet").to_pylist()[0]["reason"] == "too short"


def test_equal_texts_in_different_spellings_are_duplicates(tmp_path):
    given = documents(SENTENCE, unicodedata.normalize("NFD", SENTENCE), SENTENCE + "\u200b  ")
    assert build_corpus(given, tmp_path, BuildSettings())["dropped"] == {"duplicate": 2}


def test_excluded_texts_never_get_in(tmp_path):
    counts = build_corpus(documents(SENTENCE), tmp_path, BuildSettings(), documents(" " + SENTENCE))
    assert counts["dropped"] == {"excluded": 1}


def test_the_split_depends_on_the_text_alone(tmp_path):
    given = documents(*[f"{SENTENCE} {n}" for n in range(400)])
    build_corpus(given, tmp_path / "a", BuildSettings(held_out=0.2))
    build_corpus(reversed(given), tmp_path / "b", BuildSettings(held_out=0.2))
    held_out = [{d.text for d in read_documents(tmp_path / name, "held_out")} for name in "ab"]
    assert held_out[0] == held_out[1]
    assert 50 < len(held_out[0]) < 110


def test_the_tail_of_a_single_text_is_held_out(tmp_path):
    build_corpus(documents("가" * 90 + "나" * 10), tmp_path, BuildSettings(held_out=0.1, held_out_by="tail"))
    assert [d.text for d in read_documents(tmp_path, "train")] == ["가" * 90]
    assert [d.text for d in read_documents(tmp_path, "held_out")] == ["나" * 10]


def test_a_long_text_is_not_held_out_whole(tmp_path):
    counts = build_corpus(documents("말모이 " * 50_000), tmp_path, BuildSettings())
    assert counts["held_out_bytes"] == pytest.approx(0.05 * counts["bytes"], rel=0.01)


def test_a_full_disk_leaves_the_corpus_before_as_it_was(tmp_path, monkeypatch):
    build_corpus(documents(SENTENCE), tmp_path, BuildSettings(held_out=0))

    def write_table(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", write_table)
    with pytest.raises(UserError, match="disk is full"):
        build_corpus(documents(SENTENCE + "!"), tmp_path, BuildSettings(held_out=0))
    assert [d.text for d in read_documents(tmp_path, "train")] == [SENTENCE]
    assert not list(tmp_path.glob(".*"))


def test_source_and_licence_stay_with_the_text(tmp_path):
    build_corpus([Document(SENTENCE, "krv", "PD", "a#1", {"title": "창"})], tmp_path, BuildSettings(held_out=0))
    assert list(read_documents(tmp_path, "train")) == [Document(SENTENCE, "krv", "PD", "a#1", {"title": "창"})]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\u1112\u1161\u11ab글", "한글"),
        ("㎏ ｆｕｌｌ", "㎏ ｆｕｌｌ"),
        ("말\u200b모\ufeff이", "말모이"),
        ("👩\u200d👧", "👩\u200d👧"),
        ("가\u200d나", "가나"),
        ("a\u202eb\u3164c\u3000d\x0ce", "abc d\ne"),
        ("\u1112\u200b\u1161", "하"),
        ("a\x00b\x07\r\nc  \n\n\n\nd", "ab\nc\n\nd"),
    ],
)
def test_one_spelling_for_one_text(text, expected):
    assert normalize(text) == expected


def test_no_corpus_is_named(tmp_path):
    with pytest.raises(UserError, match="is no corpus"):
        list(read_documents(tmp_path, "train"))
