"""The evaluation stage on a real tokenizer, a small GPT with first weights, and a corpus at rest."""

import pytest

from malmoi.core.errors import UserError
from malmoi.core.files import append_json_line, read_json
from malmoi.corpus.build import Source, build_corpus
from malmoi.corpus.document import Document
from malmoi.corpus.settings import BuildSettings
from malmoi.evaluate.held_out import ALL
from malmoi.formats.checkpoint import save_checkpoint
from malmoi.models.gpt import GPT
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.initialize import initialize
from malmoi.pipeline.stage import figures_of
from malmoi.pipeline.stages.evaluate import STAGE, EvaluateSettings, run
from malmoi.tokenizers.train import TokenizerSettings, train_tokenizer

TALE = "옛날 옛적에 {} 호랑이가 담배를 피우던 시절, 깊은 산골에 나무꾼이 살았다. {}"
NEWS = "The king said to his {} daughters that they should not go into the wood {}."


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Directories of a pretrain stage and of a corpus."""
    directory = tmp_path_factory.mktemp("run")
    documents = [
        Document(text.format(number, number**2) * 3, source)
        for number in range(120)
        for source, text in (("tales", TALE), ("news", NEWS))
    ]
    build_corpus([Source(lambda unreadable: iter(documents))], directory / "corpus", BuildSettings(held_out=0.2))
    tokenizer = train_tokenizer([document.text for document in documents], TokenizerSettings(vocabulary=320))
    model = GPT(GPTConfig(vocabulary=tokenizer.size, context=32, width=32, layers=1, heads=2))
    initialize(model, seed=0)
    save_checkpoint(directory / "pretrain" / "model", model, tokenizer, "a test")
    for step in (1, 2):
        record = {"step": step, "prompt": "옛날", "text": rf"옛날 [bold]{step} :fox: \[/i]"}
        append_json_line(directory / "pretrain" / "samples.jsonl", record)
    return directory / "pretrain", directory / "corpus"


def test_every_source_is_scored_beside_its_controls(made, tmp_path, capsys):
    result = run(EvaluateSettings(checkpoint=made[0], corpus=made[1]), tmp_path)
    assert list(result["table"]) == ["news", "tales", ALL]
    row = result["table"][ALL]
    assert row["model"] == pytest.approx(row["uniform"], rel=0.15), "first weights know nothing"
    assert row["bigram"] < row["unigram"] < row["uniform"]
    assert result["below_bigram"] == 1 - row["model"] / row["bigram"] < 0
    assert sorted(STAGE.figures) == sorted(figures_of(result))
    assert read_json(tmp_path / "bits_per_byte.json") == result
    assert (tmp_path / "samples.jsonl").read_bytes() == (made[0] / "samples.jsonl").read_bytes()
    printed = capsys.readouterr().out
    assert r"옛날 [bold]2 :fox: \[/i]" in printed
    assert "…" not in printed, "the table fits 80 columns"


def test_the_same_twice(made, tmp_path):
    settings = EvaluateSettings(checkpoint=made[0], corpus=made[1], held_out_mebibytes=0.002, train_mebibytes=0.01)
    first = run(settings, tmp_path)
    assert first["every"] > 1
    assert first["train_every"] > 1
    assert run(settings, tmp_path) == first
    assert len((tmp_path / "samples.jsonl").read_text(encoding="utf-8").splitlines()) == 2


def test_a_stride_longer_than_the_context_is_refused(made, tmp_path):
    with pytest.raises(UserError, match=r"stride=33.*context of 32"):
        run(EvaluateSettings(checkpoint=made[0], corpus=made[1], stride=33), tmp_path)


def test_a_corpus_that_holds_nothing_out_is_refused(made, tmp_path):
    build_corpus(
        [Source(lambda unreadable: iter([Document(NEWS * 3, "news")]))], tmp_path / "corpus", BuildSettings(held_out=0)
    )
    with pytest.raises(UserError, match="holds no text out"):
        run(EvaluateSettings(checkpoint=made[0], corpus=tmp_path / "corpus"), tmp_path)
