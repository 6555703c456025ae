"""Vocabularies in files that name little of themselves: GPT-2's, ranks, what lies in a directory."""

import json
import shutil

import pytest
import tiktoken
from tiktoken.load import load_tiktoken_bpe
from transformers import AutoTokenizer

from malmoi.core.errors import UserError
from malmoi.tokenizers.load import load_tokenizer
from malmoi.tokenizers.patterns import PATTERNS
from malmoi.tokenizers.public import gpt2_tokenizer
from malmoi.tokenizers.tokenizer import Tokenizer

BOOK = "Hello, do you like tea? <|endoftext|> In the sunlit terracesof someunknownPlace."
BOOK_IDS = [15496, 11, 466, 345, 588, 8887, 30, 220, 50256, 554, 262, 4252, 18250, 8812, 2114, 1659, 617, 34680, 27271]


@pytest.fixture(scope="module")
def ranks(published, tmp_path_factory):
    """A directory with nothing but a file of ranks."""
    directory = tmp_path_factory.mktemp("ranks")
    shutil.copy(published("ranks") / "tokenizer.model", directory / "own.tiktoken")
    return directory


@pytest.mark.parametrize("pre", ["", "gpt-2", "llama3", "gpt-4o"])
def test_ranks_give_the_ids_of_tiktoken(ranks, all_texts, pre):
    ours = load_tokenizer(ranks, pre)
    table = load_tiktoken_bpe(str(ranks / "own.tiktoken"))
    theirs = tiktoken.Encoding("own", pat_str=PATTERNS[pre or "gpt-2"], mergeable_ranks=table, special_tokens={})
    texts = all_texts if pre == "" else all_texts[:2_000]
    assert ours.encode_batch(texts) == theirs.encode_ordinary_batch(texts, num_threads=1)
    assert ours.end == len(table)


def test_ranks_in_a_tokenizer_model_are_llama_3s(published, tmp_path, all_texts):
    shutil.copy(published("ranks") / "tokenizer.model", tmp_path)
    ours = load_tokenizer(tmp_path)
    texts = all_texts[:1_000]
    assert ours.encode_batch(texts) == load_tokenizer(published("ranks")).encode_batch(texts)
    assert (ours.special["<|begin_of_text|>"], ours.size) == (700, 700 + 256)
    assert [ours.special_text(id) for id in sorted(ours.stops)] == ["<|end_of_text|>", "<|eot_id|>"]


def test_an_unknown_way_to_cut_names_the_nearest(ranks):
    with pytest.raises(UserError, match="'llama33' is not known. Did you mean 'llama3'"):
        load_tokenizer(ranks, "llama33")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"YQ== 0\n\xed\x95\x9c\xea\xb8\x80\n", "line 2: not 'base64 rank'"),
        (b"YQ== 0\nYg== 0\n", "two tokens one rank"),
        (b"YQ== 99999999999\n", "absurd"),
        (b"YQ== -1\n", "absurd"),
        (b"YQ== 0\n", "no token for the byte 0"),
    ],
)
def test_broken_ranks_are_named(content, sentence, tmp_path):
    (tmp_path / "x.tiktoken").write_bytes(content)
    with pytest.raises(UserError, match=sentence):
        gpt2_tokenizer([tmp_path / "x.tiktoken"])


def test_gpt2_by_its_first_names(published, tmp_path, all_texts):
    shutil.copy(published("gpt2") / "vocab.json", tmp_path / "encoder.json")
    shutil.copy(published("gpt2") / "merges.txt", tmp_path / "vocab.bpe")
    expected = load_tokenizer(published("gpt2"))
    for ours in (load_tokenizer(tmp_path), gpt2_tokenizer(sorted(tmp_path.iterdir()))):
        assert ours.encode_batch(all_texts[:500]) == expected.encode_batch(all_texts[:500])
        assert (ours.end, ours.roles) == (expected.end, expected.roles)


def test_a_space_before_a_text_where_the_settings_ask_for_one(published, tmp_path, all_texts):
    directory = shutil.copytree(published("roberta"), tmp_path / "roberta")
    (directory / "tokenizer_config.json").write_text(
        '{"add_prefix_space": true, "tokenizer_class": "RobertaTokenizerFast"}'
    )
    theirs = AutoTokenizer.from_pretrained(directory, split_special_tokens=True)
    assert (
        load_tokenizer(directory).encode_batch(all_texts[:500])
        == theirs(all_texts[:500], add_special_tokens=False)["input_ids"]
    )


def test_files_of_another_kind_are_named(tmp_path):
    with pytest.raises(UserError, match=r"No vocabulary in \['x.txt'\]"):
        gpt2_tokenizer([tmp_path / "x.txt"])
    (tmp_path / "encoder.json").write_text("{}")
    (tmp_path / "vocab.bpe").write_bytes("말".encode("cp949"))
    with pytest.raises(UserError, match=r"vocab\.bpe is not UTF-8"):
        gpt2_tokenizer([tmp_path / "encoder.json", tmp_path / "vocab.bpe"])
    with pytest.raises(UserError, match="There is no tokenizer in"):
        load_tokenizer(tmp_path / "nowhere")


BERT_LINES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "말", "##모이"]
GPT2_FILES = {"vocab.json": {"a": 0, "b": 1, "ab": 2, "<|endoftext|>": 3}, "merges.txt": "#version: 0.2\na b\n"}


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"vocab.txt": [*BERT_LINES, "말"]}, "line 8: '말' stands in line 6 already"),
        ({"vocab.txt": BERT_LINES[2:]}, r"no unknown token '\[UNK\]'"),
        ({"vocab.txt": BERT_LINES[:3]}, r"has no '\[SEP\]', which is to stand around a text"),
        ({"vocab.txt": BERT_LINES, "tokenizer_config.json": {"unk_token": "<unk>"}}, "no unknown token '<unk>'"),
        (
            {"vocab.txt": BERT_LINES, "tokenizer_config.json": {"tokenizer_class": "BertJapaneseTokenizer"}},
            "not known here",
        ),
        ({"vocab.txt": BERT_LINES, "tokenizer_config.json": []}, "holds no settings"),
        (GPT2_FILES | {"vocab.json": {"a": 0, "b": 0}}, "two tokens the same id"),
        (GPT2_FILES | {"vocab.json": {"a": 2**40}}, "no vocabulary is that large"),
        (GPT2_FILES | {"vocab.json": {"a": -1}}, "no vocabulary is that large"),
        (GPT2_FILES | {"vocab.json": {"a": "0"}}, "does not give every token an id"),
        (GPT2_FILES | {"vocab.json": ["a"]}, "does not give every token an id"),
        (GPT2_FILES | {"merges.txt": "a z\n"}, "do not fit together"),
        (GPT2_FILES | {"merges.txt": "ab\n"}, "'ab' is not a merge"),
        (GPT2_FILES | {"merges.txt": "a b c\n"}, "'a b c' is not a merge"),
        (GPT2_FILES | {"tokenizer_config.json": {"tokenizer_class": "CLIPTokenizer"}}, "'CLIPTokenizer' uses this"),
        (GPT2_FILES | {"added_tokens.json": {"<x>": 9}}, "no room for '<x>' at the id 9"),
        (GPT2_FILES | {"tokenizer_config.json": {"added_tokens_decoder": {"4": "x"}}}, "holds no tokens"),
        (GPT2_FILES | {"tokenizer_config.json": {"eos_token": "<end>"}}, "no special token '<end>'"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_does_not_fit_is_named(files, sentence, tmp_path):
    for name, content in files.items():
        content = "\n".join(content) if name == "vocab.txt" else content
        (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(UserError, match=sentence):
        load_tokenizer(tmp_path)


def test_tokens_that_were_added_later(tmp_path):
    files = GPT2_FILES | {
        "added_tokens.json": {"<본문>": 5, "<제목>": 4},
        "special_tokens_map.json": {"pad_token": "<제목>"},
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
    ours = load_tokenizer(tmp_path)
    assert (ours.special, ours.padding) == ({"<|endoftext|>": 3, "<제목>": 4}, 4)
    assert ours.encode("ab<본문>") == [2, 5]


@pytest.fixture(scope="module")
def gpt2(mirror) -> Tokenizer:
    return gpt2_tokenizer([mirror / "rasbt/gpt2_encoder.json", mirror / "rasbt/gpt2_vocab.bpe"])


@pytest.mark.shared
def test_gpt2_gives_the_ids_of_the_book(gpt2):
    assert gpt2.encode_template(BOOK) == [*BOOK_IDS, 13]
    assert gpt2.end not in gpt2.encode(BOOK)
    assert gpt2.decode(gpt2.encode(BOOK)) == BOOK


@pytest.mark.shared
def test_the_verdict_has_5145_tokens(gpt2, mirror):
    assert len(gpt2.encode((mirror / "rasbt/the-verdict.txt").read_text())) == 5145


@pytest.mark.shared
def test_gpt2_recovered_from_ranks_is_gpt2(gpt2, all_texts, tmp_path):
    import base64

    spelled = [base64.b64encode(gpt2.token_bytes(id)).decode() for id in range(gpt2.end)]
    (tmp_path / "gpt2.tiktoken").write_text("".join(f"{token} {id}\n" for id, token in enumerate(spelled)))
    again = gpt2_tokenizer([tmp_path / "gpt2.tiktoken"])
    assert again.backend.get_vocab() == gpt2.backend.get_vocab()
    assert again.encode_batch(all_texts) == gpt2.encode_batch(all_texts)
