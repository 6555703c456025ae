"""A training on a GPU beside the same on the processor."""

import json
import os
import subprocess
import sys

import pytest
import torch

if not torch.cuda.is_available():
    pytest.skip("there is no GPU here that torch can use", allow_module_level=True)

SCRIPT = """
import json, pathlib, sys
import torch
from malmoi.core.accelerator import device_of
from malmoi.core.files import read_json_lines
from malmoi.models.registry import build_model
from malmoi.pipeline.verify_parallel import MODELS, Texts
from malmoi.train.settings import TrainerSettings
from malmoi.train.trainer import Trainer

place, family = pathlib.Path(sys.argv[1]), sys.argv[2]
config, objective = MODELS[family]
model = build_model(config, seed=0)
settings = TrainerSettings(steps=8, slots=2, **json.loads(sys.argv[3]))
Trainer(model, objective, Texts(family), settings, place).run()
losses = [record["loss"] for record in read_json_lines(place / "metrics.jsonl") if "loss" in record]
print(json.dumps({"losses": losses, "device": device_of(model).type}))
"""


def train(place, device, family, **settings):
    environment = {**os.environ, "MALMOI_DEVICE": device}
    command = [sys.executable, "-c", SCRIPT, str(place / device), family, json.dumps(settings)]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(finished.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("family", "optimizer"), [("gpt", "muon"), ("gpt", "adamw"), ("encoder", "adamw"), ("encoder-decoder", "adamw")]
)
def test_it_learns_as_on_the_processor(tmp_path, family, optimizer):
    own, other = (
        train(tmp_path, device, family, optimizer=optimizer, precision="float32") for device in ("cpu", "cuda")
    )
    assert other["device"] == "cuda"
    assert other["losses"] == pytest.approx(own["losses"], rel=1e-5)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_short_formats_lose_little(tmp_path, precision):
    own = train(tmp_path, "cpu", "gpt", precision="float32")
    other = train(tmp_path, "cuda", "gpt", precision=precision)
    assert other["losses"] == pytest.approx(own["losses"], rel=1e-2)


def test_compiled_blocks_learn_the_same(tmp_path):
    plain = train(tmp_path / "plain", "cuda", "gpt", precision="float32")
    compiled = train(tmp_path / "compiled", "cuda", "gpt", precision="float32", compile="always")
    assert compiled["losses"] == pytest.approx(plain["losses"], rel=1e-5)
