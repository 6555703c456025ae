"""Steps of a compression, and checkpoints that hold fewer numbers."""

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from malmoi.compress.calibration import Calibration, Statistic
from malmoi.compress.gptq import gptq_matrix
from malmoi.compress.methods.int4 import Int4
from malmoi.compress.methods.int8 import Int8
from malmoi.compress.registry import RECIPES, find_steps
from malmoi.compress.rounding import int4_matrix
from malmoi.core.errors import UserError
from malmoi.formats.checkpoint import load_checkpoint, save_checkpoint
from malmoi.layers.compressed import CompressedLinear, compressed_layers, decompress
from malmoi.layers.low_rank import apply_low_rank, merge_low_rank
from malmoi.layers.matrices.int4 import Int4Settings
from malmoi.models.registry import build_model
from malmoi.models.seq2seq_config import EncoderDecoderConfig

ROWS = [list(range(1, 60)), list(range(200, 100, -2))]
TOKENS = torch.tensor([ROWS[0]])
METHODS = {"int8": Int8(), "int8-dynamic": Int8(activations=True), "int4": Int4(), "rounded": Int4(rounding="nearest")}


def statistic_of(inputs):
    return Statistic(inputs.t() @ inputs / len(inputs), len(inputs))


@pytest.fixture
def model(make_model, shake):
    return shake(make_model(width=64, tied=True)).eval()


@pytest.fixture
def calibration():
    return Calibration(ROWS)


@pytest.mark.parametrize("name", METHODS)
def test_a_saved_model_is_the_same_to_the_bit(name, model, calibration, tokenizer, tmp_path):
    METHODS[name].apply(model, calibration)
    save_checkpoint(tmp_path / "small", model, tokenizer, "")
    loaded = load_checkpoint(tmp_path / "small").model
    assert torch.equal(loaded.logits(TOKENS), model.logits(TOKENS))


def test_a_process_that_knows_nothing_opens_it(model, calibration, tokenizer, tmp_path):
    Int4().apply(model, calibration)
    save_checkpoint(tmp_path / "small", model, tokenizer, "")
    script = (
        "import sys, torch; from pathlib import Path; from malmoi.formats.checkpoint import load_checkpoint\n"
        "torch.set_num_threads(1)\n"
        "model = load_checkpoint(Path(sys.argv[1])).model\n"
        "print(float(model.logits(torch.tensor([list(range(1, 60))])).double().sum()))"
    )
    finished = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "small")], capture_output=True, text=True, check=True
    )
    assert float(finished.stdout) == pytest.approx(float(model.logits(TOKENS).detach().double().sum()), rel=1e-6)


@pytest.mark.parametrize("name", ["int8", "int4"])
def test_a_tied_head_stays_tied(name, model, calibration):
    METHODS[name].apply(model, calibration)
    assert model.head.embedding is model.embedding
    assert torch.equal(model.head.weight, model.embedding.weight)


def test_the_model_computes_nearly_the_same(model, calibration):
    before = model.logits(TOKENS).detach()
    Int8().apply(model, calibration)
    assert float((model.logits(TOKENS).detach() - before).norm() / before.norm()) < 0.03


def test_plain_layers_come_back(model, calibration):
    Int4().apply(model, calibration)
    plain = copy.deepcopy(model)
    decompress(plain)
    assert not compressed_layers(plain)
    assert torch.allclose(plain.logits(TOKENS), model.logits(TOKENS), atol=1e-4)


def test_layers_that_read_the_same_share_their_statistic(model, calibration):
    names = ["blocks.0.attention.query", "blocks.0.attention.value", "blocks.0.feed_forward.down"]
    query, value, down = calibration.statistics(model, names).values()
    assert query is value
    assert down.products.shape == (model.config.feed_forward,) * 2
    assert query.tokens == sum(map(len, ROWS))


def test_the_statistic_is_the_mean_of_products(model):
    seen = []
    layer = model.get_submodule("blocks.1.feed_forward.up")
    layer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0][0].detach()))
    found = Calibration(ROWS[:1]).statistics(model, ["blocks.1.feed_forward.up"])
    expected = torch.stack([torch.outer(row, row) for row in seen[0]]).mean(0)
    assert torch.allclose(found["blocks.1.feed_forward.up"].products, expected, atol=1e-5)


def test_an_embedding_is_rounded_by_what_its_head_reads_where_that_is_of_use(model):
    rounded, read, unread = (copy.deepcopy(model) for _ in range(3))
    Int4(rounding="nearest").apply(rounded, Calibration(ROWS))
    Int4().apply(read, Calibration(ROWS))
    Int4().apply(unread, Calibration(ROWS, heads=False))
    assert torch.equal(unread.embedding.weight, rounded.embedding.weight)
    assert not torch.equal(read.embedding.weight, rounded.embedding.weight)


def test_layers_that_nothing_flows_into_are_rounded_to_the_nearest(make_model, shake):
    model = shake(make_model(width=64, tied=False))
    Int4().apply(model, Calibration(ROWS, heads=False))
    assert isinstance(model.head, CompressedLinear)


def test_a_translator_has_no_text_to_read():
    translator = build_model(
        EncoderDecoderConfig(vocabulary=290, context=64, width=64, layers=1, heads=4, start=0), seed=0
    )
    with pytest.raises(UserError, match="a translator reads pairs.*rounding: nearest"):
        Int4().apply(translator, Calibration(ROWS))


def test_gptq_spoils_outputs_less_than_rounding():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(32, 64, generator=generator)
    inputs = torch.randn(500, 8, generator=generator) @ torch.randn(8, 64, generator=generator)
    inputs += 0.1 * torch.randn(500, 64, generator=generator)
    statistic = statistic_of(inputs)
    errors = [
        float((inputs @ (matrix.dense() - weight).t()).norm())
        for matrix in (int4_matrix(weight, Int4Settings()), gptq_matrix(weight, Int4Settings(), statistic))
    ]
    assert errors[1] < 0.45 * errors[0]


def test_scales_are_the_best_for_the_codes():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(8, 64, generator=generator)
    inputs = torch.randn(500, 64, generator=generator) * torch.logspace(0, -1, 64)
    matrix = gptq_matrix(weight, Int4Settings(), statistic_of(inputs))
    codes = (
        (matrix.dense().view(8, 2, 32) - matrix.least.float()[..., None]) / matrix.scale.float()[..., None]
    ).round()
    for row in range(8):  # what least squares make of each input's code and of a one in its group
        columns = [
            inputs[:, 32 * group :][:, :32] @ part for group in (0, 1) for part in (codes[row, group], torch.ones(32))
        ]
        wanted = inputs @ weight[row]
        best = torch.linalg.lstsq(torch.stack(columns, 1), wanted[:, None])
        least = float((torch.stack(columns, 1) @ best.solution - wanted[:, None]).norm())
        assert float((inputs @ matrix.dense()[row] - wanted).norm()) < 1.01 * least


def test_what_four_bits_hold_exactly_stays_as_it_is():
    steps = torch.arange(16.0).repeat(4, 4) * 0.25 - 1
    statistic = statistic_of(torch.randn(90, 64, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(gptq_matrix(steps, Int4Settings(), statistic).dense(), steps)


def test_an_input_that_is_never_there_does_no_harm():
    inputs = torch.randn(50, 32, generator=torch.Generator().manual_seed(0))
    inputs[:, 5] = 0
    matrix = gptq_matrix(torch.ones(4, 32), Int4Settings(), statistic_of(inputs))
    assert matrix.dense().isfinite().all()


def test_differences_learn_on_frozen_codes(model, calibration, tokenizer, tmp_path):
    Int4().apply(model, calibration)
    apply_low_rank(model, rank=2)
    model.logits(TOKENS).logsumexp(-1).sum().backward()
    learning = {name.rsplit(".", 1)[-1] for name, one in model.named_parameters() if one.grad is not None}
    assert learning == {"narrow", "widen"}
    nn.init.normal_(model.get_submodule("blocks.0.attention.query").widen, std=0.1)
    before = model.logits(TOKENS)
    merge_low_rank(model)
    assert not isinstance(model.get_submodule("blocks.0.attention.query"), CompressedLinear)
    assert torch.allclose(model.logits(TOKENS), before, atol=1e-3)
    save_checkpoint(tmp_path / "merged", model, tokenizer, "")
    assert torch.equal(load_checkpoint(tmp_path / "merged").model.logits(TOKENS), model.logits(TOKENS))


def test_a_pattern_that_matches_nothing_is_refused(model, calibration):
    with pytest.raises(UserError, match="no layer 'blocks.0.attention.qery'"):
        Int8(layers=["blocks.0.attention.qery"]).apply(model, calibration)


def test_compressing_twice_is_refused(model, calibration):
    Int8().apply(model, calibration)
    with pytest.raises(UserError, match="held as int8 already"):
        Int4().apply(model, calibration)


def test_gptq_without_text_is_refused(model):
    with pytest.raises(UserError, match="Name a corpus"):
        Int4().apply(model, Calibration())


@pytest.mark.parametrize("name", RECIPES)
def test_named_recipes_have_steps(name):
    assert find_steps(name)


def test_an_unknown_recipe_is_answered_with_the_nearest():
    with pytest.raises(UserError, match="Did you mean 'int8'"):
        find_steps("int88")


def test_a_wrong_setting_of_a_file_is_named(tmp_path):
    (tmp_path / "small.yaml").write_text("steps: [{method: int4, group: 33}]")
    with pytest.raises(UserError, match="group"):
        find_steps(str(tmp_path / "small.yaml"))


def test_a_file_without_a_step_is_no_recipe(tmp_path):
    (tmp_path / "nothing.yaml").write_text("steps: []")
    with pytest.raises(UserError, match="'steps'.*at least 1"):
        find_steps(str(tmp_path / "nothing.yaml"))


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("int4", "does not say how"),
        ([{"matrix": "int4", "group": 32, "layers": ["blocks.7.nothing"]}], "does not have"),
        ([{"matrix": "int5", "layers": ["embedding"]}], "held as 'int5'"),
        ([{"matrix": "int8", "bits": 3, "layers": ["embedding"]}], "bits"),
    ],
)
def test_a_damaged_description_is_refused(field, words, model, calibration, tokenizer, tmp_path):
    from malmoi.core.files import read_json, write_json

    Int8().apply(model, calibration)
    save_checkpoint(tmp_path / "small", model, tokenizer, "")
    path = tmp_path / "small" / "config.json"
    write_json(path, read_json(path) | {"compression": field})
    with pytest.raises(UserError, match=words):
        load_checkpoint(tmp_path / "small")
