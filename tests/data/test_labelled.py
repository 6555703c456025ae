"""Labelled texts are read with their mistakes named, and split the same way at every run."""

import bz2
import gzip
from functools import partial

import pyarrow as pa
import pytest

from malmoi.core.errors import UserError
from malmoi.data.label_tables import TableSettings, read_labelled
from malmoi.data.labelled import LabelledText, Splits, SplitSettings, class_names, split_labelled

REVIEWS = [LabelledText(f"영화 {number} 참 좋다", "좋음" if number % 3 else "나쁨") for number in range(300)]


def test_a_table_is_read_by_its_header(tmp_path):
    (tmp_path / "a.tsv").write_text("id\tdocument\tlabel\n1\t최고다\t1\n2\t\t0\n3\t별로\t0\n")
    read = read_labelled(tmp_path / "a.tsv", TableSettings(text="document"))
    assert read == [LabelledText("최고다", "1"), LabelledText("별로", "0")]


def test_a_table_without_header_is_read_by_number_and_scores_become_classes(tmp_path):
    (tmp_path / "a.tsv").write_text("1\t2.5\tgreat\n2\t-1\tbad\n3\t0\tso so\n")
    read = read_labelled(tmp_path / "a.tsv", TableSettings(text=2, label=1, threshold=0))
    assert read == [LabelledText("great", "positive"), LabelledText("bad", "negative")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text\tlabel\na\t\n", "line 2: the label is empty"),
        ("text\tlabel\na\n", "line 2: 1 columns"),
        ("txet\tlabel\na\tb\n", "no column 'text'. Did you mean 'txet'"),
        ("text\tlabel\n", "no labelled text"),
        ("text\tlabel\na\tnan\n", "line 2: the label 'nan' is no number"),
    ],
)
def test_a_wrong_table_names_the_place(tmp_path, content, message):
    (tmp_path / "a.tsv").write_text(content)
    with pytest.raises(UserError, match=message):
        read_labelled(tmp_path / "a.tsv", TableSettings(threshold=0 if "nan" in content else None))


@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.jsonl"])
def test_line_separators_of_unicode_do_not_end_a_line(tmp_path, name):
    rows = {
        "a.tsv": "text\tlabel\n한 줄\u2028둘째 줄\u0085끝\t1\n",
        "a.csv": 'text,label\n"한 줄\u2028둘째 줄\u0085끝",1\n',
        "a.jsonl": '{"text": "한 줄\u2028둘째 줄\u0085끝", "label": 1}\n',
    }
    (tmp_path / name).write_text(rows[name])
    (read,) = read_labelled(tmp_path / name, TableSettings())
    assert read == LabelledText(read.text, "1")
    assert read.text.startswith("한 줄\u2028둘째 줄")


def test_null_is_an_empty_text_and_no_class(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": null, "label": "나쁨"}\n{"text": "최고다", "label": "좋음"}\n')
    assert read_labelled(path, TableSettings()) == [LabelledText("최고다", "좋음")]
    path.write_text('{"text": "별로", "label": null}\n')
    with pytest.raises(UserError, match="line 1: the label is empty"):
        read_labelled(path, TableSettings())


def test_half_of_a_surrogate_pair_is_replaced_and_can_be_split(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "말\\ud83d", "label": "좋\\udc00"}\n')
    texts = read_labelled(tmp_path / "a.jsonl", TableSettings())
    assert split_labelled(texts, SplitSettings(validation=0, test=0)).train == [LabelledText("말\ufffd", "좋\ufffd")]


@pytest.mark.parametrize("compression", ["", ".gz", ".GZ", ".bz2", ".zst"])
@pytest.mark.parametrize(("kind", "content"), [
    (".CSV", 'text,label\n"최고다, 정말",좋음\n'),
    (".tsv", "text\tlabel\n최고다, 정말\t좋음\n"),
    (".jsonl", '{"text": "최고다, 정말", "label": "좋음"}\n'),
    (".ndjson", '{"text": "최고다, 정말", "label": "좋음"}\n'),
])  # fmt: skip
def test_the_name_of_a_table_is_read_without_its_compression_and_its_case(tmp_path, kind, content, compression):
    packed = {".gz": gzip.compress, ".bz2": bz2.compress, ".zst": partial(pa.Codec("zstd").compress, asbytes=True)}
    path = tmp_path / f"a{kind}{compression}"
    path.write_bytes(packed.get(compression.lower(), bytes)(content.encode()))
    assert read_labelled(path, TableSettings()) == [LabelledText("최고다, 정말", "좋음")]


@pytest.mark.parametrize("compression", ["gz", "bz2", "zst"])
def test_what_cannot_be_unpacked_is_named(tmp_path, compression):
    path = tmp_path / f"a.csv.{compression}"
    path.write_bytes(b"text,label\n")
    with pytest.raises(UserError, match=f"a.csv.{compression} cannot be unpacked"):
        read_labelled(path, TableSettings())


def test_a_quoted_field_keeps_its_line_end(tmp_path):
    (tmp_path / "a.csv").write_text('text,label\n"첫 줄\n둘째 줄",좋음\n')
    assert read_labelled(tmp_path / "a.csv", TableSettings()) == [LabelledText("첫 줄\n둘째 줄", "좋음")]


def test_a_hashed_split_does_not_depend_on_the_order_and_keeps_equal_texts_together():
    doubled = REVIEWS + REVIEWS[::-1]
    parts = split_labelled(doubled, SplitSettings())
    assert parts.train == split_labelled(doubled[::-1], SplitSettings()).train
    assert not {text.text for text in parts.train} & {text.text for text in parts.test}
    assert len(parts.train) + len(parts.validation) + len(parts.test) == 600
    assert 70 < len(parts.test) < 170


def test_balancing_draws_as_many_of_each_class():
    parts = split_labelled(REVIEWS, SplitSettings(balance=True, split="shuffled"))
    labels = [text.label for part in (parts.train, parts.validation, parts.test) for text in part]
    assert labels.count("좋음") == labels.count("나쁨") == 100


def test_texts_that_are_tested_are_not_learned_from():
    splits = Splits(REVIEWS[:20], REVIEWS[20:30], [LabelledText(REVIEWS[3].text.upper(), "x"), REVIEWS[25]])
    kept = splits.without_tested()
    assert (len(kept.train), len(kept.validation), len(kept.test)) == (19, 9, 2)


def test_shares_that_leave_nothing_to_learn_from_are_refused():
    with pytest.raises(ValueError, match="leave nothing to learn from"):
        SplitSettings(validation=0.5, test=0.5)


def test_a_label_seen_only_in_the_test_set_is_named():
    with pytest.raises(UserError, match="'좋은' occurs in the test texts only"):
        class_names(Splits(REVIEWS[:9], [], [LabelledText("x", "좋은")]))


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (REVIEWS[:3], "Of 3 labelled texts none is left to test on. Add texts, or raise test, the share of them"),
        (REVIEWS[1:3], "All texts to learn from have the label '좋음'; a classifier tells at least two apart"),
    ],
)
def test_too_few_texts_or_classes_are_said(texts, message):
    with pytest.raises(UserError, match=message):
        class_names(Splits(texts, [], []))


@pytest.mark.shared
def test_the_split_of_the_book_has_its_sizes(mirror):
    settings = TableSettings(label=0, text=1, quotes=True)
    messages = read_labelled(mirror / "sms_spam/SMSSpamCollection", settings)
    assert [message.label for message in messages].count("Spam") == 747
    split = SplitSettings(balance=True, split="shuffled", split_seed=123, validation=0.1, test=0.2)
    parts = split_labelled(messages, split)
    assert (len(parts.train), len(parts.validation), len(parts.test)) == (1045, 149, 300)


@pytest.mark.parametrize("name", ["a.tsv", "a.jsonl"])
def test_a_pair_of_texts_stands_in_two_columns(tmp_path, name):
    rows = {
        "a.tsv": "id\tone\tother\tlabel\n1\t비가 온다\t날이 맑다\t모순\n",
        "a.jsonl": '{"one": "비가 온다", "other": "날이 맑다", "label": "모순"}\n',
    }
    (tmp_path / name).write_text(rows[name])
    read = read_labelled(tmp_path / name, TableSettings(text="one", pair="other"))
    assert read == [LabelledText("비가 온다", "모순", "날이 맑다")]


def test_pairs_that_share_one_text_are_not_equal():
    pairs = [LabelledText("비가 온다", str(number % 2), f"날이 {number}") for number in range(9)]
    assert Splits(pairs, [], pairs[:1]).without_tested().train == pairs[1:]


def test_a_file_may_hold_the_texts_of_one_class_in_an_encoding_of_its_own(tmp_path):
    (tmp_path / "good.pos").write_bytes("a fabulous cliché …\n\nwarm\n".encode("windows-1252"))
    settings = TableSettings(classes={"good.pos": "positive"}, encoding="windows-1252")
    texts = read_labelled(tmp_path / "good.pos", settings)
    assert texts == [LabelledText("a fabulous cliché …", "positive"), LabelledText("warm", "positive")]


@pytest.mark.parametrize("encoding", ["utf-8", "windows-125"])
def test_an_encoding_that_does_not_fit_is_said(tmp_path, encoding):
    (tmp_path / "a.tsv").write_bytes("text\tlabel\n영화\t좋음\n".encode("cp949"))
    with pytest.raises(UserError, match=f"cannot be read as {encoding}"):
        read_labelled(tmp_path / "a.tsv", TableSettings(encoding=encoding))


def test_half_a_pair_is_named(tmp_path):
    (tmp_path / "a.tsv").write_text("text\tother\tlabel\n하나\t둘\t1\n하나\t\t0\n")
    with pytest.raises(UserError, match="line 3: the pair has no second text"):
        read_labelled(tmp_path / "a.tsv", TableSettings(pair="other"))
