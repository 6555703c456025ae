"""Blocks that run compiled. The compiler itself is left out but once: tracing and its bookkeeping are what is ours."""

import os
import shutil

import pytest
import torch
from torch import nn

from malmoi.core.errors import UserError
from malmoi.core.files import read_json
from malmoi.data.batch import TextBatch
from malmoi.models.gpt import GPT
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.initialize import initialize
from malmoi.objectives.causal import Causal
from malmoi.parallel.spawn import run_on
from malmoi.train import compilation
from malmoi.train.settings import TrainerSettings
from malmoi.train.trainer import Trainer

STEPS = 8


class Text:
    """Random rows; from `kill_at` on the training is killed when it asks for them."""

    def __init__(self, kill_at=STEPS, lengths=(16,)) -> None:
        self.kill_at, self.lengths = kill_at, lengths

    def batch(self, step, slot):
        if step >= self.kill_at:
            raise KeyboardInterrupt
        generator = torch.Generator().manual_seed(10 * step + slot)
        tokens = torch.randint(40, (4, self.lengths[step % len(self.lengths)]), generator=generator)
        return TextBatch(tokens, tokens.roll(-1, 1))

    def validation(self):
        yield TextBatch(torch.arange(24).view(3, 8), torch.arange(24).view(3, 8))


class Mixing(nn.Module):
    """A block that costs a compiler little."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.dropout = nn.Linear(16, 16), nn.Dropout(0.1)

    def forward(self, hidden):
        return hidden + self.dropout(self.linear(hidden).tanh())


class Stack(nn.Module):
    """Embeddings, some of these, a head."""

    def __init__(self, layers=2) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(40, 16), nn.Linear(16, 40)
        self.blocks = nn.ModuleList(Mixing() for _ in range(layers))

    def forward(self, tokens):
        hidden = self.embedding(tokens)
        for block in self.blocks:
            hidden = block(hidden)
        return hidden


@pytest.fixture
def traced(monkeypatch):
    """Everything but the C++ compiler; compiled code is slower or faster than it would be, as a test says."""
    compiled = torch.compile
    monkeypatch.setattr(torch, "compile", lambda forward: compiled(forward, backend="eager"))
    monkeypatch.setattr(compilation, "WORTH_TRYING", 0.0)
    monkeypatch.setattr(compilation, "FASTER", 1e9)


def train(directory, source=None, model=None, **settings):
    model = model or Stack()
    initialize(model, 0)
    settings = {"steps": STEPS, "precision": "float32", "optimizer": "adamw"} | settings
    result = Trainer(model, Causal(), source or Text(), TrainerSettings(**settings), directory).run()
    return torch.cat([one.detach().flatten() for one in model.parameters()]), result


@pytest.mark.parametrize("recompute", ["", "blocks:2"])
def test_compiled_blocks_learn_the_same(tmp_path, traced, recompute):
    config = GPTConfig(vocabulary=40, context=16, width=16, layers=2, heads=2, dropout=0.1)
    plain, _ = train(tmp_path / "plain", model=GPT(config), compile="never")
    compiled, _ = train(tmp_path / "compiled", model=GPT(config), compile="always", recompute=recompute)
    assert read_json(tmp_path / "compiled" / "compile.json")["compiled"]
    torch.testing.assert_close(compiled, plain, atol=1e-4, rtol=1e-4)


def test_blocks_of_one_kind_are_compiled_once(tmp_path, traced):
    from torch._dynamo.utils import counters

    model = Stack(layers=5)
    counters.clear()
    seen = []
    forget = torch.compiler.reset
    torch.compiler.reset = lambda: (seen.append(counters["stats"]["unique_graphs"]), forget())
    try:
        train(tmp_path, model=model, compile="always")
    finally:
        torch.compiler.reset = forget
    assert seen == [1]
    assert "forward" not in vars(model.blocks[0]), "the model is as it was"


@pytest.mark.parametrize("killed_at", [2, 4, 6])
def test_a_killed_training_goes_on_with_the_choice_it_made(tmp_path, traced, monkeypatch, killed_at):
    settings = {"compile": "auto", "checkpoint_every": 1}
    untouched, _ = train(tmp_path / "untouched", **settings)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed", Text(killed_at), **settings)
    if killed_at > compilation.EAGER_STEPS:
        monkeypatch.setattr(compilation, "FASTER", 0.0)  # measured again, it would not be worth it
    again, _ = train(tmp_path / "killed", **settings)
    assert torch.equal(untouched, again)


def test_nothing_is_tried_in_a_short_training(tmp_path, traced, monkeypatch):
    monkeypatch.setattr(compilation, "WORTH_TRYING", 600.0)
    auto, _ = train(tmp_path / "auto")
    never, _ = train(tmp_path / "never", compile="never")
    assert torch.equal(auto, never)
    assert not (tmp_path / "auto" / "compile.json").exists()


def test_what_is_not_faster_is_not_taken(tmp_path, traced, monkeypatch):
    monkeypatch.setattr(compilation, "FASTER", 0.0)
    auto, _ = train(tmp_path / "auto")
    never, _ = train(tmp_path / "never", compile="never")
    assert torch.equal(auto, never)
    assert read_json(tmp_path / "auto" / "compile.json")["compiled"] is False


def test_without_a_compiler_it_goes_on_and_says_so(tmp_path, traced, monkeypatch, capsys):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    train(tmp_path)
    assert "there is no C++ compiler" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(UserError, match=r"compile=always.*no C\+\+ compiler.*compile=never"):
        train(tmp_path / "always", compile="always")


def test_a_compiler_that_fails_ends_no_training(tmp_path, traced, monkeypatch, capsys):
    def fails(forward):
        raise RuntimeError("Python.h: No such file or directory")

    monkeypatch.setattr(torch, "compile", fails)
    train(tmp_path)
    assert "Python.h: No such file" in " ".join(capsys.readouterr().out.split())


def test_parts_of_blocks_are_recomputed_plain(tmp_path, traced):
    with pytest.raises(UserError, match="parts of a block are computed again"):
        train(tmp_path, compile="always", recompute="linear")


def test_rows_of_many_lengths_stay_as_they_are(tmp_path, traced, capsys):
    train(tmp_path, Text(lengths=(16, 9)))
    assert "batches have different lengths" in " ".join(capsys.readouterr().out.split())


def test_frozen_blocks_stand_in_nothings_way(tmp_path, traced):
    model = Stack(layers=3)
    for part in (model.embedding, model.blocks[0]):
        part.requires_grad_(False)
    train(tmp_path, model=model)
    assert read_json(tmp_path / "compile.json")["compiled"]


def test_a_model_without_blocks_of_hidden_states_stays_as_it_is(tmp_path, traced, capsys):
    config = GPTConfig(vocabulary=40, context=16, width=16, layers=2, heads=2, reversible=True)
    train(tmp_path, model=GPT(config))
    assert "no blocks that take hidden states" in " ".join(capsys.readouterr().out.split())


def test_a_compiler_that_fails_where_a_training_goes_on_is_told(tmp_path, traced, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, Text(4), compile="always", checkpoint_every=1)

    def refuse(*_):
        raise OSError("컴파일러가 없습니다")

    monkeypatch.setattr(compilation.Region, "make", lambda region: torch._dynamo.optimize(refuse)(region.forward))
    with pytest.raises(UserError, match=r"has compiled blocks, and compiling a block failed \(OSError: 컴파일러가"):
        train(tmp_path, compile="always", checkpoint_every=1)


def really_compiled(directory):
    """Weights of a training that nobody killed, of one that was killed and went on, and of a plain one."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(directory / "cache")
    settings = {"compile": "always", "checkpoint_every": 1}
    untouched, _ = train(directory / "untouched", **settings)
    with pytest.raises(KeyboardInterrupt):
        train(directory / "killed", Text(4), **settings)
    again, _ = train(directory / "killed", **settings)
    plain, _ = train(directory / "plain", compile="never")
    return [weights.tolist() for weights in (untouched, again, plain)]


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_really_compiled_it_goes_on_with_the_same_bits(tmp_path):
    ((untouched, again, plain),) = run_on(1, really_compiled, tmp_path)
    assert untouched == again
    assert untouched != plain, "dropout is drawn otherwise, so that this was another training"
