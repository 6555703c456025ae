"""The memory that is expected of small models of every family beside what a training step on the CPU really holds.

Every storage that an operation makes is counted from its birth to its end: parameters, gradients and the optimizers'
states by walking over them, activations as what a forward pass leaves alive. Expected is what a training in several
processes is checked with before it begins ("weighed"), and of decoder-only transformers what `malmoi plan` says.

    python benchmarks/plan_memory.py
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import torch

from malmoi.core.files import write_json
from malmoi.data.batch import IGNORED, Batch, MaskedBatch, TextBatch
from malmoi.data.pair_batches import PairBatch
from malmoi.models.convolution import ConvolutionConfig
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.lstm import LSTMConfig
from malmoi.models.model import ModelConfig
from malmoi.models.presets import preset
from malmoi.models.registry import build_model, meta_model
from malmoi.models.seq2seq_config import EncoderDecoderConfig
from malmoi.models.state_space import StateSpaceConfig
from malmoi.objectives.causal import Causal
from malmoi.objectives.masked import Masked
from malmoi.objectives.objective import Objective
from malmoi.objectives.sequence_to_sequence import SequenceToSequence
from malmoi.parallel.layout import Layout
from malmoi.pipeline.planning.job import Job
from malmoi.pipeline.planning.memory import as_dict, process_memory
from malmoi.train.optimizers import build_optimizers
from malmoi.train.precision import autocast
from malmoi.train.recompute import recomputing
from malmoi.train.settings import TrainerSettings
from malmoi.train.shared_training import SharedTraining
from malmoi.train.weighing import Alive

RESULTS = Path(__file__).parent / "results" / "plan-memory.json"

SHAPES: dict[str, tuple[ModelConfig, int, int]] = {
    "qwen3-shaped, 6 x 192": (GPTConfig(vocabulary=2_048, context=256, width=192, layers=6, heads=6), 4, 256),
    "qwen3-shaped, 4 x 128, 2 key heads, own head": (
        GPTConfig(vocabulary=4_096, context=512, width=128, layers=4, heads=4, key_value_heads=2, tied=False),
        2,
        512,
    ),
    "gpt-2-shaped, 4 x 128": (
        preset("gpt2").model_copy(
            update={
                "vocabulary": 3_001,
                "context": 256,
                "width": 128,
                "layers": 4,
                "heads": 4,
                "key_value_heads": 4,
                "head_width": 32,
                "feed_forward": 512,
            }
        ),
        8,
        256,
    ),
    "bert-shaped, 4 x 192": (
        EncoderConfig(
            vocabulary=4_001, context=256, width=192, layers=4, heads=6, feed_forward=768, masked_head=True, dropout=0.1
        ),
        8,
        256,
    ),
    "translator of 2017, 3 + 3 x 128": (
        EncoderDecoderConfig(
            vocabulary=3_001, context=128, width=128, layers=3, decoder_layers=3, heads=4, feed_forward=512, start=0
        ),
        8,
        128,
    ),
    "lstm, 3 x 192": (LSTMConfig(vocabulary=2_048, context=128, width=192, layers=3, residual=True), 8, 128),
    "convolution, 4 x 192": (ConvolutionConfig(vocabulary=2_048, context=256, width=192, layers=4), 8, 256),
    "state-space, 3 x 128": (StateSpaceConfig(vocabulary=2_048, context=128, width=128, layers=3), 4, 128),
}


def task(config: ModelConfig, rows: int, length: int) -> tuple[Objective, Batch]:
    """What a family is trained with, on random tokens."""
    torch.manual_seed(0)
    tokens = torch.randint(1, config.vocabulary, (rows, length))
    lengths = torch.full((rows,), length)
    if isinstance(config, EncoderConfig):
        hidden = torch.rand(rows, length) < 0.15
        return Masked(), MaskedBatch(tokens, lengths, tokens.masked_fill(~hidden, IGNORED))
    if isinstance(config, EncoderDecoderConfig):
        return SequenceToSequence(0.1), PairBatch(tokens, lengths, tokens.roll(1, 1), tokens)
    return Causal(), TextBatch(tokens, tokens)


def measure(config: ModelConfig, objective: Objective, batch: Batch, settings: TrainerSettings) -> dict[str, int]:
    """Bytes of the second step of a training; the first one makes the optimizers' states."""
    device = torch.device("cpu")
    model = build_model(config, 0).train()
    optimizers = build_optimizers(model, settings)

    def loss() -> torch.Tensor:
        with autocast(device, settings.precision):
            return objective.loss(model, batch.to(device)).total

    with recomputing(model, settings.recompute):
        loss().backward()
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()
    alive = Alive()
    for parameter in model.parameters():
        alive.meet(parameter)
    parameters = alive.bytes
    with alive, recomputing(model, settings.recompute):
        total = loss()
        activations = alive.bytes - parameters
        total.backward()
    gradients = sum(parameter.grad.nbytes for parameter in model.parameters() if parameter.grad is not None)
    states = sum(
        value.nbytes
        for optimizer in optimizers
        for state in optimizer.state.values()
        for value in state.values()
        if isinstance(value, torch.Tensor)
    )
    return {
        "parameters": parameters,
        "gradients": gradients,
        "states": states,
        "activations": activations,
        "peak": alive.most + states,
    }


def expect(config: ModelConfig, objective: Objective, batch: Batch, settings: TrainerSettings) -> dict[str, Any]:
    """The same as it is estimated, by who estimates it."""
    precision, alone = settings.precision, Layout()
    assert precision != "auto"
    training = SharedTraining(meta_model(config), config, objective, batch, settings, precision)
    expected = {"weighed": as_dict(training.fullest(alone))}
    if isinstance(config, GPTConfig):
        rows, length = batch.tokens.shape
        job = Job(config, alone, rows, rows, length, precision, settings.recompute, settings, device="cpu")
        expected["planned"] = as_dict(process_memory(job, 0))
    return expected


def main() -> None:
    """Print and write a line for every shape and setting."""
    torch.set_num_threads(1)
    lines = []
    for name, precision, recompute, optimizer in itertools.product(
        SHAPES, ("float32", "bfloat16"), ("", "blocks", "feed_forward"), ("adamw", "muon")
    ):
        config, rows, length = SHAPES[name]
        if recompute == "feed_forward" and isinstance(config, LSTMConfig | ConvolutionConfig | StateSpaceConfig):
            continue  # their blocks have no such part
        words = {"precision": precision, "recompute": recompute, "optimizer": optimizer}
        settings = TrainerSettings(steps=1, **words)
        objective, batch = task(config, rows, length)
        measured = measure(config, objective, batch, settings)
        for by, expected in expect(config, objective, batch, settings).items():
            off = {part: expected[part] / measured[part] - 1 for part in measured}
            lines.append({"model": name, **words, "by": by, "measured": measured, "expected": expected, "off": off})
            print(f"{name:45} {precision:9} {recompute or '-':13} {optimizer:6} {by:8}", end="")
            print(" ".join(f"{part} {share:+.1%}" for part, share in off.items()))
    worst = {
        by: {part: max((line["off"][part] for line in lines if line["by"] == by), key=abs) for part in lines[0]["off"]}
        for by in ("weighed", "planned")
    }
    for by, parts in worst.items():
        print(f"{by}, furthest off:", ", ".join(f"{part} {share:+.1%}" for part, share in parts.items()))
    write_json(RESULTS, {"worst": worst, "lines": lines})


if __name__ == "__main__":
    main()
