"""A SentencePiece model reads text as its own library does, and its file is read with care."""

import re
import struct

import pytest
import sentencepiece
from sentencepiece.sentencepiece_model_pb2 import ModelProto

from malmoi.core.errors import UserError
from malmoi.tokenizers.charsmap import check_charsmap
from malmoi.tokenizers.load import load_tokenizer
from malmoi.tokenizers.sentencepiece_file import read_sentencepiece

LEFT_OUT = re.compile("[\0\u2581\u1100-\u11ff\ufe0f]|ㅎㅏ|<0x..>")
SHAPES = {
    "bpe": {"model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity", "vocab_size": 700},
    "bpe that keeps spaces": {
        "model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False, "vocab_size": 700,
    },
    "bpe without a space first": {
        "model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity",
        "add_dummy_prefix": False, "remove_extra_whitespaces": False, "vocab_size": 700,
    },
    "bpe with unknowns": {"model_type": "bpe", "normalization_rule_name": "nfkc", "vocab_size": 600},
    "unigram": {"model_type": "unigram", "vocab_size": 600},
    "unigram with bytes": {"model_type": "unigram", "byte_fallback": True, "vocab_size": 700},
    "unigram that folds case": {"model_type": "unigram", "normalization_rule_name": "nmt_nfkc_cf", "vocab_size": 500},
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_ids_are_those_of_the_library(shape, sentencepiece_model, all_texts, tmp_path):
    content = sentencepiece_model(**SHAPES[shape])
    (tmp_path / "tokenizer.model").write_bytes(content)
    ours = load_tokenizer(tmp_path)
    theirs = sentencepiece.SentencePieceProcessor(model_proto=content)
    # `tokenizers` applies a table sign by sign to what is longer than six bytes, so that jamo stay apart, and two
    # pieces mean bytes to it
    texts = [text for text in all_texts if not LEFT_OUT.search(text)]
    assert len(texts) > 6_500
    differing = [
        pair for pair in zip(ours.encode_batch(texts), theirs.encode(texts), strict=True) if pair[0] != pair[1]
    ]
    assert len(differing) < 4
    for ids, expected in differing:  # of two ways to cut a text that are as likely it takes the other one
        assert (SHAPES[shape]["model_type"], sorted(ids)) == ("unigram", sorted(expected))
    for text in texts[:500]:
        assert ours.decode(ours.encode(text)) == theirs.decode(theirs.encode(text)).replace(" \u2047 ", "")


def test_fields_are_read_as_the_library_reads_them(published):
    for path in [published("llama") / "tokenizer.model", published("t5") / "spiece.model"]:
        ours, theirs = read_sentencepiece(path), ModelProto.FromString(path.read_bytes())
        assert [tuple(piece) for piece in ours.pieces] == [(p.piece, p.score, p.type) for p in theirs.pieces]
        trainer, normalizer = theirs.trainer_spec, theirs.normalizer_spec
        assert ours.algorithm == trainer.model_type
        assert (ours.unknown, ours.begin) == (trainer.unk_id, trainer.bos_id)
        assert (ours.end, ours.padding) == (trainer.eos_id, trainer.pad_id)
        assert (ours.byte_fallback, ours.charsmap) == (trainer.byte_fallback, normalizer.precompiled_charsmap)
        assert (ours.space_first, ours.squeezed) == (normalizer.add_dummy_prefix, normalizer.remove_extra_whitespaces)


def changed(published, directory, change):
    """A model with something changed in it, opened."""
    model = ModelProto.FromString((published("llama") / "tokenizer.model").read_bytes())
    change(model)
    (directory / "tokenizer.model").write_bytes(model.SerializeToString())
    return load_tokenizer(directory)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda model: model.trainer_spec.__setattr__("model_type", 4), "words or characters"),
        (lambda model: model.trainer_spec.__setattr__("treat_whitespace_as_suffix", True), "marks spaces"),
        (lambda model: model.trainer_spec.__setattr__("unk_id", 7), "no unknown piece"),
        (lambda model: model.trainer_spec.__setattr__("unk_id", -1), "a special one of the number"),
        (lambda model: model.trainer_spec.__setattr__("eos_id", 2**31 - 1), "of the number 2,147,483,647"),
        (lambda model: model.normalizer_spec.__setattr__("precompiled_charsmap", b"xxxx"), "damaged table"),
        (lambda model: model.pieces[9].__setattr__("piece", ""), "a piece that is empty"),
        (lambda model: model.pieces[9].__setattr__("piece", model.pieces[8].piece), "there twice"),
        (lambda model: model.pieces[9].__setattr__("score", float("nan")), "has no score"),
        (lambda model: model.ClearField("pieces"), "0 pieces"),
    ],
)
def test_a_model_that_does_not_fit_together_is_named(published, change, sentence, tmp_path):
    with pytest.raises(UserError, match=rf"tokenizer\.model.*{sentence}"):
        changed(published, tmp_path, change)


def test_other_files_under_its_name_are_named(tmp_path):
    for content in (b"", b"{}", "한국어 텍스트".encode(), b"\x0a\xff\xff\xff\xff\x0f", b"\xff" * 20, bytes(100)):
        (tmp_path / "tokenizer.model").write_bytes(content)
        with pytest.raises(UserError, match=r"tokenizer\.model"):
            load_tokenizer(tmp_path)


def test_a_class_that_rearranges_its_pieces_is_named(published, tmp_path):
    content = (published("t5") / "spiece.model").read_bytes()
    (tmp_path / "spiece.model").write_bytes(content)
    for name in ("AlbertTokenizer", "CamembertTokenizerFast"):
        (tmp_path / "tokenizer_config.json").write_text(f'{{"tokenizer_class": "{name}"}}')
        with pytest.raises(UserError, match=f"how '{name.removesuffix('Fast')}' uses this vocabulary"):
            load_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "XLMRobertaTokenizer"}')
    with pytest.raises(UserError, match="does not begin as XLM-RoBERTa's"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "T5Tokenizer", "extra_ids": 1000000000}')
    with pytest.raises(UserError, match="1000000000 extra ids"):
        load_tokenizer(tmp_path)


@pytest.fixture(scope="module")
def table(published) -> bytes:
    return read_sentencepiece(published("t5") / "spiece.model").charsmap


def test_a_whole_table_is_taken(table):
    check_charsmap(table, "x")


@pytest.mark.parametrize(
    "damage",
    [
        lambda table: b"",
        lambda table: table[:3],
        lambda table: struct.pack("<I", 2**32 - 4) + table[4:],
        lambda table: struct.pack("<I", 0) + table[4:],
        lambda table: struct.pack("<I", 5) + table[4:],
        lambda table: struct.pack("<I", 512) + table[4:],
        lambda table: table[:-9],
        lambda table: table[:4] + struct.pack("<I", 0x7FFFF << 10) + table[8:],
        lambda table: table[:-1] + b"\xff",
    ],
)
def test_a_table_that_a_walk_could_leave_is_named(table, damage):
    with pytest.raises(UserError, match="damaged table of characters"):
        check_charsmap(damage(table), "x")
