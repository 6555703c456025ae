"""Encoders under a new head: what is saved opens here and in transformers, and names the same classes."""

import json
import random

import pytest
import torch
import transformers

from malmoi.cli.predict import predict as answer
from malmoi.core.errors import UserError
from malmoi.core.files import read_json
from malmoi.data.labelled import LabelledText
from malmoi.evaluate.predict import encode_texts, predict
from malmoi.formats.checkpoint import load_checkpoint, save_checkpoint
from malmoi.models.classifier import Classifier
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.registry import build_model
from malmoi.models.seq2seq_config import EncoderDecoderConfig
from malmoi.pipeline.labelled_texts import read_splits
from malmoi.pipeline.stages import classify
from malmoi.pipeline.stages.classify import ClassifySettings

LETTERS = "가나다라마바사"
WORDS = {"좋음": ("재미있다", "great"), "나쁨": ("지루하다", "boring")}
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "영화", *LETTERS, *(f"##{one}" for one in LETTERS)]
VOCABULARY += [word for words in WORDS.values() for word in words]
FAMILIES = {
    "bert": {},
    "bert without a pooler": {"pooler": "none"},
    "roberta": {"segments": 1, "first_position": 2, "norm_epsilon": 1e-5, "pooler": "none"},
    "distilbert": {"segments": 0, "pooler": "none"},
}
SHAPE = {"vocabulary": 300, "context": 32, "width": 32, "layers": 2, "heads": 4}
QUICK = {"longest": 32, "rows": 8, "epochs": 1, "learning_rate": 0.003}


@pytest.fixture(scope="module")
def reviews(tmp_path_factory):
    path, chance = tmp_path_factory.mktemp("reviews") / "reviews.tsv", random.Random(0)
    lines = [
        f"영화 {''.join(chance.choices(LETTERS, k=chance.randrange(1, 9)))} {chance.choice(WORDS[label])}\t{label}"
        for label in WORDS
        for _ in range(60)
    ]
    path.write_text("text\tlabel\n" + "\n".join(lines) + "\n")
    return path


@pytest.fixture
def published(tmp_path):
    """A random BERT, as transformers saves it."""
    directory = tmp_path / "published"
    directory.mkdir()
    (directory / "vocab.txt").write_text("\n".join(VOCABULARY), encoding="utf-8")
    transformers.BertTokenizer(vocab=str(directory / "vocab.txt"), strip_accents=False).save_pretrained(directory)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    config = transformers.BertConfig(vocab_size=len(VOCABULARY), max_position_embeddings=32, **sizes)
    torch.manual_seed(0)
    transformers.BertModel(config).save_pretrained(directory)
    return directory


@pytest.fixture
def own(tmp_path, tokenizer):
    """Saves a random encoder or another model of our own."""

    def save(config):
        save_checkpoint(tmp_path / "own", build_model(config, seed=0), tokenizer, "")
        return tmp_path / "own"

    return save


@torch.no_grad()
def close_to_theirs(directory, texts):
    """Our probabilities beside those of transformers, text by text."""
    checkpoint = load_checkpoint(directory)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(directory / "model").eval()
    rows = encode_texts(checkpoint.tokenizer, texts, checkpoint.headed(Classifier))
    named = [{} if row.segments is None else {"token_type_ids": row.segments[None]} for row in rows]
    wanted = [theirs(row.tokens[None], **each).logits.softmax(-1) for row, each in zip(rows, named, strict=True)]
    torch.testing.assert_close(predict(checkpoint.headed(Classifier), rows), torch.cat(wanted), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("changes", FAMILIES.values(), ids=FAMILIES.keys())
def test_what_is_saved_gives_the_same_in_transformers(changes, own, reviews, tmp_path):
    base = own(EncoderConfig(**SHAPE | changes, masked_head=True))
    settings = ClassifySettings(base=base, file=reviews, train="last:1", **QUICK)
    classify.run(settings, tmp_path)
    close_to_theirs(tmp_path, read_splits(settings).test)


@pytest.mark.parametrize("train", ["head", "last:1", "lora:2", "all"])
def test_a_published_encoder_learns_and_opens_again(published, reviews, tmp_path, train):
    settings = ClassifySettings(base=published, file=reviews, train=train, **QUICK)
    classify.run(settings, tmp_path)
    checkpoint = load_checkpoint(tmp_path)
    tested = read_splits(settings).test
    classes = predict(
        checkpoint.model, encode_texts(checkpoint.tokenizer, tested, checkpoint.headed(Classifier))
    ).argmax(-1)
    assert classes.tolist() == read_json(tmp_path / "predictions.json")["predicted"]
    close_to_theirs(tmp_path, tested)


@pytest.fixture
def answers(tmp_path):
    """Pairs of reviews of which the second one counts."""
    path, chance = tmp_path / "pairs.jsonl", random.Random(0)
    words = {word: label for label, each in WORDS.items() for word in each}
    pairs = [chance.choices(list(words), k=2) for _ in range(160)]
    records = [{"one": one, "other": other, "label": words[other]} for one, other in pairs]
    path.write_text("\n".join(json.dumps(record) for record in records))
    return path


def test_a_pair_is_asked_about_as_it_was_learned(published, answers, tmp_path, capsys):
    settings = ClassifySettings(
        base=published, file=answers, text="one", pair="other", train="all", **QUICK | {"epochs": 12}
    )
    classify.run(settings, tmp_path)
    close_to_theirs(tmp_path, read_splits(settings).test)
    capsys.readouterr()
    answer(tmp_path, ["great\t지루하다", "지루하다\tgreat"])
    assert [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()] == ["나쁨", "좋음"]
    with pytest.raises(UserError, match="'great' is one text. Put a tab"):
        answer(tmp_path, ["great"])


@pytest.fixture
def repeated(tmp_path):
    """Pairs of which the second text says what the first one does, or something else."""
    path, chance = tmp_path / "repeated.jsonl", random.Random(0)
    words = [word for each in WORDS.values() for word in each]
    pairs = [(chance.sample(words, 3), number % 2) for number in range(160)]
    records = [
        {"one": " ".join(said[:2]), "other": said[0] if same else said[2], "label": "같다" if same else "다르다"}
        for said, same in pairs
    ]
    path.write_text("\n".join(json.dumps(record) for record in records))
    return path


def test_pairs_are_told_by_their_matching_words(own, repeated, tmp_path):
    base = own(EncoderConfig(**SHAPE))
    quick = QUICK | {"epochs": 20, "learning_rate": 0.03}
    pairs = {"file": repeated, "text": "one", "pair": "other", "pooling": "matches"}
    settings = ClassifySettings(base=base, train="head", **pairs, **quick)
    assert classify.run(settings, tmp_path)["accuracy"] > 0.9
    stored = load_checkpoint(tmp_path)
    tested = encode_texts(stored.tokenizer, read_splits(settings).test, stored.headed(Classifier))
    assert predict(stored.model, tested).argmax(-1).tolist() == read_json(tmp_path / "predictions.json")["predicted"]
    with pytest.raises(UserError, match="compares two texts"):
        classify.run(ClassifySettings(base=base, file=repeated, text="one", pooling="matches", **quick), tmp_path)


def test_an_encoder_learns_what_a_word_means(published, reviews, tmp_path):
    settings = ClassifySettings(base=published, file=reviews, train="all", **QUICK | {"epochs": 8})
    assert classify.run(settings, tmp_path)["accuracy"] == 1


def test_two_readings_of_a_text_are_learned_to_agree(published, reviews, tmp_path):
    settings = ClassifySettings(
        base=published, file=reviews, train="last:1", consistency=1.0, **QUICK | {"epochs": 8, "learning_rate": 0.01}
    )
    assert classify.run(settings, tmp_path)["accuracy"] == 1
    close_to_theirs(tmp_path, read_splits(settings).test)


def test_a_base_without_dropout_gets_it_for_the_training(own, reviews, tmp_path):
    settings = ClassifySettings(
        base=own(EncoderConfig(**SHAPE)), file=reviews, train="all", dropout=0.1, consistency=1.0, **QUICK
    )
    classify.run(settings, tmp_path)
    assert load_checkpoint(tmp_path).headed(Classifier).body.config.dropout == 0.1


@pytest.mark.parametrize("kind", ["language model", "encoder"])
@pytest.mark.parametrize("train", ["head", "last:1"])
def test_what_reads_all_tokens_opens_here_alone_and_says_so(own, reviews, tmp_path, kind, train):
    base = own(EncoderConfig(**SHAPE, pooler="none") if kind == "encoder" else GPTConfig(**SHAPE))
    settings = ClassifySettings(base=base, file=reviews, train=train, pooling="concat", **QUICK)
    classify.run(settings, tmp_path)
    stored = load_checkpoint(tmp_path)
    tested = encode_texts(stored.tokenizer, read_splits(settings).test, stored.headed(Classifier))
    assert predict(stored.model, tested).argmax(-1).tolist() == read_json(tmp_path / "predictions.json")["predicted"]
    assert "only malmoi opens it" in stored.card


def test_a_pipeline_of_transformers_names_the_same_classes(published, reviews, tmp_path):
    settings = ClassifySettings(base=published, file=reviews, train="all", **QUICK)
    classify.run(settings, tmp_path)
    tested = [text.text for text in read_splits(settings).test]
    found = transformers.pipeline("text-classification", str(tmp_path / "model"))(tested)
    results = read_json(tmp_path / "predictions.json")
    assert [one["label"] for one in found] == [results["classes"][number] for number in results["predicted"]]


def test_frozen_layers_that_are_computed_once_drop_nothing_out(own, reviews, tmp_path):
    base = own(EncoderConfig(**SHAPE, dropout=0.5))
    classifier = classify._classifier(
        load_checkpoint(base).backbone, ["나쁨", "좋음"], ClassifySettings(**QUICK, train="last:1")
    )
    classifier.train()
    texts = encode_texts(load_checkpoint(base).tokenizer, [LabelledText("영화 지루하다", "나쁨")] * 2, classifier)
    one, same = classify._lower_states(classifier, texts, 1)
    assert torch.equal(one.tokens, same.tokens)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"suffix": " 이 글은"}, "an encoder is read at its first token. Leave suffix out"),
        ({"longest": 33}, "longest=33, but the base reads 32 tokens. Set it to 32"),
        ({"layers": 3}, "has 2 layers, not 3"),
        ({"train": "last:3"}, "2 layers, fewer than train=last:3 trains"),
        ({"consistency": 1.0, "train": "all"}, "what is trained here has none. Leave it out, or set dropout=0.1"),
        (
            {"consistency": 1.0, "answer": "classes", "train": "all"},
            "the probabilities of classes. Leave it out, or set answer=class",
        ),
    ],
)
def test_what_an_encoder_cannot_is_said(own, reviews, tmp_path, changes, sentence):
    base = own(EncoderConfig(**SHAPE))
    with pytest.raises(UserError) as raised:
        classify.run(ClassifySettings(**{"base": base, "file": reviews, **QUICK, **changes}), tmp_path)
    assert sentence in str(raised.value)


def test_a_translator_is_no_base(own, reviews, tmp_path):
    base = own(EncoderDecoderConfig(**SHAPE, start=0))
    for start in (classify.estimate, lambda settings: classify.run(settings, tmp_path)):
        with pytest.raises(UserError, match="is a translator"):
            start(ClassifySettings(base=base, file=reviews, train="head", **QUICK))


def test_a_classifier_is_no_base(own, reviews, tmp_path):
    classify.run(
        ClassifySettings(base=own(EncoderConfig(**SHAPE)), file=reviews, **QUICK | {"train": "head"}), tmp_path
    )
    with pytest.raises(UserError, match="is a classifier, and no new head"):
        classify.run(ClassifySettings(base=tmp_path, file=reviews, **QUICK), tmp_path)


def test_a_source_of_texts_is_no_weights(reviews, tmp_path):
    with pytest.raises(UserError, match="'nsmc' is no model of text"):
        classify.run(ClassifySettings(weights="nsmc", file=reviews), tmp_path)


def test_a_dry_run_knows_the_shape_of_public_encoders(reviews):
    head, whole = (
        classify.estimate(ClassifySettings(weights="minilm-l6-v2", file=reviews, train=train))
        for train in ("last:1", "all")
    )
    assert 0 < head.seconds < whole.seconds
    assert head.memory < whole.memory < 2 << 30


def test_from_scratch_only_shape_and_tokenizer_stay(own, reviews, tmp_path):
    base = own(EncoderConfig(**SHAPE))
    settings = ClassifySettings(base=base, file=reviews, train="head", from_scratch=True, seed=3, **QUICK)
    classify.run(settings, tmp_path)
    new = load_checkpoint(tmp_path).headed(Classifier).body
    assert torch.equal(new.embedding.weight, build_model(new.config, seed=3).embedding.weight)
    assert not torch.equal(new.embedding.weight, load_checkpoint(base).model.embedding.weight)
    assert "in the shape of" in load_checkpoint(tmp_path).card
