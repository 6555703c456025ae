"""A translator from a file of pairs: it learns, goes on after a kill, and opens elsewhere."""

import random

import pytest
import torch
import transformers

from malmoi.core.errors import UserError
from malmoi.core.files import read_json, read_json_lines
from malmoi.core.hashing import hash_file
from malmoi.formats.checkpoint import load_checkpoint
from malmoi.generate.translate import translate
from malmoi.pipeline.stages import translator
from malmoi.pipeline.translation_pairs import read_translation_pairs
from malmoi.pipeline.translator_plan import TranslatorSettings, estimate
from malmoi.train.trainer import Trainer

WORDS = {
    "fox": "여우가",
    "bear": "곰이",
    "wood": "숲이",
    "sees": "보고",
    "eats": "먹고",
    "sleeps": "자고",
    "red": "붉은",
}
SHAPE = {"vocabulary": 300, "width": 32, "layers": 1, "decoder_layers": 1, "heads": 4, "feed_forward": 48}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Sentences that a word for a word translates, back to front."""
    chance, path = random.Random(0), tmp_path_factory.mktemp("pairs") / "pairs.tsv"
    lines = set()
    while len(lines) < 300:
        words = chance.choices(list(WORDS), k=chance.randrange(2, 5))
        lines.add(f"{' '.join(words)}\t{' '.join(WORDS[word] for word in reversed(words))}\n")
    path.write_text("".join(sorted(lines)) + "empty\t\n")
    return path


def settings_of(pairs, **changes):
    usual = {
        "files": [pairs],
        "held_out": 0.1,
        "tokens": 600,
        "slots": 1,
        "epochs": 1,
        "beams": 2,
        "texts": ["red fox"],
    }
    return TranslatorSettings(**(usual | SHAPE | changes))


def test_it_learns_and_stands_beside_its_controls(pairs, tmp_path):
    settings = settings_of(pairs, epochs=12, learning_rate=0.01, dropout=0.0, longest=20)
    result = translator.run(settings, tmp_path)
    assert result["bleu"] > 30 > result["controls"]["copy"]["bleu"]
    assert result["chrf"] > result["controls"]["dictionary"]["chrf"]
    assert result["left_out"] == {"empty side": 1}
    opened = load_checkpoint(tmp_path)
    stored = [record["translation"] for record in read_json(tmp_path / "translations.json")["pairs"]]
    sources = [record["source"] for record in read_json(tmp_path / "translations.json")["pairs"]]
    assert opened.translator.config.beams == 2
    assert translate(opened.translator, opened.tokenizer, sources) == stored
    assert "BLEU" in opened.card
    assert read_json(tmp_path / "texts.json") == [
        ["red fox", translate(opened.translator, opened.tokenizer, ["red fox"])[0]]
    ]
    assert len(read_json(tmp_path / "attention.json")["texts"]) == 2


@pytest.mark.parametrize(("shape", "family"), [("modern", "t5"), ("original", "marian")])
def test_transformers_opens_it_and_writes_the_same(pairs, tmp_path, shape, family):
    changes = {"optimizer": "adamw", "schedule": "noam"} if shape == "original" else {}
    translator.run(settings_of(pairs, shape=shape, **changes), tmp_path)
    opened = load_checkpoint(tmp_path)
    theirs = transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "model").eval()
    reader = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    assert theirs.config.model_type == family
    for text in ("red fox sees", "bear"):
        ids = torch.tensor([[*reader(text, add_special_tokens=False)["input_ids"], opened.tokenizer.end]])
        written = theirs.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=12)
        own = translate(opened.translator, opened.tokenizer, [text], 12)
        assert reader.decode(written[0], skip_special_tokens=True).strip() == own[0].strip()


class _Killed(BaseException):
    pass


def test_a_killed_run_goes_on_to_the_same_bits(pairs, tmp_path, monkeypatch):
    settings = settings_of(pairs, epochs=3)
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    translator.run(settings, tmp_path / "whole")
    steps = Trainer._one_step

    def dying(self, step, *rest):
        if step == 20:
            raise _Killed
        return steps(self, step, *rest)

    with monkeypatch.context() as patch, pytest.raises(_Killed):
        patch.setattr(Trainer, "_one_step", dying)
        translator.run(settings, tmp_path / "killed")
    translator.run(settings, tmp_path / "killed")
    whole, killed = (hash_file(tmp_path / name / "model/model.safetensors") for name in ("whole", "killed"))
    assert whole == killed
    steps_written = [line["step"] for line in read_json_lines(tmp_path / "killed/samples.jsonl")]
    assert steps_written == sorted(steps_written)


def test_minutes_decide_the_steps(pairs, tmp_path, monkeypatch):
    monkeypatch.setattr("malmoi.pipeline.translator_plan._seconds_a_step", lambda *arguments: 0.5)
    result = translator.run(settings_of(pairs, minutes=0.1), tmp_path)
    assert result["steps"] == 11  # the rest of the time is for validations


def test_an_estimate_before_anything_is_done(pairs):
    known = estimate(settings_of(pairs))
    assert known.seconds > 0
    assert known.memory > 1 << 28
    assert estimate(settings_of(pairs, minutes=3)).seconds == 180
    assert estimate(TranslatorSettings(sources=["multi30k"], fetch="nowhere")).seconds is None


def test_pairs_too_long_are_counted_with_their_line(pairs, tmp_path):
    long = tmp_path / "long.tsv"
    long.write_text(pairs.read_text() + f"{'fox ' * 60}\t여우\n")
    result = translator.run(settings_of(long, longest=30), tmp_path)
    assert result["left_out"]["too long"] == 1
    assert result["left_out_places"]["too long"][0].endswith("line 302")


def test_a_limit_takes_from_the_whole_file(pairs):
    splits = read_translation_pairs(settings_of(pairs, limit=10, test_limit=3))
    lines = [int(pair.place.rpartition(" ")[2]) for pair in splits.train]
    assert 5 < len(splits.train) <= 10
    assert len(splits.test) <= 3
    assert lines[0] < 40
    assert lines[-1] > 200


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"files": []}, "learns from files of pairs or from sources. Set one of"),
        ({"sources": ["multi30k"]}, "Set one of files and sources"),
        ({"vocabulary": 5000}, "supports a vocabulary of"),
        ({"longest": 2}, "No pair to learn from has 2 tokens or fewer"),
    ],
)
def test_mistakes_are_one_sentence(pairs, tmp_path, changes, words):
    with pytest.raises(UserError, match=words):
        translator.run(settings_of(pairs, **changes), tmp_path)
    assert not (tmp_path / "metrics.jsonl").exists()
