"""Models beside each other on one held-out text, Korean and English."""

import pytest

from malmoi.core.errors import UserError
from malmoi.core.files import read_json
from malmoi.corpus.build import Source, build_corpus
from malmoi.corpus.document import Document
from malmoi.corpus.settings import BuildSettings
from malmoi.formats.checkpoint import save_checkpoint
from malmoi.pipeline.stages.compare import CompareSettings, run
from malmoi.tokenizers.train import TokenizerSettings, train_tokenizer

TEXT = "옛날 옛적에 여우 {} 마리가 숲에 살았다. The fox number {} lived in the wood."


@pytest.fixture
def made(tmp_path, make_model, shake, tokenizer):
    """Two models and a corpus."""
    documents = [Document(TEXT.format(number, number**2), "tales") for number in range(60)]
    build_corpus([Source(lambda unreadable: iter(documents))], tmp_path / "corpus", BuildSettings(held_out=0.3))
    for name, attention in {"dense": "full", "near": ["window(8)", "full"]}.items():
        save_checkpoint(tmp_path / name / "model", shake(make_model(attention=attention)), tokenizer, "")
    return tmp_path


def test_models_are_scored_on_the_same_rows(made, tmp_path, capsys):
    settings = CompareSettings(checkpoints=[made / "dense", made / "near"], corpus=made / "corpus", rows=2)
    result = run(settings, tmp_path)
    assert (result["context"], result["rows"]) == (128, 2)
    assert list(result["models"]) == ["dense", "near"]
    assert result["models"]["near"]["mixing"] == ["window(8)", "full"]
    assert [span[:2] for span in result["models"]["dense"]["spans"]] == [(0, 64), (64, 128)]
    assert result["models"]["dense"]["loss"] != result["models"]["near"]["loss"]
    assert read_json(tmp_path / "compare.json")["rows"] == 2
    printed = capsys.readouterr().out
    assert "near" in printed
    assert "…" not in printed, "the table fits 80 columns"


def test_too_little_text_is_said(made, tmp_path):
    with pytest.raises(UserError, match="holds less than 100,000 tokens out"):
        run(CompareSettings(checkpoints=[made / "dense"], corpus=made / "corpus", context=100_000), tmp_path)


def test_losses_of_two_tokenizers_are_not_compared(made, tmp_path, make_model):
    other = train_tokenizer(["여우가 숲에 산다."] * 2, TokenizerSettings(kind="character", vocabulary=0))
    save_checkpoint(made / "other" / "model", make_model(vocabulary=other.size), other, "")
    with pytest.raises(UserError, match="another tokenizer"):
        run(CompareSettings(checkpoints=[made / "dense", made / "other"], corpus=made / "corpus"), tmp_path)


def test_models_of_one_name_are_told_apart_by_their_folders(made, tmp_path):
    paths = [(made / name).rename(made / f"{name}-run") / "model" for name in ("dense", "near")]
    result = run(CompareSettings(checkpoints=paths, corpus=made / "corpus", rows=2), tmp_path)
    assert list(result["models"]) == ["dense-run/model", "near-run/model"]
    assert result["models"]["near-run/model"]["mixing"] == ["window(8)", "full"]
