"""A pipeline of processes computes what one process does: losses, and the gradient of every parameter."""

import pytest
import torch
from torch.distributed.device_mesh import init_device_mesh

from malmoi.core.errors import UserError
from malmoi.data.batch import IGNORED, LabelledBatch, MaskedBatch, TextBatch
from malmoi.data.pair_batches import PairBatch
from malmoi.models.classifier import Classifier
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.lstm import LSTMConfig
from malmoi.models.registry import build_model
from malmoi.models.seq2seq_config import EncoderDecoderConfig
from malmoi.objectives.causal import Causal
from malmoi.objectives.classification import Classification
from malmoi.objectives.masked import Masked
from malmoi.objectives.sequence_to_sequence import SequenceToSequence
from malmoi.parallel.pipeline import Pipeline
from malmoi.parallel.schedule import layer_ranges
from malmoi.parallel.spawn import run_on
from malmoi.train.recompute import recomputing

ODD = 37
ROWS, LENGTH = 2, 6
SMALL = {"vocabulary": ODD, "context": 16, "width": 16, "heads": 2}
GPT = GPTConfig(**SMALL, layers=8, key_value_heads=1, feed_forward=24, tied=True)
ENCODER = EncoderConfig(**SMALL, layers=5, feed_forward=24, masked_head=True)
TRANSLATOR = EncoderDecoderConfig(**SMALL, layers=2, decoder_layers=3, feed_forward=24, start=0)


def gpt(**changes):
    return build_model(GPT.model_copy(update=changes), seed=1)


def classifier():
    return Classifier(
        build_model(ENCODER.model_copy(update={"masked_head": False, "pooler": "tanh"}), seed=1), ["여우", "곰"]
    )


MODELS = {
    "gpt": (gpt, Causal()),
    "gpt, own head, learned positions": (lambda: gpt(tied=False, positions="learned"), Causal()),
    "lstm": (lambda: build_model(LSTMConfig(vocabulary=ODD, width=16, layers=4), seed=1), Causal()),
    "encoder": (lambda: build_model(ENCODER, seed=1), Masked()),
    "classifier": (classifier, Classification()),
    "translator": (lambda: build_model(TRANSLATOR, seed=1), SequenceToSequence(0.1)),
    "translator, relative positions": (
        lambda: build_model(TRANSLATOR.model_copy(update={"positions": "relative"}), seed=1), SequenceToSequence()),
}  # fmt: skip


def batches_for(objective, count):
    """Of equal shapes, with unequal numbers of targets."""
    generator = torch.Generator().manual_seed(2)

    def words():
        return torch.randint(ODD, (ROWS, LENGTH), generator=generator)

    def some(values, number):
        return values.where(torch.arange(values.numel()).view_as(values) % 5 < number, IGNORED)

    made = []
    for number in range(count):
        lengths = torch.tensor([LENGTH, 3 + number % 3])
        if isinstance(objective, Causal):
            made.append(TextBatch(words(), some(words(), 1 + number % 5)))
        elif isinstance(objective, Masked):
            made.append(MaskedBatch(words(), lengths, some(words(), 1 + number % 4)))
        elif isinstance(objective, Classification):
            made.append(LabelledBatch(words(), lengths, torch.tensor([number % 2, IGNORED if number % 3 else 1])))
        else:
            made.append(PairBatch(words(), lengths, words()[:, 1:], some(words()[:, 1:], 2 + number % 3)))
    return made


def in_one_process(model, objective, batches, scale):
    losses = [objective.loss(model, batch) for batch in batches]
    sum(loss.total * scale for loss in losses).backward()
    metrics = {name: float(sum(loss.metrics[name] for loss in losses)) for name in losses[0].metrics}
    return float(sum(loss.total.detach() for loss in losses)), int(sum(loss.count for loss in losses)), metrics


def differences(cases):
    """For each case, of (model, schedule, micro-batches): by how much a pipeline of all processes is off."""
    mesh = init_device_mesh("cpu", (torch.distributed.get_world_size(),), mesh_dim_names=("pipeline",))
    return [difference(*case, mesh) for case in cases]


def distance(gradient, wanted):
    if wanted is None or gradient is None:
        return 0.0 if wanted is gradient else float("inf")
    return float((gradient - wanted).norm() / wanted.norm().clamp(min=1e-6))


def difference(name, schedule, count, mesh):
    build, objective = MODELS[name]
    whole = build().train()
    batches = batches_for(objective, count)
    total, number, _ = in_one_process(whole, objective, batches, 8.0)
    own = build().train()
    pipeline = Pipeline(own, lambda batch: objective.loss(own, batch), mesh, schedule)
    evaluated = pipeline.evaluate(batches[:3])
    before, _, metrics = in_one_process(build(), objective, batches[:3], 1.0)
    learned, _ = (pipeline.backward(batches, scale=4.0) for _ in range(2))  # twice: gradients add up
    kept = {parameter_name: parameter.grad for parameter_name, parameter in own.named_parameters()}
    return {
        "case": (name, schedule),
        "kept": sorted(kept),
        "all": sorted(dict(whole.named_parameters())),
        "repeated": sorted(pipeline.repeated),
        "counts": (int(learned.count), number),
        "totals": (float(learned.total) / total, float(evaluated.total) / before),
        "metrics": ({name: float(value) for name, value in evaluated.metrics.items()}, metrics),
        "gradients": max(distance(gradient, whole.get_parameter(one).grad) for one, gradient in kept.items()),
    }


def check(results):
    """`results` are those of `differences`, by process."""
    for of_processes in zip(*results, strict=True):
        case = of_processes[0]["case"]
        assert set().union(*(one["kept"] for one in of_processes)) == set(of_processes[0]["all"]), case
        counted_once = sum(len(one["kept"]) - len(one["repeated"]) for one in of_processes)
        assert counted_once == len(of_processes[0]["all"]), case
        assert all(len(one["kept"]) < len(one["all"]) for one in of_processes), case
        for one in of_processes:
            assert one["counts"][0] == one["counts"][1], case
            assert one["totals"] == pytest.approx((1, 1), rel=1e-5), case
            assert one["metrics"][0] == pytest.approx(one["metrics"][1], rel=1e-5), case
            assert one["gradients"] < 1e-5, case


def test_two_processes_compute_what_one_does():
    cases = [("gpt", schedule, 4) for schedule in ("gpipe", "1f1b", "interleaved", "zero-bubble")]
    cases += [(name, "1f1b", 2) for name in MODELS if name != "gpt"]
    cases += [("encoder", "zero-bubble", 4), ("translator, relative positions", "interleaved", 4)]
    check(run_on(2, differences, cases))


def test_four_processes_compute_what_one_does():
    check(run_on(4, differences, [("gpt", "1f1b", 5), ("gpt", "interleaved", 4)]))


def with_dropout(recomputed):
    """For each choice of what is recomputed: the losses of steps with the same and with other seeds, all gradients."""
    mesh = init_device_mesh("cpu", (2,), mesh_dim_names=("pipeline",))
    batches = batches_for(Causal(), 2)
    results = []
    for recompute in recomputed:
        own = gpt(layers=4, dropout=0.3).train()
        pipeline = Pipeline(own, lambda batch, model=own: Causal().loss(model, batch), mesh, "1f1b")
        with recomputing(own, recompute):
            losses = [float(pipeline.backward(batches, seeds=seeds).total) for seeds in ((3, 4), (3, 4), (5, 6))]
        results.append((losses, {name: parameter.grad for name, parameter in own.named_parameters()}))
    return results


def test_dropout_follows_the_seeds_and_is_the_same_when_activations_are_computed_again():
    for plain, *others in run_on(2, with_dropout, ["", "blocks", "blocks:3"]):
        first, again, other = plain[0]
        assert (first == again, first == other) == (True, False)
        for losses, gradients in others:
            assert losses == plain[0]
            assert all(torch.allclose(gradient, plain[1][name]) for name, gradient in gradients.items())


def refusals():
    """What each mistake is answered, and whether the pipeline works afterwards."""
    mesh = init_device_mesh("cpu", (2,), mesh_dim_names=("pipeline",))

    def refused(act):
        with pytest.raises(UserError) as caught:
            act()
        return str(caught.value)

    def divided(model, schedule):
        return Pipeline(model, lambda batch: Causal().loss(model, batch), mesh, schedule)

    batches = batches_for(Causal(), 2)
    good = divided(gpt(layers=2).train(), "1f1b")
    return {
        "few layers": refused(lambda: divided(gpt(layers=3), "interleaved")),
        "reversible": refused(lambda: divided(gpt(layers=2, reversible=True), "1f1b")),
        "no layers": refused(lambda: divided(torch.nn.Linear(2, 2), "1f1b")),
        "translator": refused(lambda: divided(MODELS["translator"][0](), "zero-bubble")),
        "few batches": refused(lambda: good.backward(batches[:1])),
        "unequal lengths": int(good.evaluate([*batches, batches[0].lengthened({"tokens": 9, "targets": 9})]).count),
    }


def test_what_a_pipeline_cannot_take_is_said_on_every_process():
    wanted = {
        "few layers": "has 3. Set pipeline to 1",
        "reversible": "set reversible=false",
        "no layers": "Linear",
        "translator": "Set schedule=interleaved",
        "few batches": "Take 2",
    }
    for told in run_on(2, refusals):
        assert told.pop("unequal lengths") > 0
        assert [name for name, words in wanted.items() if words not in told[name]] == []


def test_layers_are_shared_out_evenly_and_the_ends_have_no_more_than_others():
    assert [len(one) for one in layer_ranges(10, "1f1b", 4)] == [2, 3, 3, 2]
    assert layer_ranges(4, "interleaved", 2) == [range(0, 1), range(1, 2), range(2, 3), range(3, 4)]
