"""The stage that answers questions: it learns, goes on, opens in transformers, and is asked by a command."""

import io
import json
import random

import pytest
import torch
import transformers

from malmoi.cli.main import main
from malmoi.core.errors import UserError
from malmoi.core.files import read_json
from malmoi.data.question_windows import Windows
from malmoi.data.questions import Question
from malmoi.data.span_batch import collate_windows
from malmoi.formats.checkpoint import load_checkpoint, save_checkpoint
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.registry import build_model
from malmoi.models.seq2seq_config import EncoderDecoderConfig
from malmoi.models.span_finder import SpanFinder
from malmoi.pipeline.stages import questions
from malmoi.pipeline.stages.questions import QuestionsSettings

NAMES = ("여우", "곰", "토끼", "늑대", "사슴", "fox", "bear", "hare")
PLACES = ("숲", "강", "산", "들", "wood", "river")
SHAPE = {"vocabulary": 300, "context": 64, "width": 32, "layers": 2, "heads": 2}
QUICK = {"longest": 56, "stride": 16, "rows": 8, "epochs": 1, "vocabulary": 300, "unit": "character"}


@pytest.fixture(scope="module")
def squad(tmp_path_factory):
    """Animals and where they live: who lives somewhere stands before the place."""
    path, chance = tmp_path_factory.mktemp("squad") / "질문.json", random.Random(0)
    paragraphs = []
    for number in range(50):
        pairs = list(zip(chance.sample(NAMES, 3), chance.sample(PLACES, 3), strict=True))
        context = f"{number}. " + " ".join(f"{name} {place} 살다." for name, place in pairs)
        qas = [
            {
                "id": f"{number}-{place}",
                "question": f"{place} 누구?",
                "answers": [{"text": name, "answer_start": context.index(f"{name} {place}")}],
            }
            for name, place in pairs
        ]
        paragraphs.append({"context": context, "qas": qas})
    path.write_text(json.dumps({"data": [{"title": "동물", "paragraphs": paragraphs}]}, ensure_ascii=False))
    return path


@pytest.fixture(scope="module")
def learned(squad, tmp_path_factory):
    """A stage that learned where the animals live."""
    directory = tmp_path_factory.mktemp("learned")
    shape = {"layers": 2, "width": 32, "heads": 2, "positions": "rotary", "activation": "swiglu"}
    more = {"optimizer": "muon", "learning_rate": 0.003, "marks": True, "epochs": 9}
    settings = QuestionsSettings(file=squad, model=shape, **QUICK | more)
    return directory, questions.run(settings, directory)


def test_it_learns_to_find_answers(learned):
    _, facts = learned
    assert facts["f1"] > 0.8
    assert facts["control"].keys() <= facts.keys()


def test_answers_are_kept_with_their_passages(learned):
    for record in read_json(learned[0] / "answers.json"):
        start, end = record["span"]
        assert record["answer"] in ("", record["passage"][start:end])


def test_it_is_asked_by_a_command(learned, monkeypatch, capsys):
    asked = ["malmoi", "answer", str(learned[0]), "강 누구?", "숲 누구?", "--passage", "토끼 산 살다. 여우 강 살다."]
    monkeypatch.setattr("sys.argv", asked)
    with pytest.raises(SystemExit):
        main()
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert lines[0][0] == "여우"
    assert [line[2] for line in lines] == ["강 누구?", "숲 누구?"]
    assert all(0 <= float(line[1]) <= 1 for line in lines)


def test_a_passage_comes_in_by_a_file_or_standard_input(learned, monkeypatch, capsys, tmp_path):
    (tmp_path / "글.txt").write_bytes("토끼 산 살다.\r\n여우 강 살다.".encode("cp949"))
    answers = []
    for more, stdin in (
        (["--file", str(tmp_path / "글.txt")], b""),
        ([], "토끼 산 살다.\n여우 강 살다.".encode("cp949")),
    ):
        monkeypatch.setattr("sys.argv", ["malmoi", "answer", str(learned[0]), "강 누구?", *more])
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit):
            main()
        answers.append(capsys.readouterr().out)
    assert answers[0] == answers[1]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b" ")))
    with pytest.raises(SystemExit):
        main()
    assert "no passage" in capsys.readouterr().err


@pytest.fixture
def own(tmp_path, tokenizer):
    """Saves a random model of our own."""

    def save(config):
        save_checkpoint(tmp_path / "own", build_model(config, seed=0), tokenizer, "")
        return tmp_path / "own"

    return save


@pytest.fixture
def published(tmp_path):
    """A random BERT, as transformers saves it."""
    directory = tmp_path / "published"
    directory.mkdir()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *NAMES, *PLACES, *"0123456789", "살다", "누구", ".", "?"]
    (directory / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    transformers.BertTokenizer(vocab=str(directory / "vocab.txt"), strip_accents=False).save_pretrained(directory)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    config = transformers.BertConfig(vocab_size=len(words), max_position_embeddings=64, **sizes)
    torch.manual_seed(0)
    transformers.BertModel(config).save_pretrained(directory)
    return directory


@pytest.mark.parametrize("train", ["head", "last:1", "lora:2", "all"])
def test_a_published_encoder_learns_and_opens_there_again(published, squad, tmp_path, train):
    questions.run(QuestionsSettings(base=published, file=squad, train=train, limit=16, **QUICK), tmp_path)
    checkpoint = load_checkpoint(tmp_path)
    theirs = transformers.BertForQuestionAnswering.from_pretrained(tmp_path / "model").eval()
    windows = Windows(checkpoint.tokenizer, checkpoint.headed(SpanFinder).form)
    batch = collate_windows(windows.of(Question("강 누구?", "토끼 산 살다. 여우 강 살다.")))
    with torch.no_grad():
        wanted = theirs(batch.tokens, token_type_ids=batch.segments)
        ours = checkpoint.headed(SpanFinder)(batch.tokens, batch.lengths, batch.segments)
    torch.testing.assert_close(ours, torch.stack([wanted.start_logits, wanted.end_logits], -1), rtol=1e-5, atol=1e-5)


def test_from_scratch_only_shape_and_tokenizer_stay(published, squad, tmp_path):
    settings = QuestionsSettings(base=published, file=squad, train="head", limit=16, **QUICK, from_scratch=True, seed=3)
    questions.run(settings, tmp_path)
    new, base = load_checkpoint(tmp_path), load_checkpoint(published)
    body = new.headed(SpanFinder).body
    assert torch.equal(body.embedding.weight, build_model(base.model.config, seed=3).embedding.weight)
    assert new.tokenizer.backend.get_vocab() == base.tokenizer.backend.get_vocab()
    assert "new weights in the shape of published" in new.card


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (GPTConfig(**SHAPE), r"looks both ways.*Take an encoder"),
        (EncoderDecoderConfig(vocabulary=300, context=64, width=32, layers=1, heads=2, start=0), "a translator"),
        (EncoderConfig(**SHAPE | {"context": 32}), "longest=56, but the base reads 32"),
    ],
)
def test_a_base_that_cannot_serve_is_refused(config, message, own, squad, tmp_path):
    with pytest.raises(UserError, match=message):
        questions.run(QuestionsSettings(base=own(config), file=squad, **QUICK), tmp_path / "stage")
    assert not (tmp_path / "stage" / "metrics.jsonl").exists()


def test_a_base_and_a_new_model_are_one_too_many(published, squad, tmp_path):
    with pytest.raises(UserError, match="Set one of them"):
        questions.run(QuestionsSettings(base=published, file=squad, model={"layers": 1}, **QUICK), tmp_path)


def test_a_wrong_answer_is_refused_before_training(squad, tmp_path):
    text = squad.read_text()
    (tmp_path / "wrong.json").write_text(text.replace('"answer_start": 3', '"answer_start": 4', 1))
    with pytest.raises(UserError, match=r"wrong\.json, line 1, question '0-.*answer_start"):
        questions.run(
            QuestionsSettings(file=tmp_path / "wrong.json", model={"layers": 1, "width": 32, "heads": 2}, **QUICK),
            tmp_path / "stage",
        )
    assert not (tmp_path / "stage").exists()
