"""The tokenizer inside a GGUF is the one it was made of, and gives the ids of `transformers`."""

import json

import gguf
import pytest
from sentencepiece.sentencepiece_model_pb2 import ModelProto
from tokenizers import Regex, models, pre_tokenizers
from tokenizers import Tokenizer as Backend
from transformers import AutoTokenizer

from malmoi.core.errors import UserError
from malmoi.formats.gguf_file import GGUFFile
from malmoi.tokenizers.gguf import tokenizer_from_gguf
from malmoi.tokenizers.load import load_tokenizer
from malmoi.tokenizers.patterns import PATTERNS


def write(path, kind, tokens, types, **values):
    """A file by the reference library with a tokenizer and the shape of a model that has no weights."""
    architecture = "t5" if kind == "t5" else "llama"
    writer = gguf.GGUFWriter(path, architecture)
    for key in ("block_count", "context_length", "embedding_length", "feed_forward_length", "attention.head_count"):
        writer.add_uint32(f"{architecture}.{key}", 2)
    writer.add_float32(f"{architecture}.attention.layer_norm_rms_epsilon", 1e-5)
    writer.add_tokenizer_model(kind)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    for name, value in values.items():
        getattr(writer, f"add_{name}")(value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def read(path):
    return tokenizer_from_gguf(GGUFFile(path).metadata, str(path))


def pieces_of(path):
    model = ModelProto.FromString(path.read_bytes())
    return (
        [piece.piece for piece in model.pieces],
        [piece.score for piece in model.pieces],
        [piece.type for piece in model.pieces],
    )


@pytest.fixture(scope="module")
def files(published, tmp_path_factory):
    """A file of each kind."""
    directory = tmp_path_factory.mktemp("gguf")
    ours = load_tokenizer(published("qwen2"))
    tokens = [ours.backend.id_to_token(id) for id in range(ours.size)]
    types = [3 if token in ours.special else 4 if token == "<think>" else 1 for token in tokens]
    merges = [f"{left} {right}" for left, right in merges_of(ours)]
    write(directory / "gpt2", "gpt2", tokens, types, tokenizer_pre="gpt-2", token_merges=merges, eos_token_id=ours.end)
    tokens, scores, types = pieces_of(published("llama") / "tokenizer.model")
    special = {"bos_token_id": 1, "eos_token_id": 2, "unk_token_id": 0}
    write(directory / "llama", "llama", tokens, types, token_scores=scores, **special)
    tokens, scores, types = pieces_of(published("t5_plain") / "spiece.model")
    tokens += [f"[PAD{len(tokens) + number}]" for number in range(128)]
    special = {"eos_token_id": 1, "unk_token_id": 2, "pad_token_id": 0}
    write(directory / "t5", "t5", tokens, [*types, *[5] * 128], token_scores=[*scores, *[-1000.0] * 128], **special)
    for name in ("uncased", "cased"):
        tokens = (published(name) / "vocab.txt").read_text().split("\n")[:-1]
        spelled = [bert_spelling(token) for token in tokens]
        types = [3 if place < 5 else 1 for place in range(len(tokens))]
        special = {"bos_token_id": 2, "sep_token_id": 3, "unk_token_id": 1, "pad_token_id": 0, "mask_token_id": 4}
        write(directory / name, "bert", spelled, types, **special)
    return directory


def merges_of(tokenizer):
    return json.loads(tokenizer.backend.to_str())["model"]["merges"]


def bert_spelling(token):
    """As llama.cpp writes a token of WordPiece."""
    if token.startswith("[") and token.endswith("]"):
        return token
    return token[2:] if token.startswith("##") else f"\u2581{token}"


@pytest.mark.parametrize("kind", ["gpt2", "llama", "t5"])
def test_ids_are_those_of_transformers(files, kind, all_texts, tmp_path):
    ours = read(files / kind)
    theirs = AutoTokenizer.from_pretrained(files, gguf_file=kind, split_special_tokens=True)
    texts = [text for text in all_texts if not any(special in text for special in ours.special)]
    rows = theirs.backend_tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    assert ours.encode_batch(texts) == [row.ids for row in rows]
    wrapped = theirs(texts[:100], texts[100:200], return_token_type_ids=True)
    expected = list(zip(wrapped["input_ids"], wrapped["token_type_ids"], strict=True))
    assert ours.encode_wrapped_batch(zip(texts[:100], texts[100:200], strict=True)) == expected
    assert theirs.eos_token_id == ours.end


@pytest.mark.parametrize(("kind", "of"), [("uncased", "uncased"), ("llama", "llama"), ("gpt2", "qwen2")])
def test_it_is_the_tokenizer_it_was_made_of(files, published, kind, of, all_texts):
    again, ours = read(files / kind), load_tokenizer(published(of))
    assert again.backend.get_vocab() == ours.backend.get_vocab()
    assert (again.special, again.end, again.mask) == (ours.special, ours.end, ours.mask)
    if kind != "gpt2":  # whose text is cut in another way there
        assert again.encode_wrapped_batch(all_texts[:2_000]) == ours.encode_wrapped_batch(all_texts[:2_000])


def test_bert_keeps_capitals_where_its_words_have_some(files):
    cased, uncased = read(files / "cased"), read(files / "uncased")
    assert cased.encode("The") != cased.encode("the")
    assert uncased.encode("The") == uncased.encode("the")


@pytest.mark.parametrize("pre", ["gpt-2", "smollm"])
def test_gpt2_pieces_are_those_of_the_library(published, pre, all_texts):
    tokenizer = load_tokenizer(published("gpt2"))
    vocabulary, merges = tokenizer.backend.get_vocab(), merges_of(tokenizer)
    tokens = sorted(vocabulary, key=vocabulary.get)
    ours = tokenizer_from_gguf(metadata(tokens, [" ".join(merge) for merge in merges], pre), "x")
    theirs = Backend(models.BPE(vocabulary, [tuple(merge) for merge in merges]))
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    texts = all_texts[:2_000]
    assert ours.encode_batch(texts) == [row.ids for row in theirs.encode_batch_fast(texts)]


def metadata(tokens, merges, pre, **changes):
    """The keys of a byte-level vocabulary whose last token is special."""
    keys = {
        "model": "gpt2",
        "tokens": tokens,
        "merges": merges,
        "token_type": [1] * (len(tokens) - 1) + [3],
        "pre": pre,
    }
    keys = keys | {"eos_token_id": len(tokens) - 1} | changes
    return {f"tokenizer.ggml.{key}": value for key, value in keys.items()}


def test_llama_takes_a_whole_word_whatever_the_merges_say():
    tokens = ["a", "b", "c", "abc", "<end>"]
    assert tokenizer_from_gguf(metadata(tokens, [], "llama-bpe"), "x").encode("abc") == [3]
    assert tokenizer_from_gguf(metadata(tokens, [], "gpt-2"), "x").encode("abc") == [0, 1, 2]


def test_llama_keeps_three_digits_together():
    split = pre_tokenizers.Split(Regex(PATTERNS["llama-bpe"]), "isolated")
    assert [piece for piece, _ in split.pre_tokenize_str("12345 개")] == ["123", "45", " 개"]


def test_words_a_user_defined_are_one_token_and_not_special():
    values = metadata(["a", "<생각>", "<end>"], [], "gpt-2", token_type=[1, 4, 3], bos_token_id=2)
    tokenizer = tokenizer_from_gguf(values, "x")
    assert tokenizer.encode("a<생각>a") == [0, 1, 0]
    assert tokenizer.decode([0, 1, 2]) == "a<생각>"
    assert tokenizer.begin == "<end>"


def test_a_begin_token_is_put_where_the_file_asks_for_it():
    values = metadata(["a", "<end>"], [], "gpt-2", bos_token_id=1)
    assert tokenizer_from_gguf(values, "x").encode_wrapped("a") == ([0], [0])
    values["tokenizer.ggml.add_bos_token"] = True
    assert tokenizer_from_gguf(values, "x").encode_wrapped("a") == ([1, 0], [0, 0])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model": "rwkv"}, "tokenizer of kind 'rwkv'; malmoi reads 'gpt2', 'llama', 't5', 'bert'"),
        ({"model": ["gpt2"]}, "tokenizer of kind"),
        ({"pre": "qwen22"}, "'qwen22' is not known. Did you mean 'qwen2'"),
        ({"pre": "xyzzy"}, "'xyzzy' is not known. Known:"),
        ({"eos_token_id": 9}, "tokenizer is broken"),
        ({"eos_token_id": "2"}, "tokenizer is broken"),
        ({"token_type": [1]}, "tokenizer is broken"),
        ({"tokens": "ab"}, "no list 'tokenizer.ggml.tokens'"),
        ({"merges": ["ab"]}, "'ab' is not a merge"),
        ({"merges": ["a z"]}, "do not fit together"),
        ({"model": "llama"}, "no unknown piece"),
        ({"model": "llama", "tokens": ["a", "a"]}, "there twice"),
        ({"model": "t5", "scores": [0.0, float("nan")]}, "has no score"),
        ({"model": "bert", "unknown_token_id": 0}, "which is to stand around a text"),
        ({"model": "t5", "precompiled_charsmap": [1, 2, 3]}, "damaged table"),
    ],
    ids=str,
)
def test_a_gguf_that_does_not_fit_together_is_named(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        tokenizer_from_gguf(
            metadata(["a", "<end>"], [], "qwen2") | {f"tokenizer.ggml.{key}": value for key, value in changes.items()},
            "x",
        )
