"""One step of 32 rows with unequal masks: in one piece, in four and in eight it is the same step."""

from collections.abc import Iterator

import pytest
import torch

from malmoi.core.files import read_json_lines
from malmoi.data.batch import IGNORED, TextBatch
from malmoi.models.gpt import GPT
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.initialize import initialize
from malmoi.objectives.causal import Causal
from malmoi.train.settings import TrainerSettings
from malmoi.train.trainer import Trainer

ROWS, LENGTH, VOCABULARY = 32, 24, 50


class Masked:
    """The same rows in so many micro-batches; what is learned of a row is anything between nothing and all."""

    def __init__(self, slots: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.tokens = torch.randint(VOCABULARY, (ROWS, LENGTH), generator=generator)
        shares = torch.rand(ROWS, 1, generator=generator) ** 3
        hidden = torch.rand(ROWS, LENGTH, generator=generator) > shares
        self.targets = self.tokens.roll(-1, 1).masked_fill(hidden, IGNORED)
        self.size = ROWS // slots

    def batch(self, step: int, slot: int) -> TextBatch:
        part = slice(slot * self.size, (slot + 1) * self.size)
        return TextBatch(self.tokens[part], self.targets[part])

    def validation(self) -> Iterator[TextBatch]:
        yield from ()


class MaskedAfterwards(Masked):
    """Only of the first step something is learned."""

    def batch(self, step: int, slot: int) -> TextBatch:
        batch = super().batch(step, slot)
        return batch if step == 0 else TextBatch(batch.tokens, torch.full_like(batch.targets, IGNORED))


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_step_in_which_nothing_is_counted_changes_nothing(tmp_path, optimizer):
    weights = {}
    for steps in (1, 3):
        model = GPT(GPTConfig(vocabulary=VOCABULARY, context=LENGTH, width=32, layers=2, heads=2))
        initialize(model, 0)
        settings = TrainerSettings(
            steps=steps, slots=4, precision="float32", optimizer=optimizer, weight_decay=0.1, cool_down=0
        )
        Trainer(model, Causal(), MaskedAfterwards(4), settings, tmp_path / str(steps)).run()
        weights[steps] = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    assert torch.equal(weights[1], weights[3])
    losses = [record["loss"] for record in read_json_lines(tmp_path / "3" / "metrics.jsonl")]
    assert losses[1:] == [None, None]


@pytest.mark.parametrize("recompute", ["", "blocks"])
def test_loss_and_gradient_norm_do_not_depend_on_the_pieces(tmp_path, recompute):
    found = {}
    for slots in (1, 4, 8):
        model = GPT(GPTConfig(vocabulary=VOCABULARY, context=LENGTH, width=32, layers=2, heads=2))
        initialize(model, 0)
        settings = TrainerSettings(steps=1, slots=slots, precision="float32", recompute=recompute, clip=0)
        Trainer(model, Causal(), Masked(slots), settings, tmp_path / str(slots)).run()
        found[slots] = next(read_json_lines(tmp_path / str(slots) / "metrics.jsonl"))
    for slots in (4, 8):
        for figure in ("loss", "gradient_norm"):
            assert found[slots][figure] == pytest.approx(found[1][figure], rel=1e-6)
