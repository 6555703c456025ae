"""The stage that makes a checkpoint smaller and says what is left of it."""

import json

import pytest
import torch

from malmoi.compress.measure import Costs
from malmoi.core.errors import UserError
from malmoi.corpus.build import Source, build_corpus
from malmoi.corpus.document import Document
from malmoi.corpus.settings import BuildSettings
from malmoi.data.batch import TextBatch
from malmoi.formats.checkpoint import load_checkpoint, save_checkpoint
from malmoi.layers.compressed import compressed_layers
from malmoi.models.classifier import Classifier
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.registry import build_model
from malmoi.objectives.causal import Causal
from malmoi.pipeline.stages import compress
from malmoi.pipeline.stages.compress import CompressSettings, run

TEXT = "{}: the fox saw the bear, the bear saw the wolf, the wolf saw the fox. 여우가 곰을, 곰이 늑대를, 늑대가 여우를 봅니다."


@pytest.fixture
def corpus(tmp_path):
    documents = [Document(TEXT.format(number), "tales") for number in range(60)]
    build_corpus([Source(lambda unreadable: iter(documents))], tmp_path / "corpus", BuildSettings(held_out=0.3))
    return tmp_path / "corpus"


@pytest.fixture
def untrained(make_model, tokenizer, tmp_path):
    save_checkpoint(tmp_path / "base", make_model(tied=True), tokenizer, "# A model\n")
    return tmp_path / "base"


@pytest.fixture
def trained(tokenizer, tmp_path):
    """A model that knows such texts better than a bigram model does."""
    shape = {"layers": 2, "heads": 4, "width": 64, "context": 128}
    model = build_model(GPTConfig(vocabulary=tokenizer.size, **shape), seed=0).train()
    rows = [tokenizer.encode(TEXT.format(number)) for number in range(100, 116)]
    ids = torch.tensor([[tokenizer.end, *row[:127]] for row in rows])
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(60):
        loss = Causal().loss(model, TextBatch(ids[:, :-1], ids[:, 1:]))
        (loss.total / loss.count).backward()
        optimizer.step()
        optimizer.zero_grad()
    save_checkpoint(tmp_path / "trained", model.eval(), tokenizer, "# A model\n")
    return tmp_path / "trained"


def test_the_card_has_both_models(trained, corpus, tmp_path, capsys):
    result = run(CompressSettings(checkpoint=trained, corpus=corpus, recipe="int4"), tmp_path / "small")
    original, smaller = result["models"].values()
    assert smaller["file_bytes"] < 0.3 * original["file_bytes"]
    assert original["quality"] < result["bigram"]
    assert smaller["quality"] == pytest.approx(original["quality"], rel=0.2)
    assert set(smaller["milliseconds"]) == {1, 256}
    card = load_checkpoint(tmp_path / "small").card
    assert card.startswith("# A model")
    assert "| bits per byte |" in card
    assert "bits per byte" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "small").iterdir()) == ["card.json", "model"]


@pytest.fixture
def known_costs(monkeypatch):
    """Without the processes of their own in which memory is measured."""
    monkeypatch.setattr(compress, "costs", lambda path: Costs(parameters=1, file_bytes=1, peak_memory=1))


@pytest.mark.usefixtures("known_costs")
def test_a_model_that_has_learned_nothing_is_not_compared(untrained, corpus, tmp_path):
    result = run(CompressSettings(checkpoint=untrained, corpus=corpus), tmp_path / "small")
    assert "a bigram model" in result["uncompared"]
    assert result["figure"] == ""
    assert "Quality is not compared" in load_checkpoint(tmp_path / "small").card


@pytest.mark.usefixtures("known_costs")
def test_steps_stand_for_a_recipe(untrained, tmp_path):
    settings = CompressSettings(checkpoint=untrained, steps=[{"method": "int8", "layers": ["blocks.*"]}])
    result = run(settings, tmp_path / "small")
    assert "No corpus is named" in result["uncompared"]
    model = load_checkpoint(tmp_path / "small").model
    assert all(name.startswith("blocks.") for name in compressed_layers(model))


@pytest.mark.usefixtures("known_costs")
def test_a_classifier_is_scored_on_what_it_was_tested_on(make_model, tokenizer, tmp_path):
    classifier = Classifier(make_model(tied=True), ["bad", "good"])
    save_checkpoint(tmp_path / "classify" / "model", classifier, tokenizer, "")
    texts = [{"text": text, "label": label, "pair": None} for text, label in [("여우", "good"), ("the bear", "bad")]]
    (tmp_path / "classify" / "tested.jsonl").write_text("\n".join(map(json.dumps, texts)))
    result = run(CompressSettings(checkpoint=tmp_path / "classify"), tmp_path / "small")
    assert result["figure"] == "accuracy"
    assert {one["quality"] for one in result["models"].values()} <= {0.0, 0.5, 1.0}


@pytest.mark.usefixtures("known_costs")
@pytest.mark.parametrize(("tested", "warned"), [("여우가 곰을 봅니다", False), ("the fox saw the bear", True)])
def test_a_corpus_in_a_language_that_a_classifier_does_not_read_is_told(
    make_model, tokenizer, tmp_path, capsys, tested, warned
):
    documents = [Document(f"{number}: 여우가 곰을, 곰이 늑대를 봅니다.", "이야기") for number in range(60)]
    build_corpus([Source(lambda unreadable: iter(documents))], tmp_path / "corpus", BuildSettings(held_out=0.3))
    save_checkpoint(tmp_path / "classify" / "model", Classifier(make_model(tied=True), ["나쁨", "좋음"]), tokenizer, "")
    record = {"text": tested, "label": "좋음", "pair": None}
    (tmp_path / "classify" / "tested.jsonl").write_text(json.dumps(record, ensure_ascii=False))
    settings = CompressSettings(checkpoint=tmp_path / "classify", corpus=tmp_path / "corpus", recipe="int4")
    run(settings, tmp_path / "small")
    assert ("The corpus is in 'ko'" in capsys.readouterr().out) == warned


@pytest.mark.usefixtures("known_costs")
def test_methods_that_look_need_a_corpus(untrained, tmp_path):
    with pytest.raises(UserError, match="Name a corpus"):
        run(CompressSettings(checkpoint=untrained, recipe="int4"), tmp_path / "small")


@pytest.mark.usefixtures("known_costs")
def test_what_was_lost_is_made_up_for_beside_the_original(trained, corpus, tmp_path):
    steps = [{"method": "structure", "feed_forward": 0.5}]
    settings = {"checkpoint": trained, "corpus": corpus, "steps": steps, "held_out_kibibytes": 2}
    cut = run(CompressSettings(**settings), tmp_path / "cut")
    recovered = run(CompressSettings(**settings, recover_steps=8, recover_rows=4, control=True), tmp_path / "recovered")
    assert recovered["models"]["compressed"]["quality"] < cut["models"]["compressed"]["quality"]
    assert recovered["recovery"]["steps"] == 8
    assert recovered["control"] != recovered["models"]["original"]["quality"]


@pytest.mark.usefixtures("known_costs")
def test_codes_learn_when_they_are_told_to(trained, corpus, tmp_path):
    steps = [{"method": "int4", "rounding": "nearest"}]
    settings = {"checkpoint": trained, "corpus": corpus, "steps": steps, "held_out_kibibytes": 2, "recover_steps": 4}
    settings["recover_learning_rate"] = 0.02
    codes = {}
    for learn in (False, True):
        run(CompressSettings(**settings, recover_codes=learn, recover_rows=2, control=learn), tmp_path / str(learn))
        layers = compressed_layers(load_checkpoint(tmp_path / str(learn)).model)
        codes[learn] = layers["blocks.0.feed_forward.up"].matrix.codes
    assert not torch.equal(codes[False], codes[True])


def test_a_training_without_text_is_refused(untrained, tmp_path):
    with pytest.raises(UserError, match="Set recover_steps"):
        run(CompressSettings(checkpoint=untrained, recover_codes=True), tmp_path / "small")
    with pytest.raises(UserError, match="none is named"):
        run(CompressSettings(checkpoint=untrained, recover_steps=5), tmp_path / "small")
