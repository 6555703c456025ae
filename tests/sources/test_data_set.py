"""A data set of the hub is fetched, its tables alone, and read as documents."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from malmoi.core.errors import UserError
from malmoi.corpus.store import read_documents
from malmoi.pipeline.stages import corpus, fetch
from malmoi.sources.data_set import fetch_data_set


def parquet(*texts):
    stream = io.BytesIO()
    pq.write_table(pa.table({"text": list(texts)}), stream)
    return stream.getvalue()


FILES = {
    "README.md": "---\nlicense: cc-by-4.0\n---\n# 말뭉치".encode(),
    "data/train-00000.parquet": parquet("말모이는 최초의 한국어 사전 원고이다.", "주시경과 제자들이 낱말을 모았다."),
    "data/test-00000.parquet": parquet("시험에 쓰는 글이다."),
    "script.py": b"import os",
    "raw.jsonl": b"{}",
}


def names(data_set):
    return [path.name for path in data_set.files]


def test_tables_are_fetched_and_no_code(hub):
    hub.add("datasets/org/corpus", FILES)
    found = fetch_data_set("hf:datasets/org/corpus")
    assert (found.name, found.licence, names(found)) == (
        "corpus", "cc-by-4.0", ["test-00000.parquet", "train-00000.parquet"]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "expected"),
    [("/data/train-00000.parquet", ["train-00000.parquet"]), ("/raw.jsonl", ["raw.jsonl"]), ("@main/data", 2)],
)
def test_a_file_or_a_folder_can_be_named(hub, words, expected):
    hub.add("datasets/org/corpus", FILES)
    found = names(fetch_data_set(f"hf:datasets/org/corpus{words}"))
    assert (found if isinstance(expected, list) else len(found)) == expected


def test_the_stages_make_documents_of_it(hub, tmp_path):
    hub.add("datasets/org/corpus", FILES)
    settings = fetch.FetchSettings(sources=["hf:datasets/org/corpus/data/train-00000.parquet"])
    (tmp_path / "fetch").mkdir()
    assert fetch.run(settings, tmp_path / "fetch")["files"] == 1
    corpus.run(corpus.CorpusSettings(fetch=tmp_path / "fetch", held_out=0), tmp_path / "corpus")
    documents = list(read_documents(tmp_path / "corpus", "train"))
    assert [(document.source, document.licence) for document in documents] == [("corpus", "cc-by-4.0")] * 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("hf:org/model", "is no data set. Write hf:datasets/org/model"),
        ("hf:datasets/org/none", "is not on"),
        ("hf:datasets/org/corpus/none", "has no tables and no texts"),
    ],
)
def test_what_is_no_data_set_says_so(hub, words, message):
    hub.add("datasets/org/corpus", FILES)
    with pytest.raises(UserError, match=message):
        fetch_data_set(words)


def test_offline_what_was_fetched_before_is_found_again(hub, monkeypatch):
    hub.add("datasets/org/corpus", FILES)
    before = fetch_data_set("hf:datasets/org/corpus/data")
    hub.requests.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert fetch_data_set("hf:datasets/org/corpus/data") == before
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set, and hf:datasets/org/corpus/raw.jsonl is not whole"):
        fetch_data_set("hf:datasets/org/corpus/raw.jsonl")
    assert hub.requests == []
