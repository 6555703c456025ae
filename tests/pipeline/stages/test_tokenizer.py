"""A corpus becomes a tokenizer, measured on text it was not trained on."""

import pytest

from malmoi.core.config import parse_settings
from malmoi.core.errors import UserError
from malmoi.corpus.document import Document
from malmoi.corpus.store import SCHEMA, DocumentWriter
from malmoi.pipeline.recipe import build_recipe
from malmoi.pipeline.runner import run_recipe
from malmoi.pipeline.stage import figures_of
from malmoi.pipeline.stages.tokenizer import STAGE, TokenizerStageSettings, measure, run
from malmoi.tokenizers.load import load_tokenizer
from malmoi.tokenizers.train import TokenizerSettings, train_tokenizer

TRAIN = ["말은 모으고 글은 나눕니다.\n" * 4, "Words are gathered, words are shared.\n" * 4]
HELD_OUT = ["말모이는 words를 모읍니다."]


@pytest.fixture
def corpus(tmp_path):
    directory = tmp_path / "corpus"
    directory.mkdir()
    for split, texts in (("train", TRAIN), ("held_out", HELD_OUT)):
        with DocumentWriter(directory / f"{split}.parquet", SCHEMA) as writer:
            for text in texts:
                writer.write(Document(text, "a test"))
    return directory


def settings(**values):
    return parse_settings(TokenizerStageSettings, values, "a test")


def test_a_tokenizer_is_trained_and_measured_on_held_out_text(corpus, tmp_path):
    result = run(settings(corpus=corpus, vocabulary=300), tmp_path / "out")
    tokenizer = load_tokenizer(tmp_path / "out")
    ids = tokenizer.encode(HELD_OUT[0])
    assert (result["kind"], result["vocabulary"]) == ("byte", tokenizer.size) == ("byte", 300)
    assert result["bytes_per_token"] == len(HELD_OUT[0].encode()) / len(ids)
    assert result["characters_per_token"] == len(HELD_OUT[0]) / len(ids)
    assert result["unknown_share"] == 0
    assert sorted(STAGE.figures) == sorted(figures_of(result))


def test_unknown_characters_are_counted(corpus, tmp_path):
    result = run(settings(corpus=corpus, kind="character", vocabulary=0), tmp_path / "out")
    seen = set("".join(TRAIN))
    assert result["unknown_share"] == sum(character not in seen for character in HELD_OUT[0]) / len(HELD_OUT[0])


def test_a_part_of_a_syllable_is_shown_as_its_bytes():
    tokenizer = train_tokenizer(["abc 모음 모음"], TokenizerSettings(vocabulary=262))
    shown = measure(tokenizer, [Document("모음 뷁", "a test")])["example"]
    assert not any("\ufffd" in token for token in shown)
    assert shown[-3:] == ["<EB>", "<B7>", "<81>"]


def test_a_corpus_without_training_text_is_named(corpus, tmp_path):
    with DocumentWriter(corpus / "train.parquet", SCHEMA):
        pass
    with pytest.raises(UserError, match="has no training text"):
        run(settings(corpus=corpus), tmp_path / "out")


def test_a_vocabulary_larger_than_the_corpus_supports_leaves_nothing(corpus, tmp_path):
    with pytest.raises(UserError, match=r"supports a vocabulary of \d+, not 4,096. Set vocabulary=\d+ or less"):
        run(settings(corpus=corpus, vocabulary=4096), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_in_a_recipe_the_way_out_names_the_stage(corpus, tmp_path):
    entries = {"낱말": {"stage": "tokenizer", "corpus": str(corpus), "vocabulary": 4096}}
    with pytest.raises(UserError, match=r"Set 낱말.vocabulary=\d+ or less"):
        run_recipe(build_recipe("mine", "", entries, "mine.yaml"), tmp_path / "run")


def test_a_vocabulary_that_nobody_asked_for_is_as_large_as_the_corpus_supports(corpus, tmp_path, capsys):
    size = run(settings(corpus=corpus), tmp_path / "out")["vocabulary"]
    assert 256 < size < 4096
    assert f"a vocabulary of {size}: so little text supports no 4,096" in capsys.readouterr().out


@pytest.mark.parametrize(("key", "value"), [("kind", "sillable"), ("documents", -1), ("vocabulary", "many")])
def test_a_wrong_setting_is_named(corpus, key, value):
    with pytest.raises(UserError, match=key):
        settings(corpus=corpus, **{key: value})
