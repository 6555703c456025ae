"""Every document is kept or dropped with a reason, and the counts add up."""

import errno
import hashlib
import unicodedata

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from malmoi.core.errors import UserError
from malmoi.corpus import contamination
from malmoi.corpus.build import Source, build_corpus
from malmoi.corpus.document import Document
from malmoi.corpus.normalize import normalize
from malmoi.corpus.settings import BuildSettings
from malmoi.corpus.store import count_documents, read_documents

SENTENCE = "말모이는 최초의 한국어 사전 원고이다, number"


def documents(*given):
    return [Document(text, "source", identifier=str(number)) for number, text in enumerate(given)]


def build(given, directory, settings, excluded=()):
    """A corpus of documents that are at hand."""
    return build_corpus([Source(lambda unreadable: iter(given))], directory, settings, excluded)


def test_counts_add_up(tmp_path):
    given = documents(*[f"{SENTENCE} {n}" for n in range(50)], f"{SENTENCE} 1", "짧다", "", "*** --- !!! ??? ### $$$")
    counts = build(given, tmp_path, BuildSettings())
    assert counts["read"] == counts["kept"] + sum(counts["dropped"].values()) == 54
    assert counts["dropped"] == {"duplicate": 1, "too short": 1, "empty": 1, "few letters": 1}
    assert counts["kept"] == count_documents(tmp_path, "train") + count_documents(tmp_path, "held_out")


def test_what_is_dropped_is_kept_to_be_looked_at(tmp_path):
    build(documents("짧다", SENTENCE), tmp_path, BuildSettings())
    row = pq.read_table(tmp_path / "dropped.parquet").to_pylist()[0]
    assert (row["text"], row["rule"], row["value"], row["limit"]) == ("짧다", "too short", "2", ">= 16")


def test_equal_texts_in_different_spellings_are_duplicates(tmp_path):
    given = documents(SENTENCE, unicodedata.normalize("NFD", SENTENCE), SENTENCE + "\u200b  ")
    assert build(given, tmp_path, BuildSettings())["dropped"] == {"duplicate": 2}


def test_excluded_texts_never_get_in(tmp_path):
    counts = build(documents(SENTENCE), tmp_path, BuildSettings(), documents(" " + SENTENCE))
    assert counts["dropped"] == {"excluded": 1}


def test_the_split_depends_on_the_text_alone(tmp_path):
    given = documents(*[f"{SENTENCE} {n}" for n in range(400)])
    build(given, tmp_path / "a", BuildSettings(held_out=0.2))
    build(reversed(given), tmp_path / "b", BuildSettings(held_out=0.2))
    held_out = [{d.text for d in read_documents(tmp_path / name, "held_out")} for name in "ab"]
    assert held_out[0] == held_out[1]
    assert 50 < len(held_out[0]) < 110


def test_the_tail_of_a_single_text_is_held_out(tmp_path):
    build(documents("가" * 90 + "나" * 10), tmp_path, BuildSettings(held_out=0.1, held_out_by="tail"))
    assert [d.text for d in read_documents(tmp_path, "train")] == ["가" * 90]
    assert [d.text for d in read_documents(tmp_path, "held_out")] == ["나" * 10]


def test_a_long_text_is_not_held_out_whole(tmp_path):
    counts = build(documents("말모이 " * 50_000), tmp_path, BuildSettings())
    assert counts["held_out_bytes"] == pytest.approx(0.05 * counts["bytes"], rel=0.01)


def test_a_full_disk_leaves_the_corpus_before_as_it_was(tmp_path, monkeypatch):
    build(documents(SENTENCE), tmp_path, BuildSettings(held_out=0))

    def write_table(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", write_table)
    with pytest.raises(UserError, match="disk is full"):
        build(documents(SENTENCE + "!"), tmp_path, BuildSettings(held_out=0))
    assert [d.text for d in read_documents(tmp_path, "train")] == [SENTENCE]
    assert not list(tmp_path.rglob(".*"))


def test_documents_and_bytes_are_all_accounted_for(tmp_path):
    given = documents(SENTENCE, SENTENCE, "짧다", "\u200b" + SENTENCE + "!", "***")
    counts = build(given, tmp_path, BuildSettings())
    assert counts["read_bytes"] == sum(len(document.text.encode()) for document in given)
    assert counts["read_bytes"] == counts["kept_bytes"] + sum(counts["dropped_bytes"].values())
    assert counts["bytes"] == counts["kept_bytes"] - len("\u200b".encode())


def test_a_duplicate_names_the_document_that_stays(tmp_path):
    build(documents(SENTENCE, SENTENCE), tmp_path, BuildSettings())
    assert '"duplicate_of": "source/0"' in pq.read_table(tmp_path / "dropped.parquet")["metadata"][0].as_py()


def test_near_duplicates_leave_with_their_similarity(tmp_path):
    text = " ".join(f"{number}번째 낱말을 모아서 말모이를 만들었다" for number in range(40))
    given = documents(text, text.replace("17번째", "열일곱째"), SENTENCE)
    assert build(given, tmp_path, BuildSettings(near_duplicates=0.8))["dropped"] == {"near duplicate": 1}
    row = pq.read_table(tmp_path / "dropped.parquet").to_pylist()[0]
    assert 0.9 < float(row["value"]) < 1
    assert (row["identifier"], row["limit"]) == ("1", "< 0.8")


def test_a_line_that_many_documents_share_stays_in_the_first(tmp_path):
    notice = "무단 전재와 재배포를 금지합니다."
    given = documents(*[f"{SENTENCE} {number}\n{notice}" for number in range(3)], notice)
    counts = build(given, tmp_path, BuildSettings(repeated_lines=3, held_out=0))
    texts = [document.text for document in read_documents(tmp_path, "train")]
    assert texts == [f"{SENTENCE} 0\n{notice}", f"{SENTENCE} 1", f"{SENTENCE} 2"]
    assert counts["dropped"] == {"repeated text": 1}


def test_a_passage_of_an_evaluation_text_is_reported(tmp_path):
    passage = (
        "훈민정음은 백성을 가르치는 바른 소리라는 뜻으로 세종이 만든 우리 글자의 이름이며 그 해설서의 이름이기도 하다"
    )
    given = documents(f"앞에 다른 말이 있고 {passage.replace(' ', '  ')} 뒤에도 있다.", SENTENCE)
    exam = [Document(passage + ". 이것은 시험 문제이다.", "exam", identifier="7")]
    counts = build(given, tmp_path, BuildSettings(decontaminate=True), exam)
    row = pq.read_table(tmp_path / "dropped.parquet").to_pylist()[0]
    assert counts["dropped"] == {"contaminated": 1}
    assert row["value"] == passage.replace(" ", "")[:40]
    assert row["limit"] == "no 40 characters of exam/7"


@pytest.mark.parametrize("before", [0, 60, 61, 90, 100, 101, 139, 140, 500])
def test_a_passage_anywhere_in_a_long_text_is_found(tmp_path, monkeypatch, before):
    monkeypatch.setattr(contamination, "PIECE", 100)
    passage = "".join(chr(0xAC00 + number) for number in range(40))
    text = "모" * before + passage + "이" * 300
    counts = build([Document(text, "x")], tmp_path, BuildSettings(decontaminate=True), [Document(passage, "exam")])
    assert counts["dropped"] == {"contaminated": 1}


def sampled(given, directory, sample, **settings):
    """What is kept of each source, and the rows of what is dropped, when `sample` says the bytes of each."""
    sources = [Source(lambda unreadable: iter(given))]
    build_corpus(sources, directory, BuildSettings(held_out=0, **settings), sample=lambda sizes: sample)
    kept = [(document.source, document.text) for document in read_documents(directory, "train")]
    return kept, pq.read_table(directory / "dropped.parquet").to_pylist()


def test_a_mixture_leaves_out_what_is_beyond_a_source_s_share(tmp_path):
    given = [Document(f"{source} {SENTENCE} {number}", source) for source in "ab" for number in range(100)]
    size = sum(len(document.text.encode()) for document in given if document.source == "b") // 4
    kept, dropped = sampled(given, tmp_path, {"b": size})
    assert sum(source == "a" for source, _ in kept) == 100
    assert size - 80 < sum(len(text.encode()) for source, text in kept if source == "b") <= size
    assert {row["rule"] for row in dropped} == {"surplus"}


def test_a_long_document_leaves_its_share_to_shorter_ones(tmp_path):
    long = [Document(f"{number} " + "말모이 " * 200, "a") for number in range(20)]
    short = [Document(f"{SENTENCE} {number}", "a") for number in range(20)]
    kept, _ = sampled([*long, *short], tmp_path, {"a": 500})
    assert 400 < sum(len(text.encode()) for _, text in kept) <= 500


def test_a_duplicate_stays_instead_of_a_document_that_is_surplus(tmp_path):
    given = [Document(SENTENCE, "a", identifier="1"), *(Document(SENTENCE, "b", identifier=one) for one in "23")]
    kept, dropped = sampled(given, tmp_path, {"a": 0})
    assert kept == [("b", SENTENCE)]
    assert [(row["identifier"], row["rule"]) for row in dropped] == [("1", "surplus"), ("3", "duplicate")]
    assert '"duplicate_of": "b/2"' in dropped[1]["metadata"]


def test_a_text_that_no_source_has_room_for_is_surplus_each_time(tmp_path):
    kept, dropped = sampled([Document(SENTENCE, "a"), Document(SENTENCE, "b")], tmp_path, {"a": 0, "b": 0})
    assert (kept, [row["rule"] for row in dropped]) == ([], ["surplus", "surplus"])


def test_a_text_of_repeated_lines_alone_is_that_each_time(tmp_path):
    notice = "무단 전재와 재배포를 금지합니다."
    counts = build(
        documents(f"{SENTENCE} 0\n{notice}", notice, notice), tmp_path, BuildSettings(repeated_lines=2, held_out=0)
    )
    assert counts["dropped"] == {"repeated text": 2}


def test_a_repeated_line_of_a_text_that_is_dropped_stays_in_the_next(tmp_path):
    menu, notice = "처음으로 소식 자료실 오시는 길", "무단 전재와 재배포를 금지합니다."
    given = documents(
        f"{SENTENCE} 0\n{menu}", f"{menu}\n{notice}", f"{SENTENCE} 2\n{notice}", f"{SENTENCE} 3\n{notice}"
    )
    counts = build(given, tmp_path, BuildSettings(repeated_lines=2, minimum_characters=20, held_out=0))
    texts = [document.text for document in read_documents(tmp_path, "train")]
    assert texts == [f"{SENTENCE} 0\n{menu}", f"{SENTENCE} 2\n{notice}", f"{SENTENCE} 3"]
    assert counts["dropped"] == {"repeated text": 1}


def test_what_is_equal_to_a_near_duplicate_names_the_document_that_stays(tmp_path):
    text = " ".join(f"{number}번째 낱말을 모아서 말모이를 만들었다" for number in range(40))
    like = text.replace("17번째", "열일곱째")
    build(documents(text, like, like), tmp_path, BuildSettings(near_duplicates=0.8))
    rows = pq.read_table(tmp_path / "dropped.parquet").to_pylist()
    assert [row["rule"] for row in rows] == ["near duplicate", "near duplicate"]
    assert all('"duplicate_of": "source/0"' in row["metadata"] for row in rows)


def test_provenance_has_the_sha256_of_the_text(tmp_path):
    build(
        [Document(SENTENCE, "s", "MIT", "1", {"url": "https://말모이.example"})],
        tmp_path,
        BuildSettings(held_out=0, provenance=True),
    )
    document = next(read_documents(tmp_path, "train"))
    expected = hashlib.sha256(SENTENCE.encode()).hexdigest()
    assert document.metadata == {"url": "https://말모이.example", "sha256": expected}


def test_source_and_licence_stay_with_the_text(tmp_path):
    build([Document(SENTENCE, "krv", "PD", "a#1", {"title": "창"})], tmp_path, BuildSettings(held_out=0))
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


def test_a_table_of_somebody_else_is_no_corpus(tmp_path):
    pq.write_table(pa.table({"문서": [SENTENCE]}), tmp_path / "train.parquet")
    with pytest.raises(UserError, match="is no corpus: train.parquet has other columns"):
        list(read_documents(tmp_path, "train"))


def test_damage_within_a_corpus_is_told(tmp_path):
    build(documents(SENTENCE), tmp_path, BuildSettings(held_out=0))
    path = tmp_path / "train.parquet"
    content = path.read_bytes()
    path.write_bytes(content[:4] + b"\xff" * 100 + content[104:])
    with pytest.raises(UserError, match=r"train\.parquet is broken"):
        list(read_documents(tmp_path, "train"))
