"""Pairs of texts: what is left out is counted with its line, what cannot be paired is refused."""

import gzip
import json

import pytest

from malmoi.core.errors import UserError
from malmoi.data.pairs import PairSettings, read_pair_splits
from malmoi.pipeline.translation_pairs import TranslationPairsSettings, read_translation_pairs

TABLE = PairSettings(held_out=0.3)


@pytest.fixture
def write(tmp_path):
    """Writes files and gives them by name."""

    def write(**contents):
        paths = {}
        for name, content in contents.items():
            path = tmp_path / name.replace("__", ".")
            data = content if isinstance(content, bytes) else content.encode()
            path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
            paths[path.name] = path
        return {"": paths}

    return write


def rows(count, source="text {}", target="글 {}"):
    return "".join(f"{source.format(number)}\t{target.format(number)}\n" for number in range(count))


def sides(pairs):
    return {side for pair in pairs for side in pair.keys}


def test_a_packed_file_does_not_stand_for_one_that_is_not(write):
    splits = read_pair_splits(
        write(en__tsv=rows(40), en__tsv__gz=rows(50, source="another {}", target="다른 {}")), TABLE
    )
    assert sum(map(len, (splits.train, splits.validation, splits.test))) == 90


def test_a_share_is_held_out_and_no_side_of_it_is_learned_from(write):
    table = rows(400) + rows(100, source="another {}", target="글 {}") + rows(50, target="다른 글 {}")
    splits = read_pair_splits(write(en__tsv=table), TABLE)
    assert sides(splits.test).isdisjoint(sides(splits.validation) | sides(splits.train))
    assert sides(splits.validation).isdisjoint(sides(splits.train))
    assert 30 < len(splits.test) < 110
    assert splits.left_out.counts["held out too"] > 10
    again = read_pair_splits(write(en__tsv=table), TABLE)
    assert again == splits


def test_files_that_are_held_out_by_name_and_lines_of_two_files(write):
    files = write(
        train__en__gz="a fox\nTHE BEAR\nthe wood\nnew\n",
        train__ko__gz="여우\n곰\n숲\n여우 집\n",
        val__en="a house\n",
        val__ko="여우 집\n",
        test__en="the bear\n",
        test__ko="어떤 곰\n",
    )
    settings = PairSettings(languages=("en", "ko"), validation="val", test="test")
    splits = read_pair_splits(files, settings)
    assert [pair.source for pair in splits.train] == ["a fox", "the wood"]
    assert [(pair.source, pair.target, pair.file) for pair in splits.test] == [("the bear", "어떤 곰", "test")]
    assert splits.left_out.counts == {"held out too": 2}
    assert splits.left_out.places["held out too"][0].endswith("train.en.gz, line 2")


def test_what_is_left_out_is_counted_with_its_lines(write):
    table = rows(60) + "empty\t\n\t빈 글\nbroken\t글\ufffd\ntext 1\t글 1\n"
    splits = read_pair_splits(write(en__tsv=table), TABLE)
    counts, places = splits.left_out.counts, splits.left_out.places
    assert (counts["empty side"], counts["undecodable"]) == (2, 1)
    assert [place.rpartition(" ")[2] for place in places["empty side"] + places["undecodable"]] == ["61", "62", "63"]
    assert counts["repeated"] == 1


def test_texts_come_in_nfc_on_one_line_from_named_columns(write):
    content = "id,english,korean\n" + "".join(f'{n},"one\n  {n}",한글\u200b {n}\n' for n in range(40))
    settings = PairSettings(source_column="english", target_column="korean", held_out=0.3)
    splits = read_pair_splits(write(pairs__csv=content), settings)
    pair = splits.train[0]
    assert pair.source.startswith("one ")
    assert pair.target.startswith("한글 ")


def test_what_is_not_utf_8_is_read_as_what_it_is(write):
    splits = read_pair_splits(write(en__tsv=rows(80, target="말모이는 낱말을 모은다 {}").encode("cp949")), TABLE)
    assert splits.train[0].target.startswith("말모이는 낱말을")


@pytest.mark.parametrize(
    ("files", "changes", "words"),
    [
        ({"a__en": "x\ny\n", "a__de": "x\n"}, {}, "has 2 lines, .*a.de has 1. Every line needs"),
        ({"a__en": "x\n"}, {}, "no file beside .*a.en that ends in .de"),
        ({"a__de": "x\n"}, {}, "is no file of pairs"),
        ({"a__txt": "x\n"}, {}, "is no file of pairs. Give a .tsv"),
        ({"a__tsv": "x\ty\nz\n"}, {}, "line 2: 1 columns, one too few"),
        (
            {"a__tsv": "english\tkorean\nx\t가\n"},
            {"source_column": "englsh", "target_column": 1},
            "Did you mean 'english'",
        ),
        ({"a__tsv": rows(9)}, {"test": "b"}, "no pairs 'b' to hold out. There are: a"),
        ({"a__tsv": "x\t가\n"}, {"held_out": 0}, "none is left to test on"),
        ({"a__tsv": "\t가\n"}, {}, "none is left to learn from"),
        ({"a__tsv": bytes(range(256)) * 9}, {}, "is not text"),
        ({"a__en__gz": "x\n", "a__de": "y\n"}, {"test": "c"}, "There are: a"),
    ],
    ids=str,
)
def test_mistakes_are_one_sentence(write, files, changes, words):
    with pytest.raises(UserError, match=words):
        read_pair_splits(write(**files), PairSettings(**changes))


def test_a_broken_archive_is_told(tmp_path):
    (tmp_path / "a.en.gz").write_bytes(gzip.compress(b"text\n" * 99)[:20])
    (tmp_path / "a.de").write_text("x\n")
    files = {"": {path.name: path for path in tmp_path.iterdir()}}
    with pytest.raises(UserError, match="cannot be unpacked"):
        read_pair_splits(files, PairSettings())


def test_pairs_are_learned_by_sentences_where_both_sides_have_as_many(write):
    long = "예를 들면 이렇다. 둘째 문장이다.\tSee e.g. this. A second one!\n셋. 넷째다.\tNot as many\n"
    splits = read_pair_splits(write(ko__tsv=rows(400) + long), TABLE.model_copy(update={"sentences": True}))
    pairs = {pair.source: pair.target for pair in (*splits.train, *splits.validation, *splits.test)}
    assert pairs["둘째 문장이다."] == "A second one!"
    assert pairs["셋. 넷째다."] == "Not as many"


def test_files_of_one_name_are_all_read(tmp_path):
    paths = [tmp_path / name for name in ("a/pairs.tsv", "b/pairs.tsv", "b/pairs.jsonl")]
    for path, between in zip(paths, ("이", "그", "저"), strict=True):
        path.parent.mkdir(exist_ok=True)
        sides = [(f"{between} text {number}", f"{between} 글 {number}") for number in range(30)]
        lines = [json.dumps(dict(enumerate(pair))) if path.suffix == ".jsonl" else "\t".join(pair) for pair in sides]
        path.write_text("\n".join(lines))
    splits = read_translation_pairs(TranslationPairsSettings(files=paths, held_out=0.3))
    assert sum(map(len, (splits.train, splits.validation, splits.test))) == 90
