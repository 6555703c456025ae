"""Marian's tokenizer gives the ids and the texts of `transformers`, whose files it keeps."""

import gzip
import itertools
import json
import random
import shutil

import pytest
from sentencepiece.sentencepiece_model_pb2 import ModelProto
from transformers import AutoTokenizer, MarianTokenizer

from malmoi.core.errors import UserError
from malmoi.tokenizers.load import load_tokenizer

CODED = [
    ">>deu<< the statement", ">>deu<<the", ">>kor<<", ">>xyz<< import", ">><<", ">>deu import", ">>deu<< >>kor<< the",
    " >>deu<< the", "the >>deu<< statement", ">>글<< the", ">>ｄeu<< the",
]  # fmt: skip


def theirs(directory):
    made = AutoTokenizer.from_pretrained(directory, split_special_tokens=True)
    assert type(made) is MarianTokenizer
    return made


@pytest.fixture(scope="module")
def ours(published):
    return load_tokenizer(published("marian"))


@pytest.fixture(scope="module")
def reference(published):
    return theirs(published("marian"))


def ids_of(reference, texts, **arguments):
    return [reference(text, add_special_tokens=False, **arguments).input_ids for text in texts]


def differing(ids, expected):
    return [pair for pair in zip(ids, expected, strict=True) if pair[0] != pair[1]]


def test_ids_are_those_of_transformers(ours, reference, all_texts):
    texts = [*all_texts, *CODED]
    assert differing(ours.encode_batch(texts), ids_of(reference, texts)) == []
    assert [ours.encode(text) for text in texts[-500:]] == ours.encode_batch(texts[-500:])


def test_the_text_of_ids_is_theirs(ours, reference, all_texts):
    dice = random.Random(0)
    written = [[dice.randrange(ours.size) for _ in range(dice.randrange(12))] for _ in range(1000)]
    targets = [reference(text_target=text, add_special_tokens=False).input_ids for text in all_texts[:1000]]
    for ids in [*written, *ours.encode_batch(all_texts[:1000]), *targets]:
        assert ours.decode(ids) == reference.decode(ids, skip_special_tokens=True)


def test_what_stands_around_a_text_or_a_pair_is_theirs(ours, reference, all_texts):
    texts = [*all_texts[:100], *CODED]
    assert [ids for ids, _ in ours.encode_wrapped_batch(texts)] == reference(texts).input_ids
    pairs = list(itertools.pairwise(texts))
    assert [ids for ids, _ in ours.encode_wrapped_batch(pairs)] == [reference(*pair).input_ids for pair in pairs]
    assert ours.around == ([], [ours.end])


def test_special_tokens_in_a_template_are_theirs(ours, reference):
    for text in ("the</s>import", "<pad></s> 값", ">>deu<< the</s>>>kor<<the"):
        assert (
            ours.encode_template(text)
            == reference(text, add_special_tokens=False, split_special_tokens=False)["input_ids"]
        )


def test_nobody_forges_a_special_token(published, tmp_path):
    """A model that knows no letter of a special token's makes one piece of it, which the vocabulary has."""
    directory = shutil.copytree(published("marian"), tmp_path / "marian")
    model = ModelProto.FromString((directory / "source.spm").read_bytes())
    kept = [piece for piece in model.pieces if piece.type != 1 or not set(piece.piece) & set("</s>pad")]
    del model.pieces[:]
    model.pieces.extend(kept)
    (directory / "source.spm").write_bytes(model.SerializeToString())
    ours = load_tokenizer(directory)
    assert ours.encode("</s>") == ours.encode("<pad>") == [ours.encode("x")[0], ours.unknown]


def test_places_are_those_of_the_characters(ours):
    text = ">>deu<<  the \u1112\u1161\u11ab statement"
    _, places = ours.encode_with_places(text)
    reached = [text[start:end].strip() for start, end in places]
    assert [part for part in reached if part] == [">>deu<<", "the", "\u1112\u1161\u11ab", "statement"]


def test_whole_symbols_of_the_models_own(published, all_texts, sentencepiece_model, tmp_path):
    directory = shutil.copytree(published("marian"), tmp_path / "marian")
    content = sentencepiece_model(model_type="unigram", vocab_size=500, user_defined_symbols=["㎏", "<생각>", "말은"])
    (directory / "source.spm").write_bytes(content)
    assert (
        differing(load_tokenizer(directory).encode_batch(all_texts[::4]), ids_of(theirs(directory), all_texts[::4]))
        == []
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"normalization_rule_name": "identity", "remove_extra_whitespaces": False, "add_dummy_prefix": False},
        {"normalization_rule_name": "nmt_nfkc_cf", "byte_fallback": True, "vocab_size": 700},
        {"normalization_rule_name": "nfkc", "remove_extra_whitespaces": False},
    ],
)
def test_models_that_read_text_in_other_ways(settings, published, all_texts, sentencepiece_model, tmp_path):
    directory = shutil.copytree(published("marian"), tmp_path / "marian")
    content = sentencepiece_model(**{"model_type": "unigram", "vocab_size": 400} | settings)
    (directory / "source.spm").write_bytes(content)
    texts = [text for text in all_texts[::4] if "<0x" not in text]
    assert differing(load_tokenizer(directory).encode_batch(texts), ids_of(theirs(directory), texts)) == []


def test_saved_it_opens_again_here_and_there(ours, reference, all_texts, tmp_path):
    ours.save(tmp_path)
    again, opened = load_tokenizer(tmp_path), theirs(tmp_path)
    texts = [*all_texts[:1000], *CODED]
    assert again.encode_batch(texts) == ours.encode_batch(texts) == ids_of(opened, texts)
    assert (opened.source_lang, opened.target_lang) == ("eng", "kor")
    assert opened.get_vocab() == reference.get_vocab()
    assert (again.languages, again.roles, again.stops) == (("deu", "kor"), ours.roles, {0})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda path: (path / "target.spm").unlink(), "has no target.spm"),
        (lambda path: (path / "vocab.json").unlink(), "has no vocab.json"),
        (lambda path: (path / "vocab.json").write_text('{"</s>": 0, "값": 1}'), "has no unknown token '<unk>'"),
        (lambda path: (path / "vocab.json").write_text('{"<unk>": 0, "값": 1}'), "no '</s>', which is to stand around"),
        (lambda path: (path / "source.spm").write_bytes(b"\xff" * 20), r"source\.spm is no SentencePiece model"),
        (
            lambda path: (path / "tokenizer_config.json").write_text('{"separate_vocabs": true}'),
            "vocabulary of its own",
        ),
    ],
)
def test_what_does_not_fit_is_named(published, change, sentence, tmp_path):
    directory = shutil.copytree(published("marian"), tmp_path / "marian")
    change(directory)
    with pytest.raises(UserError, match=sentence):
        load_tokenizer(directory)


def test_a_model_of_another_kind_is_named(published, sentencepiece_model, tmp_path):
    directory = shutil.copytree(published("marian"), tmp_path / "marian")
    (directory / "source.spm").write_bytes(sentencepiece_model(model_type="bpe", vocab_size=400))
    with pytest.raises(UserError, match=r"source\.spm is no Unigram model"):
        load_tokenizer(directory)


def test_half_a_character_is_named(ours):
    for encode in (ours.encode, lambda text: ours.encode_batch(["값", text]), ours.encode_wrapped):
        with pytest.raises(UserError, match="is half of a surrogate pair"):
            encode("값\ud800")


@pytest.mark.shared
@pytest.mark.parametrize("pair", ["en-de", "en-ko"])
def test_real_pairs_get_the_ids_of_transformers(pair, mirror, sentencepiece_model, tmp_path):
    if pair == "en-ko":
        lines = (mirror / "bible_en_ko/en-ko.tsv").read_text().splitlines()[::20]
        sources, targets = zip(*(line.split("\t")[:2] for line in lines), strict=True)
    else:
        sources, targets = (
            gzip.decompress((mirror / f"multi30k/train.{language}.gz").read_bytes()).decode().splitlines()[:1500]
            for language in ("en", "de")
        )
    models = [sentencepiece_model(lines, model_type="unigram", vocab_size=1500) for lines in (sources, targets)]
    pieces = dict.fromkeys(piece.piece for model in models for piece in ModelProto.FromString(model).pieces[3:])
    for name, model in zip(("source.spm", "target.spm"), models, strict=True):
        (tmp_path / name).write_bytes(model)
    tokens = ["</s>", "<unk>", *pieces, "<pad>"]
    (tmp_path / "vocab.json").write_text(json.dumps({token: id for id, token in enumerate(tokens)}))
    (tmp_path / "config.json").write_text('{"model_type": "marian"}')
    ours, reference = load_tokenizer(tmp_path), theirs(tmp_path)
    assert differing(ours.encode_batch(sources), ids_of(reference, sources)) == []
    for text in targets[:300]:
        ids = reference(text_target=text, add_special_tokens=False).input_ids
        assert ours.decode(ids) == reference.decode(ids, skip_special_tokens=True)
