"""A checkpoint comes back as it was, and what is not whole is named."""

import errno
import json
import os

import pytest
import torch
from safetensors.torch import load_file, save_file

from malmoi.core.errors import UserError
from malmoi.formats.checkpoint import load_checkpoint, save_checkpoint
from malmoi.layers.low_rank import apply_low_rank
from malmoi.models.classifier import Classifier
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.registry import build_model
from malmoi.tokenizers.train import TokenizerSettings, train_tokenizer

TOKENS = torch.randint(200, (2, 12), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["가나다 abc"], TokenizerSettings(kind="byte", vocabulary=259))


def small(**changes):
    shape = {"vocabulary": 259, "context": 24, "width": 32, "layers": 2, "heads": 4} | changes
    return build_model(GPTConfig(**shape), seed=0).eval()


@pytest.fixture
def saved(tokenizer, tmp_path):
    save_checkpoint(tmp_path / "model", small(), tokenizer, "# A card")
    return tmp_path / "model"


def test_what_only_we_have_comes_back_and_the_card_says_so(tokenizer, tmp_path):
    model = small(short_convolution=3, bigram_buckets=77, activation="relu2", dropout=0.1, tied=False)
    save_checkpoint(tmp_path / "model", model, tokenizer, "# A card")
    again = load_checkpoint(tmp_path)  # a stage's directory holds model/
    assert again.model.config == model.config
    assert not again.model.training
    assert torch.equal(again.model.logits(TOKENS), model.logits(TOKENS))
    assert "only malmoi opens it" in again.card
    classifier = Classifier(model, ["가", "나"])
    save_checkpoint(tmp_path / "classifier", classifier, tokenizer, "")
    lengths = torch.tensor([5, 12])
    assert torch.equal(load_checkpoint(tmp_path / "classifier").model(TOKENS, lengths), classifier(TOKENS, lengths))


def test_a_portable_card_is_left_alone(saved, tokenizer):
    again = load_checkpoint(saved)
    assert again.card == "# A card"
    assert again.tokenizer.encode("가나다 abc") == tokenizer.encode("가나다 abc")
    assert again.language_model is again.model


def test_weights_come_in_the_type_asked_for(saved):
    low = load_checkpoint(saved, dtype=torch.bfloat16).model
    assert {parameter.dtype for parameter in low.parameters()} == {torch.bfloat16}


def test_adapters_are_merged_in_the_file_alone(tokenizer, tmp_path):
    model = small()
    apply_low_rank(model)
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.1)
    before = model.logits(TOKENS)
    save_checkpoint(tmp_path, model, tokenizer, "")
    assert torch.equal(model.logits(TOKENS), before)
    torch.testing.assert_close(load_checkpoint(tmp_path).model.logits(TOKENS), before)


def test_a_classifier_writes_no_text(tokenizer, tmp_path):
    save_checkpoint(tmp_path, Classifier(small(), ["a", "b"]), tokenizer, "")
    with pytest.raises(UserError, match="is a classifier"):
        _ = load_checkpoint(tmp_path).language_model


def test_a_full_disk_leaves_the_old_checkpoint(saved, tokenizer, monkeypatch):
    before = (saved / "model.safetensors").read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("malmoi.core.tensor_file.open", full, raising=False)
    with pytest.raises(UserError, match="disk is full"):
        save_checkpoint(saved, small(tied=False), tokenizer, "")
    assert (saved / "model.safetensors").read_bytes() == before
    assert os.listdir(saved.parent) == ["model"]


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_weights_cut_short(saved, share):
    path = saved / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match="cut short or damaged"):
        load_checkpoint(saved)


def test_tensors_of_another_model_are_listed(saved):
    tensors = load_file(saved / "model.safetensors")
    tensors["model.norm.weight"] = torch.ones(33)
    tensors["model.stranger"] = tensors.pop("model.layers.1.mlp.up_proj.weight")
    save_file(tensors, saved / "model.safetensors")
    with pytest.raises(UserError) as caught:
        load_checkpoint(saved)
    message = str(caught.value)
    assert "missing:\n    model.layers.1.mlp.up_proj.weight (128, 32)" in message
    assert "unexpected:\n    model.stranger (128, 32)" in message
    assert "of another shape:\n    model.norm.weight: (33,) in the file, (32,) in the model" in message


def test_the_likely_reason_is_named(saved):
    fields = json.loads((saved / "config.json").read_text())

    def reason(**changes):
        (saved / "config.json").write_text(json.dumps(fields | changes))
        with pytest.raises(UserError) as caught:
            load_checkpoint(saved)
        return caught.value.way_out

    assert "tie_word_embeddings" in reason(tie_word_embeddings=False)
    assert "The file has 2 layers and config.json asks for 3" in reason(num_hidden_layers=3)
    assert "The file has 2 layers and config.json asks for 1" in reason(num_hidden_layers=1)
    assert "config.json says 300 the file has 259 rows" in reason(vocab_size=300)
    assert "names are those of qwen3 or qwen2 or mistral or llama" in reason(model_type="bert", hidden_act="gelu")


def test_numbers_that_are_not_finite(saved):
    tensors = load_file(saved / "model.safetensors")
    tensors["model.norm.weight"][3] = torch.nan
    save_file(tensors, saved / "model.safetensors")
    with pytest.raises(UserError, match=r"model.norm.weight holds numbers that are not finite"):
        load_checkpoint(saved)


def test_files_that_are_missing(saved, tmp_path):
    with pytest.raises(UserError, match=r"There is no folder .*nowhere\. Check the path"):
        load_checkpoint(tmp_path / "nowhere")
    (saved / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"no tokenizer.json"):
        load_checkpoint(saved)
    (saved / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"no model.safetensors"):
        load_checkpoint(saved)


def test_weights_that_pytorch_saved(saved):
    before = load_checkpoint(saved).model.logits(TOKENS)
    torch.save(load_file(saved / "model.safetensors"), saved / "pytorch_model.bin")
    (saved / "model.safetensors").unlink()
    assert torch.equal(load_checkpoint(saved).model.logits(TOKENS), before)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"model_type": "malmoi"}', '{"model_type": ["x"]}', '{"architectures": 5}']
)
def test_configurations_that_are_none(saved, content):
    (saved / "config.json").write_text(content)
    with pytest.raises(UserError, match=r"config.json"):
        load_checkpoint(saved)


@pytest.mark.parametrize("place", ["../elsewhere.safetensors", "/etc/passwd", "absent.safetensors", 7])
def test_an_index_that_leads_elsewhere(saved, place):
    (saved / "model.safetensors").rename(saved.parent / "elsewhere.safetensors")
    (saved / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"model.norm.weight": place}}))
    with pytest.raises(UserError, match="no file beside it"):
        load_checkpoint(saved)
