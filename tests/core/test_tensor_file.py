"""What is written is what the safetensors library writes, with one tensor in memory at a time."""

import weakref

import pytest
import torch
from safetensors.torch import load_file, save_file

from malmoi.core.tensor_file import MadeOnDemand, write_tensors

TYPES = [
    torch.int64, torch.float64, torch.float32, torch.int32, torch.bfloat16, torch.float16, torch.int16, torch.int8,
    torch.uint8, torch.bool,
]  # fmt: skip


def test_every_byte_is_the_library_s(tmp_path):
    tensors = {f"{place} {dtype}": torch.arange(7).to(dtype) for place, dtype in enumerate(TYPES)}
    tensors |= {'낱말 "\n': torch.randn(3, 5), "number": torch.tensor(2.5), "empty": torch.empty(0, 3)}
    write_tensors(tensors, tmp_path / "ours")
    save_file(tensors, tmp_path / "theirs", metadata={"format": "pt"})
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_no_tensors_at_all(tmp_path):
    write_tensors({}, tmp_path / "ours")
    assert load_file(tmp_path / "ours") == {}


@pytest.mark.parametrize(
    "value",
    [torch.randn(4, 6).t(), torch.randn(3).expand(2, 3), torch.randn(9)[::2], torch.randn(4, requires_grad=True)],
    ids=["transposed", "expanded", "strided", "trained"],
)
def test_a_tensor_that_does_not_lie_in_one_piece(tmp_path, value):
    write_tensors({"a": value}, tmp_path / "ours")
    assert torch.equal(load_file(tmp_path / "ours")["a"], value.detach())


def test_of_tensors_made_on_demand_none_is_there_when_the_next_is_made(tmp_path):
    alive: weakref.WeakSet = weakref.WeakSet()
    most = 0

    def make(number):
        nonlocal most
        most = max(most, len(alive))
        made = torch.full((8, 8), float(number))
        alive.add(made)
        return made

    makers = {f"{number}": (lambda number=number: make(number)) for number in range(5)}
    write_tensors(MadeOnDemand(makers), tmp_path / "ours")
    assert {name: value[0, 0].item() for name, value in load_file(tmp_path / "ours").items()} == {
        str(number): number for number in range(5)
    }
    assert most == 0
