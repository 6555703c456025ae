"""Models with a state: nothing looks ahead, one token at a time gives what all at once gives, as PyTorch's own layers do."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from malmoi.core.errors import UserError
from malmoi.layers.gated_convolution import GatedConvolution
from malmoi.models.convolution import ConvolutionConfig
from malmoi.models.initialize import initialize
from malmoi.models.lstm import LSTMConfig
from malmoi.models.registry import build_model, meta_model
from malmoi.models.state_space import StateSpaceConfig

SIZE = {"vocabulary": 31, "width": 16, "layers": 2}
CONFIGS = {
    "lstm": LSTMConfig(**SIZE),
    "lstm with a head of its own": LSTMConfig(**SIZE, tied=False, truncation=5),
    "lstm with residual layers": LSTMConfig(**SIZE, residual=True),
    "convolution": ConvolutionConfig(**SIZE, reach=4, dilations=2),
    "convolution without gaps": ConvolutionConfig(**SIZE, dilations=1),
    "state space": StateSpaceConfig(**SIZE, head_width=8, state=4),
    "state space of one head": StateSpaceConfig(**SIZE, expansion=1, head_width=16, state=3, reach=2, tied=False),
}


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS.keys())
def model(request, shake):
    return shake(build_model(request.param, seed=3), deviation=0.2)


@pytest.fixture
def tokens():
    return torch.randint(31, (3, 20), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
@pytest.mark.parametrize("place", range(20))
def test_nothing_looks_ahead(model, tokens, place):
    changed = tokens.clone()
    changed[:, place] = (changed[:, place] + 1) % 31
    before, after = model.logits(tokens), model.logits(changed)
    assert torch.equal(before[:, :place], after[:, :place])
    assert (before[:, place] - after[:, place]).abs().amax(-1).min() > 1e-5  # and the token itself is seen


@torch.no_grad()
@pytest.mark.parametrize("chunks", [[20], [1] * 20, [7, 1, 1, 11], [2, 18]], ids=str)
def test_with_the_cache_as_without(model, tokens, chunks):
    cache = model.cache(rows=3, length=24)
    parts = torch.cat([model.logits(part, cache) for part in tokens.split(chunks, dim=1)], dim=1)
    assert cache.length == 20
    torch.testing.assert_close(parts, model.logits(tokens), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_state_cannot_go_back_and_says_so(model, tokens):
    cache = model.cache(rows=3, length=24)
    model(tokens, cache)
    assert cache.crop(20) == 20
    assert cache.crop(9) == cache.length == 0
    torch.testing.assert_close(model.logits(tokens[:, 3:8], cache), model.logits(tokens[:, 3:8]), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_repeated_cache_goes_on_in_every_row_and_leaves_the_first_alone(model, tokens):
    cache = model.cache(rows=1, length=8)
    model(tokens[:1, :8], cache)
    wider = cache.repeat(2, 24)
    rest = tokens[1:, 8:]
    whole = model.logits(torch.cat([tokens[:1, :8].expand(2, -1), rest], dim=1))
    torch.testing.assert_close(model.logits(rest, wider), whole[:, 8:], rtol=1e-5, atol=1e-5)
    assert (cache.length, wider.length) == (8, 20)


@torch.no_grad()
def test_an_interrupted_step_leaves_no_trace(model, tokens):
    cache = model.cache(rows=3, length=24)
    model(tokens[:, :10], cache)

    def interrupt(*_):
        raise KeyboardInterrupt

    hook = model.blocks[1].register_forward_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        model(tokens[:, 10:12], cache)
    hook.remove()
    torch.testing.assert_close(model.logits(tokens[:, 10:], cache), model.logits(tokens)[:, 10:], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_memory_does_not_grow_with_the_text(model, tokens):
    caches = [model.cache(1, length) for length in (8, 100_000)]
    for _ in range(4):
        model(tokens[:1], caches[1])
    assert caches[0].bytes == caches[1].bytes
    assert len({tensor.untyped_storage().data_ptr() for state in caches[1].states for tensor in state}) > 1
    assert sum(tensor.untyped_storage().nbytes() for state in caches[1].states for tensor in state) == caches[1].bytes


def test_more_than_the_cache_was_made_for_is_refused(model, tokens):
    with pytest.raises(UserError, match="20 tokens do not fit into the context of 8"):
        model(tokens, model.cache(3, 8))


def test_every_parameter_gets_its_first_value_and_there_are_no_buffers(model):
    empty = meta_model(model.config).to_empty(device="cpu")
    with torch.no_grad():
        for parameter in empty.parameters():
            parameter.fill_(torch.nan)
    initialize(empty, seed=5)
    assert all(parameter.isfinite().all() for parameter in empty.parameters())
    assert list(empty.buffers()) == []


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16], ids=str)
def test_autocast_gives_about_the_same_with_gradients(model, tokens, precision):
    whole = model.logits(tokens)
    with torch.autocast("cpu", dtype=precision):
        short = model.logits(tokens)
    short.float().sum().backward()
    assert (short.float() - whole).norm() < 0.05 * whole.norm()
    assert all(parameter.grad is not None for parameter in model.parameters())


@torch.no_grad()
def test_a_model_in_a_short_format_generates(model, tokens):
    short = model.to(torch.bfloat16)
    cache = short.cache(3, 24)
    for part in tokens.split(10, dim=1):
        logits = short.logits(part, cache)
    whole = short.logits(tokens)[:, 10:]
    assert (logits - whole).float().norm() < 0.05 * whole.float().norm()


def test_the_lstm_is_that_of_torch(tokens, shake):
    ours = shake(build_model(LSTMConfig(**SIZE), seed=3), deviation=0.2)
    theirs = nn.LSTM(16, 16, num_layers=2, batch_first=True)
    for layer, block in enumerate(ours.blocks):
        for name, parameter in block.recurrence.named_parameters():
            theirs.get_parameter(name.replace("l0", f"l{layer}")).data.copy_(parameter)
    hidden, (last, cell) = theirs(F.embedding(tokens, ours.embedding.weight))
    torch.testing.assert_close(ours.logits(tokens), hidden @ ours.embedding.weight.T, rtol=1e-5, atol=1e-5)
    cache = ours.cache(3, 20)
    ours(tokens, cache)
    kept = [torch.stack(states) for states in zip(*cache.states, strict=True)]
    torch.testing.assert_close(kept, [last, cell], rtol=1e-5, atol=1e-5)


def test_truncation_changes_gradients_and_nothing_else(tokens, shake):
    whole, cut = (build_model(LSTMConfig(**SIZE, truncation=reach), seed=3).train() for reach in (0, 5))
    torch.testing.assert_close(whole(tokens), cut(tokens))
    for model in (whole, cut):
        model(tokens)[:, 7].sum().backward()
    assert whole.embedding.weight.grad[tokens[:, 2]].norm() > 0
    reached = torch.zeros(31, dtype=torch.bool)
    reached[tokens[:, 5:8]] = True
    assert cut.embedding.weight.grad[~reached].norm() == 0
    assert whole.embedding.weight.grad[~reached].norm() > 0


def test_the_gated_convolution_is_that_of_torch():
    torch.manual_seed(0)
    ours, hidden = GatedConvolution(6, reach=3, dilation=2), torch.randn(2, 11, 6)
    filters = ours.up.weight.view(12, 3, 6).transpose(1, 2)
    theirs = F.conv1d(F.pad(hidden.mT, (4, 0)), filters, ours.up.bias, dilation=2).mT
    torch.testing.assert_close(ours(hidden, torch.zeros(2, 4, 6))[0], F.glu(theirs, -1), rtol=1e-5, atol=1e-5)


def test_the_state_space_is_that_of_transformers(tokens, shake):
    """With their Mamba-2, whose block has the same parts under other names."""
    from transformers import Mamba2Config, Mamba2ForCausalLM

    config = StateSpaceConfig(**SIZE, head_width=8, state=4, norm_epsilon=1e-5)
    ours = shake(build_model(config, seed=3), deviation=0.2)
    theirs = Mamba2ForCausalLM(
        Mamba2Config(
            vocab_size=31, hidden_size=16, num_hidden_layers=2, num_heads=4, head_dim=8, state_size=4, n_groups=1,
            expand=2, conv_kernel=4, use_conv_bias=False, chunk_size=8, tie_word_embeddings=True, rms_norm=True,
        )
    ).eval()  # fmt: skip
    state = {"backbone.embeddings.weight": ours.embedding.weight, "backbone.norm_f.weight": ours.norm.weight}
    state["lm_head.weight"] = ours.embedding.weight
    names = {
        "norm": "norm", "mixer.in_proj": "up", "mixer.conv1d": "convolution", "mixer.norm": "gated_norm",
        "mixer.out_proj": "output",
    }  # fmt: skip
    for index, block in enumerate(ours.blocks):
        prefix = f"backbone.layers.{index}"
        for their, our in names.items():
            weight = block.get_submodule(our).weight
            state[f"{prefix}.{their}.weight"] = weight.T[:, None] if our == "convolution" else weight
        pace = block.pace
        state |= dict(
            zip([f"{prefix}.mixer.{name}" for name in ("A_log", "dt_bias", "D")], pace.parameters(), strict=True)
        )
    theirs.load_state_dict(state)
    torch.testing.assert_close(ours.logits(tokens), theirs(tokens).logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "fields", "sentence"),
    [
        (StateSpaceConfig, {"head_width": 7}, "head_width=7 does not divide"),
        (ConvolutionConfig, {"dilations": 40}, "less than or equal to 12"),
        (ConvolutionConfig, {"reach": 1}, "greater than or equal to 2"),
        (LSTMConfig, {"truncation": -1}, "greater than or equal to 0"),
    ],
)
def test_shapes_that_cannot_be_are_refused(kind, fields, sentence):
    with pytest.raises(ValueError, match=sentence):
        kind(**SIZE, **fields)
