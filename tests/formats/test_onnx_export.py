"""ONNX Runtime gives what we give, whatever the number of rows and their length."""

import json

import onnxruntime
import pytest
import torch

from malmoi.core.errors import UserError
from malmoi.formats import onnx_export
from malmoi.formats.onnx_export import export_onnx
from malmoi.models.classifier import Classifier, TextForm
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.registry import build_model
from malmoi.tokenizers.train import TokenizerSettings, train_tokenizer

SHAPE = {"vocabulary": 270, "context": 24, "width": 32, "layers": 1, "heads": 4}
CLASSES = ["부정", "긍정", "neutral"]
MODELS = {
    "encoder": lambda: build_model(EncoderConfig(**SHAPE), seed=0),
    "classifier on an encoder": lambda: Classifier(build_model(EncoderConfig(**SHAPE), seed=0), CLASSES),
    "classifier of pairs": lambda: Classifier(
        build_model(EncoderConfig(**SHAPE), seed=0), CLASSES, form=TextForm(pair=True)
    ),
    "classifier on a language model": lambda: Classifier(
        build_model(GPTConfig(**SHAPE, key_value_heads=2, attention="window(6)"), seed=0), CLASSES
    ),
}


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["말모이는 낱말을 모은 사전이다."] * 2, TokenizerSettings(kind="byte", vocabulary=270))


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS.keys())
def test_the_same_numbers_and_what_lies_beside_them(make, tokenizer, tmp_path, shake):
    model = shake(make(), 0.2)
    export_onnx(model, tokenizer, tmp_path / "out")
    fields = json.loads((tmp_path / "out" / "config.json").read_text())
    assert list(fields.get("id2label", {}).values()) == getattr(model, "classes", [])
    assert (tmp_path / "out" / "tokenizer.json").is_file()
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx")
    for lengths in ([2], [20, 1, 9], [24, 24]):
        counts = torch.tensor(lengths)
        ids = torch.randint(270, (len(lengths), max(lengths)))
        mask = torch.arange(max(lengths)) < counts[:, None]
        inputs = {"input_ids": ids, "attention_mask": mask.long(), "token_type_ids": torch.randint(2, ids.shape)}
        named = {one.name: inputs[one.name].numpy() for one in session.get_inputs()}
        (got,) = session.run(None, named)
        wanted = model(ids, counts, inputs["token_type_ids"] if "token_type_ids" in named else None).detach()
        if wanted.dim() == 3:
            wanted, got = wanted[mask], got[mask.numpy()]
        torch.testing.assert_close(torch.from_numpy(got), wanted, rtol=1e-5, atol=1e-5)


def test_what_does_not_go(tokenizer, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="Only encoders and classifiers go to ONNX"):
        export_onnx(build_model(GPTConfig(**SHAPE), seed=0), tokenizer, tmp_path / "out")
    monkeypatch.setattr(onnx_export.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="ONNX needs onnx and onnxscript"):
        export_onnx(build_model(EncoderConfig(**SHAPE), seed=0), tokenizer, tmp_path / "out")
    assert not (tmp_path / "out").exists()
