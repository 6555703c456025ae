"""A low-rank difference saved alone: `peft` puts it on the base and gets our logits."""

import json

import peft
import pytest
import torch
import transformers

from malmoi.core.errors import UserError
from malmoi.formats.adapter import save_adapter
from malmoi.formats.checkpoint import save_checkpoint
from malmoi.layers.low_rank import apply_low_rank
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.registry import build_model
from malmoi.tokenizers.train import TokenizerSettings, train_tokenizer

TOKENS = torch.randint(200, (2, 12), generator=torch.Generator().manual_seed(0))
GPT2 = {"norm": "layer", "positions": "learned", "activation": "gelu", "bias": True, "query_key_norm": False}


def adapted():
    model = build_model(GPTConfig(vocabulary=259, context=24, width=32, layers=2, heads=4), seed=0).eval()
    apply_low_rank(model, rank=3, targets=["query", "gate", "down"])
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model


def test_peft_puts_it_on_the_base(tmp_path):
    tokenizer = train_tokenizer(["말모이"], TokenizerSettings(kind="byte", vocabulary=259))
    model = adapted()
    bare = build_model(model.config, seed=0)
    bare.load_state_dict({name.replace(".base.", "."): value for name, value in model.state_dict().items()
                          if not name.endswith(("narrow", "widen"))})  # fmt: skip
    save_checkpoint(tmp_path / "base", bare, tokenizer, "")
    save_adapter(tmp_path / "adapter", model, str(tmp_path / "base"))
    base = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    theirs = peft.PeftModel.from_pretrained(base, tmp_path / "adapter")
    with torch.no_grad():
        torch.testing.assert_close(theirs(TOKENS).logits, model.logits(TOKENS), rtol=1e-5, atol=1e-5)


def test_only_the_difference_is_in_it(tmp_path):
    save_adapter(tmp_path / "adapter", adapted(), "smollm2")
    fields = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (fields["base_model_name_or_path"], fields["r"]) == ("smollm2", 3)
    assert fields["target_modules"] == ["down_proj", "gate_proj", "q_proj"]
    assert (tmp_path / "adapter" / "adapter_model.safetensors").stat().st_size < 20_000


def test_what_has_no_place_is_refused(tmp_path):
    plain = build_model(GPTConfig(vocabulary=259, context=24, width=32, layers=1, heads=4), seed=0)
    with pytest.raises(UserError, match="no low-rank differences"):
        save_adapter(tmp_path / "a", plain, "x")
    gpt2 = build_model(GPTConfig(vocabulary=259, context=24, width=32, layers=1, heads=4, **GPT2), seed=0)
    apply_low_rank(gpt2, targets=["query"])
    with pytest.raises(UserError, match="stores several of the layers as one matrix"):
        save_adapter(tmp_path / "a", gpt2, "x")
    assert not (tmp_path / "a").exists()
