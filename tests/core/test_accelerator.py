"""One file knows what kinds of devices there are; everybody else says device."""

import re
from pathlib import Path

import pytest
import torch

import malmoi
from malmoi.core import accelerator
from malmoi.core.accelerator import awkward_sizes, describe, peak_memory, pick_device, process_group_backend
from malmoi.core.errors import UserError

ROOT = Path(malmoi.__file__).parent


class Maker:
    """Stands in for `torch.accelerator`, and for the module of its devices."""

    def __init__(self, kind, count):
        self.kind, self.count, self.chosen, self.waited = kind, count, None, 0
        self.total_memory = 80 << 30

    def current_accelerator(self, check_available):
        return torch.device(self.kind)

    def device_count(self):
        return self.count

    def set_device_index(self, number):
        self.chosen = number

    def synchronize(self):
        self.waited += 1

    def get_device_properties(self, device):
        return self

    def get_device_name(self, device):
        return "말모이 9000"

    def max_memory_allocated(self, device):
        return 7


@pytest.fixture
def machine(monkeypatch):
    """Puts four devices of a kind into this machine."""

    def put(kind):
        maker = Maker(kind, 4)
        monkeypatch.setattr(torch, "accelerator", maker)
        monkeypatch.setattr(torch, "get_device_module", lambda device: maker)
        accelerator._present.cache_clear()
        return maker

    monkeypatch.delenv(accelerator.CHOICE, raising=False)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    accelerator._present.cache_clear()
    yield put
    accelerator._present.cache_clear()


def test_no_other_file_names_a_makers_module():
    wrong = [
        f"{path.relative_to(ROOT)}: {found}"
        for path in ROOT.rglob("*.py")
        if path.name != "accelerator.py"
        for found in re.findall(r"torch\.(?:cuda|xpu|mps|accelerator)\b|\.cuda\(|\.backends\.mps", path.read_text())
    ]
    assert wrong == []


@pytest.mark.parametrize(("kind", "rank", "device", "backend"), [
    ("cuda", "2", "cuda:2", "cpu:gloo,cuda:nccl"),
    ("cuda", "5", "cuda:1", "cpu:gloo,cuda:nccl"),
    ("xpu", "0", "xpu:0", "cpu:gloo,xpu:xccl"),
    ("mps", "3", "mps", "gloo"),
    ("cpu", "1", "cpu", "gloo"),
])  # fmt: skip
def test_a_process_takes_the_device_of_its_rank(machine, monkeypatch, kind, rank, device, backend):
    maker = machine(kind)
    monkeypatch.setenv("LOCAL_RANK", rank)
    found = pick_device()
    assert (str(found), process_group_backend(found)) == (device, backend)
    assert maker.chosen == found.index


def test_the_environment_chooses(machine, monkeypatch):
    machine("cuda")
    monkeypatch.setenv(accelerator.CHOICE, "cuda:3")
    assert pick_device() == torch.device("cuda", 3)
    monkeypatch.setenv(accelerator.CHOICE, "cpu")
    assert pick_device() == torch.device("cpu")


@pytest.mark.parametrize(("wanted", "message"), [
    ("cud", "Did you mean 'cuda'"), ("cuda:x", "is no device"), ("mps", "there is no Apple GPU that"),
    ("tpu", "there is no TPU that"),
])  # fmt: skip
def test_a_device_that_is_not_here_is_a_sentence(machine, monkeypatch, wanted, message):
    machine("cuda")
    monkeypatch.setenv(accelerator.CHOICE, wanted)
    with pytest.raises(UserError, match=message):
        pick_device()


def test_a_device_tells_its_name_and_memory(machine):
    maker, device = machine("cuda"), torch.device("cuda", 0)
    assert describe(device) == "말모이 9000 (cuda), 80 GiB"
    assert peak_memory(device) == 7
    accelerator.synchronize(device)
    assert maker.waited == 1


def test_a_processor_has_no_memory_of_its_own():
    cpu = torch.device("cpu")
    assert (describe(cpu), accelerator.total_memory(cpu), peak_memory(cpu)) == ("processor (cpu)", None, None)
    accelerator.synchronize(cpu)
    accelerator.end_step(cpu)


def test_sizes_that_a_tpu_pads_are_named():
    sizes = {"width": 384, "vocabulary": 50_257}
    assert awkward_sizes(torch.device("cuda"), sizes) == []
    (sentence,) = awkward_sizes(torch.device("xla"), sizes)
    assert sentence == "vocabulary=50257 is no multiple of 128: the XLA device computes as if it were 50304"
