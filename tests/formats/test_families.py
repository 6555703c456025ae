"""Checkpoints of the families that only malmoi opens: back bit by bit in a new process, and refused elsewhere by name."""

import json
import subprocess
import sys

import pytest
import torch

from malmoi.core.errors import UserError
from malmoi.core.hashing import hash_file
from malmoi.formats.checkpoint import load_checkpoint, save_checkpoint
from malmoi.formats.gguf_export import export_gguf
from malmoi.formats.onnx_export import export_onnx
from malmoi.layers.low_rank import apply_low_rank
from malmoi.models.classifier import Classifier
from malmoi.models.registry import build_model, language_models

TOKENS = torch.randint(200, (2, 12), generator=torch.Generator().manual_seed(0))
STATEFUL = [name for name in language_models() if name != "gpt"]
AGAIN = """
import sys
from pathlib import Path
from malmoi.formats.checkpoint import load_checkpoint, save_checkpoint
for path in map(Path, sys.argv[1:]):
    one = load_checkpoint(path)
    save_checkpoint(path / "again", one.model, one.tokenizer, "")
"""


@pytest.fixture(scope="module")
def make(tokenizer, shake):
    """Makes a model of a family."""

    def make(name):
        kind = language_models()[name]
        return shake(build_model(kind(vocabulary=tokenizer.size, width=32, layers=2, dropout=0.1), seed=1))

    return make


@pytest.fixture(params=STATEFUL)
def model(request, make):
    return make(request.param)


def test_each_comes_back_bit_by_bit_in_another_process(make, tokenizer, tmp_path):
    models = {name: make(name) for name in STATEFUL}
    for name, model in models.items():
        save_checkpoint(tmp_path / name, model, tokenizer, "# 카드")
    subprocess.run([sys.executable, "-c", AGAIN, *(tmp_path / name for name in STATEFUL)], check=True)
    for name, model in models.items():
        files = [tmp_path / name / place / "model.safetensors" for place in (".", "again")]
        assert hash_file(files[0]) == hash_file(files[1])
        again = load_checkpoint(tmp_path / name / "again")
        assert again.language_model.config == model.config
        assert torch.equal(again.model.logits(TOKENS), model.logits(TOKENS))
        assert "only malmoi opens it" in load_checkpoint(tmp_path / name).card


def test_a_classifier_can_stand_on_it(model, tokenizer, tmp_path):
    classifier, lengths = Classifier(model, ["가", "나"]).eval(), torch.tensor([5, 12])
    save_checkpoint(tmp_path, classifier, tokenizer, "")
    scores = load_checkpoint(tmp_path).model(TOKENS, lengths)
    assert torch.equal(scores, classifier(TOKENS, lengths))
    torch.testing.assert_close(scores[:1], classifier(TOKENS[:1, :5], lengths[:1]))  # the padding is never looked at
    with pytest.raises(UserError, match=r"does not go to ONNX.*malmoi itself runs it"):
        export_onnx(classifier, tokenizer, tmp_path / "onnx")


def test_other_programs_are_refused_with_what_fits(model, tokenizer, tmp_path):
    with pytest.raises(UserError, match=r"llama.cpp has no model like malmoi's family .*malmoi itself runs this one"):
        export_gguf(model, tokenizer, tmp_path / "model.gguf")
    with pytest.raises(UserError, match="does not go to ONNX"):
        export_onnx(model, tokenizer, tmp_path / "onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_states_other_sizes_is_refused(model, tokenizer, tmp_path):
    save_checkpoint(tmp_path, model, tokenizer, "")
    path = tmp_path / "config.json"
    for field, value in (("width", 1 << 40), ("layers", 10**9), ("width", 64), ("dilatons", 3)):
        fields = json.loads(path.read_text())
        path.write_text(json.dumps(fields | {field: value}))
        if field in fields:
            with pytest.raises(UserError):
                load_checkpoint(tmp_path)
        path.write_text(json.dumps(fields))


def test_low_rank_differences_need_linear_layers(model):
    if model.config.mixing == ["lstm"]:
        with pytest.raises(UserError, match=r"no linear layer.*train=all"):
            apply_low_rank(model)
    else:
        apply_low_rank(model)
        assert any(parameter.requires_grad for parameter in model.parameters())
