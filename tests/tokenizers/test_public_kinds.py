"""Every published kind of tokenizer gives the ids of `transformers`, from its files and from what is saved of it."""

import json
import random
import unicodedata
from dataclasses import fields

import pytest
from transformers import AutoTokenizer

from malmoi.tokenizers.load import load_tokenizer
from malmoi.tokenizers.roles import NAMES, Roles
from malmoi.tokenizers.stream import TextStream

BYTE_LEVEL = ["gpt2", "roberta", "ranks", "qwen2", "flagged_json"]
SENTENCEPIECE = ["llama", "llama_legacy", "llama_json", "t5", "xlm_roberta", "unigram_json"]
WORDPIECE = ["uncased", "cased", "wordpiece_json"]


@pytest.fixture(scope="module", params=[*BYTE_LEVEL, *SENTENCEPIECE, *WORDPIECE])
def kind(request, published, tmp_path_factory):
    """A tokenizer of ours, and those of transformers on the same files and on the ones saved by ours."""
    directory, saved = published(request.param), tmp_path_factory.mktemp("saved")
    ours = load_tokenizer(directory)
    ours.save(saved)
    return ours, [AutoTokenizer.from_pretrained(path, split_special_tokens=True) for path in (directory, saved)]


@pytest.fixture(scope="module")
def texts(kind, all_texts):
    """Texts without special tokens, of which transformers' Unigram takes some for themselves where none are wanted."""
    ours, _ = kind
    return [text for text in all_texts if not any(special in text for special in ours.special)]


def test_ids_are_those_of_transformers(kind, texts):
    ours, references = kind
    assert len(texts) > 9_000
    ids = ours.encode_batch(texts)
    for theirs, step in zip(references, (1, 5), strict=True):
        rows = theirs.backend_tokenizer.encode_batch_fast(texts[::step], add_special_tokens=False)
        assert ids[::step] == [row.ids for row in rows]


def test_what_stands_around_a_text_or_a_pair_is_theirs(kind, texts):
    ours, references = kind
    first, second = texts[:200], texts[200:400]
    for theirs in references:
        wrapped = theirs(first, return_token_type_ids=True)
        assert ours.encode_wrapped_batch(first) == pairs_of(wrapped)
        wrapped = theirs(first, second, return_token_type_ids=True)
        assert ours.encode_wrapped_batch(zip(first, second, strict=True)) == pairs_of(wrapped)


def pairs_of(wrapped):
    return list(zip(wrapped["input_ids"], wrapped["token_type_ids"], strict=True))


def test_special_tokens_in_a_template_are_theirs(kind, texts):
    ours, references = kind
    dice = random.Random(0)
    marked = ["".join(dice.choices([*ours.special, " ", "\n", *texts[:40]], k=6)) for _ in range(150)]
    for theirs in references:
        expected = [theirs.encode(text, add_special_tokens=False, split_special_tokens=False) for text in marked]
        assert [ours.encode_template(text) for text in marked] == expected


def test_the_text_of_ids_is_theirs(kind, texts):
    ours, references = kind
    for ids in ours.encode_batch(texts[:1000]):
        for theirs in references:
            assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True)


def test_a_stream_is_the_text_behind_the_space_that_a_kind_puts_before_it(kind, texts):
    ours, _ = kind
    for ids in ours.encode_batch(texts[:300]):
        stream = TextStream(ours)
        shown = "".join([*map(stream.feed, ids), stream.finish()])
        assert ours.decode(ids) in (shown, shown.removeprefix(" "))


def test_roles_are_theirs(kind, tmp_path):
    ours, references = kind
    for role in fields(Roles):
        token = getattr(ours.roles, role.name)
        assert token == "" or token in ours.special
        assert (token or None) == getattr(references[0], NAMES[role.name]) or not token
    assert (ours.mask, references[1].eos_token_id) == (references[1].mask_token_id, ours.end)


def test_transformers_gives_a_model_segments_only_where_it_reads_them(kind):
    _, (theirs, saved) = kind
    inputs = set(saved("말", "글"))
    assert inputs == {"input_ids", "attention_mask"} | ({"token_type_ids"} if saved.sep_token == "[SEP]" else set())
    assert inputs == set(theirs("말", "글"))


def test_a_model_beside_it_does_not_change_what_transformers_reads(kind, texts, tmp_path):
    ours, _ = kind
    ours.save(tmp_path)
    for model_type in ("llama", "bert"):
        (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
        theirs = AutoTokenizer.from_pretrained(tmp_path, split_special_tokens=True)
        assert theirs(texts[:100])["input_ids"] == [ids for ids, _ in ours.encode_wrapped_batch(texts[:100])]


@pytest.mark.parametrize("name", ["gpt2", "roberta", "ranks", "qwen2", "llama", "llama_legacy", "llama_json"])
def test_what_can_be_given_back_is(published, all_texts, name):
    """Byte-level BPE gives back every text, a composed one the composed text; byte fallback all but U+2581."""
    ours = load_tokenizer(published(name))
    texts = [text for text in all_texts if "<생각>" not in text]  # with `legacy` a space is put behind it
    for text, ids in zip(texts[::3], ours.encode_batch(texts[::3]), strict=True):
        if name == "qwen2":
            text = unicodedata.normalize("NFC", text)
        if name.startswith("llama"):
            text = text.replace("\u2581", " ")
        if name in ("llama", "llama_legacy"):
            text = text.removeprefix(" ")  # it is taken for the space that stands before every text
        assert ours.decode(ids) == text


def test_what_cannot_be_given_back(published):
    words, pieces = load_tokenizer(published("uncased")), load_tokenizer(published("t5"))
    assert words.decode(words.encode("The  Import   Statement.")) == "the import statement."
    assert pieces.decode(pieces.encode(" the   import\n① ")) == "the import 1"


def test_a_text_continues_behind_a_special_token_without_a_space(published):
    tokenizer = load_tokenizer(published("llama"))
    assert tokenizer.encode_template("</s>괜찮아") == [tokenizer.end, *tokenizer.encode("괜찮아")[1:]]
    assert load_tokenizer(published("llama_legacy")).encode_template("</s>값") == [
        tokenizer.end,
        *tokenizer.encode("값"),
    ]


def test_written_special_tokens_are_plain_text_in_every_kind(kind):
    ours, _ = kind
    special = set(ours.special.values()) - {ours.unknown}
    around = [id for id in ours.encode_wrapped("", "")[0] if id in special]
    for text in list(ours.special)[:8]:
        ids, places = ours.encode_with_places(f"여우가 {text}the")
        assert not special & set(ids)
        assert ids == ours.encode_batch([f"여우가 {text}the"])[0]
        assert len(ids) == len(places)
        ids, segments = ours.encode_wrapped(text, f"여우가{text}")
        assert [id for id in ids if id in special] == around
        assert len(ids) == len(segments)
