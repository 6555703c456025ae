"""Nothing that a model or an objective makes lies on another device than the model.

A device of torch's own making stands in for those that are not here: shapes and places are computed, numbers not.
"""

import json
import subprocess
import sys

import pytest

SCRIPT = """
import json
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend
from malmoi.data.batch import TextBatch
from malmoi.evaluate.predict import EncodedText, lower_states, predict
from malmoi.models.classifier import Classifier
from malmoi.models.registry import FAMILIES
from malmoi.objectives.causal import Causal

SHAPE = {"vocabulary": 41, "context": 16, "width": 16, "layers": 2}
MORE = {"gpt": {"heads": 2}, "encoder": {"heads": 2}, "encoder-decoder": {"heads": 2, "start": 0}}
_setup_privateuseone_for_python_backend("elsewhere")
torch.get_device_module("elsewhere").get_amp_supported_dtype = lambda: [torch.bfloat16]
device = torch.device("elsewhere")

def model_of(family, head=lambda body: body):
    config, build = FAMILIES[family]
    with torch.device("meta"):
        model = head(build(config(**SHAPE, **MORE.get(family, {}))))
    for module in model.modules():
        for held in (module._parameters, module._buffers):
            for name, one in held.items():
                if one is not None:
                    held[name] = torch.empty_like(one, device=device, requires_grad=one.requires_grad)
    return model

def learned_and_written(family):
    model, tokens = model_of(family), torch.zeros(2, 8, dtype=torch.int64)
    loss = Causal().loss(model, TextBatch(tokens, tokens).to(device))
    loss.total.backward()
    cache = model.eval().cache(2, 16)
    with torch.inference_mode():
        written = [model(torch.zeros(2, 4, dtype=torch.int64, device=device), cache) for _ in range(2)]
    return [loss.total, loss.count, *(one.grad for one in model.parameters() if one.grad is not None), *written]

def encoded(family):
    tokens, lengths = torch.zeros(2, 8, dtype=torch.int64, device=device), torch.full((2,), 8, device=device)
    return [model_of(family)(tokens, lengths)]

def translated(family):
    tokens, lengths = torch.zeros(2, 8, dtype=torch.int64, device=device), torch.full((2,), 8, device=device)
    return [model_of(family).logits(tokens, lengths, tokens)]

def predicted():
    texts = [EncodedText(torch.zeros(length, dtype=torch.int64), 0) for length in (3, 5)]
    classes = model_of("encoder", lambda body: Classifier(body, ["yes", "no"]))
    return [*predict(classes, texts), *(one.tokens for one in lower_states(classes, texts, 1))]

found = {}
with FakeTensorMode():
    found["predictions"] = sorted({one.device.type for one in predicted()})
for family in FAMILIES:
    do = {"encoder": encoded, "encoder-decoder": translated}.get(family, learned_and_written)
    try:
        with FakeTensorMode():
            found[family] = sorted({one.device.type for one in do(family)})
    except Exception as error:
        found[family] = repr(error)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def places() -> dict[str, list[str]]:
    """Family -> the devices on which its outputs and gradients lie."""
    finished = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    if "_setup_privateuseone_for_python_backend" in finished.stderr:
        pytest.skip("this torch has no device that stands in for others")
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


@pytest.mark.parametrize("family", ["gpt", "lstm", "convolution", "state-space", "encoder", "encoder-decoder"])
def test_all_lies_where_the_model_is(places, family):
    assert places[family] == ["elsewhere"]


def test_predictions_are_made_there_and_brought_back(places):
    assert places["predictions"] == ["cpu"]
