"""A training on an XLA device: that of the processor, compiled as it would be for a TPU.

torch_xla 2.9 wants torch 2.9, which malmoi does not admit, so this runs in an environment of its own:

    python -m venv xla && .venv/bin/pip freeze | grep -iv torch > others.txt
    xla/bin/pip install torch==2.9.0 torch_xla==2.9.0 -r others.txt
    PYTHONPATH=src xla/bin/python -m pytest tests/train/test_xla.py
"""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

if importlib.util.find_spec("torch_xla") is None:
    pytest.skip("torch_xla is not installed", allow_module_level=True)

SCRIPT = """
import json, pathlib, sys
import torch
import torch_xla.debug.metrics as counters
from malmoi.core.accelerator import device_of
from malmoi.core.files import read_json_lines
from malmoi.models.registry import build_model
from malmoi.pipeline.verify_parallel import MODELS, Texts
from malmoi.train.settings import TrainerSettings
from malmoi.train.trainer import Trainer

place, family = pathlib.Path(sys.argv[1]), sys.argv[2]
config, objective = MODELS[family]
model = build_model(config, seed=0)
compiled = []

class Rows(Texts):
    def batch(self, step, slot):
        compiled.append(counters.counter_value("UncachedCompile") or 0)
        return super().batch(0, slot)

settings = TrainerSettings(steps=6, slots=2, precision="float32", optimizer=sys.argv[3])
Trainer(model, objective, Rows(family), settings, place).run()
losses = [record["loss"] for record in read_json_lines(place / "metrics.jsonl") if "loss" in record]
print(json.dumps({"losses": losses, "device": device_of(model).type, "compiled": compiled}))
"""


def train(place, device, family, optimizer):
    environment = {**os.environ, "PJRT_DEVICE": "CPU", "MALMOI_DEVICE": device}
    command = [sys.executable, "-c", SCRIPT, str(place / device), family, optimizer]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(finished.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("family", "optimizer"), [("gpt", "muon"), ("gpt", "adamw"), ("encoder", "adamw"), ("encoder-decoder", "adamw")]
)
def test_it_learns_as_on_the_processor_and_compiles_nothing_after_the_second_step(tmp_path, family, optimizer):
    own, other = (train(tmp_path, device, family, optimizer) for device in ("cpu", "xla"))
    assert other["device"] == "xla"
    assert other["losses"] == pytest.approx(own["losses"], rel=1e-5)
    third_step_on = other["compiled"][6:12]  # batches are asked for a step before they are computed
    assert len(set(third_step_on)) == 1
