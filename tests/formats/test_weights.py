"""Weights as safetensors and as state dicts: the same tensors come out, and nothing runs on the way."""

import collections
import json
import os
import struct
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from malmoi.core.errors import UserError
from malmoi.formats.weights import open_weights

BIN = "pytorch_model.bin"
TENSORS = {"a.weight": torch.randn(3, 4), "말.bias": torch.randn(5).bfloat16()}


def read(directory):
    with open_weights(directory) as weights:
        return {name: weights.read(name).clone() for name in weights.shapes}


def assert_same(tensors, expected):
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[name], expected[name]) for name in expected)


@pytest.mark.parametrize("new_format", [True, False], ids=["zip", "before PyTorch 1.6"])
@pytest.mark.parametrize(
    "wrap", [dict, lambda x: {"model": x, "epoch": 3}, lambda x: {"state_dict": x, "optimizer": {}}]
)
def test_a_state_dict(tmp_path, wrap, new_format):
    content = wrap(collections.OrderedDict(TENSORS))
    torch.save(content, tmp_path / BIN, _use_new_zipfile_serialization=new_format)
    assert_same(read(tmp_path), TENSORS)


def test_a_state_dict_in_shards(tmp_path):
    for number, (name, value) in enumerate(TENSORS.items()):
        torch.save({name: value}, tmp_path / f"pytorch_model-{number}.bin")
    places = {name: f"pytorch_model-{number}.bin" for number, name in enumerate(TENSORS)}
    (tmp_path / f"{BIN}.index.json").write_text(json.dumps({"weight_map": places}))
    assert_same(read(tmp_path), TENSORS)


def test_safetensors_win(tmp_path):
    torch.save({"a.weight": torch.zeros(1)}, tmp_path / BIN)
    save_file(TENSORS, tmp_path / "model.safetensors")
    assert_same(read(tmp_path), TENSORS)


@pytest.mark.parametrize("save", [torch.save, save_file])
def test_old_names_are_read_as_todays_and_buffers_are_left_out(tmp_path, save):
    old = {"x.LayerNorm.gamma": torch.ones(2), "x.LayerNorm.beta": torch.zeros(2), "scale.gamma": torch.ones(1)}
    path = tmp_path / (BIN if save is torch.save else "model.safetensors")
    save(old | {"bert.embeddings.position_ids": torch.arange(3)}, path)
    assert sorted(read(tmp_path)) == ["scale.gamma", "x.LayerNorm.bias", "x.LayerNorm.weight"]


def test_a_tensor_of_two_names_for_one_place(tmp_path):
    save_file({"x.LayerNorm.gamma": torch.ones(2), "x.LayerNorm.weight": torch.ones(2)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"x\.LayerNorm\.weight twice"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        ([torch.bfloat16, torch.bfloat16, torch.int64], torch.float32),
        ([torch.bfloat16, torch.bfloat16], torch.bfloat16),
        ([torch.float16], torch.float16),
        ([torch.float16, torch.bfloat16], torch.float32),
        ([torch.float64], torch.float32),
        ([], torch.float32),
    ],
)
def test_the_type_that_loses_nothing(tmp_path, types, expected):
    tensors = {str(number): torch.ones(2, dtype=dtype) for number, dtype in enumerate(types)}
    save_file(tensors, tmp_path / "model.safetensors")
    with open_weights(tmp_path) as weights:
        assert weights.dtype == expected


class Evil:
    """Pickled, it makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("new_format", [True, False], ids=["zip", "before PyTorch 1.6"])
@pytest.mark.parametrize("force", [False, True])
def test_code_in_a_pickle_never_runs(tmp_path, monkeypatch, new_format, force):
    if force:
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    content = {"a": torch.ones(2), "b": Evil(tmp_path / "ran")}
    torch.save(content, tmp_path / BIN, _use_new_zipfile_serialization=new_format)
    with pytest.raises(UserError, match=r"pytorch_model.bin holds more than tensors: it asks for \w+\.system, which"):
        read(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (torch.nn.Linear(2, 2), "asks for torch.nn.modules.linear.Linear"),
        ({"a": torch.ones(2), "epoch": 3}, "'epoch' is of type int"),
        ({"a": torch.ones(2), "model": {}}, "'model' is of type dict"),
        ({"state_dict": {"a": torch.ones(2)}, "model": {"a": torch.ones(2)}}, "'state_dict' is of type dict"),
        ({"model": {"a": "가"}}, "'a' is of type str"),
        ({1: torch.ones(2)}, "1 is of type Tensor"),
        ([torch.ones(2)], "one list"),
        (torch.ones(2), "one Tensor"),
        ({"a": torch.eye(3).to_sparse()}, "'a' is no plain tensor"),
        ({"a": torch.ones(2, dtype=torch.complex64)}, "'a' is no plain tensor"),
        ({"a": torch.ones(1).expand(10**6, 10**6)}, "'a' repeats its numbers"),
        ({str(number): torch.zeros(1000)[:] for number in range(3)}, None),
    ],
)
def test_what_is_no_state_dict_is_named(tmp_path, content, words):
    torch.save(content, tmp_path / BIN)
    if words is None:
        assert len(read(tmp_path)) == 3
        return
    with pytest.raises(UserError) as caught:
        read(tmp_path)
    assert words in str(caught.value)


def test_one_small_storage_is_not_taken_for_a_huge_model(tmp_path):
    storage = torch.zeros(1000)
    torch.save({str(number): storage for number in range(100)}, tmp_path / BIN)
    with pytest.raises(UserError, match="state more bytes than the file has"):
        read(tmp_path)


@pytest.mark.parametrize("new_format", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_state_dict_cut_short(tmp_path, share, new_format):
    torch.save(TENSORS, tmp_path / BIN, _use_new_zipfile_serialization=new_format)
    content = (tmp_path / BIN).read_bytes()
    (tmp_path / BIN).write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match="cannot be read as a PyTorch state dict"):
        read(tmp_path)


def test_a_member_that_states_more_than_the_file_has(tmp_path):
    torch.save(TENSORS, tmp_path / BIN)
    content = bytearray((tmp_path / BIN).read_bytes())
    entry = content.index(b"PK\x01\x02")
    content[entry + 20 : entry + 28] = struct.pack("<II", 1 << 30, 1 << 30)
    (tmp_path / BIN).write_bytes(content)
    with pytest.raises(UserError, match="state more bytes than the file has"):
        read(tmp_path)


def test_a_compressed_archive_is_not_unpacked(tmp_path):
    torch.save({"a": torch.zeros(1 << 18)}, tmp_path / "a.bin")
    with (
        zipfile.ZipFile(tmp_path / "a.bin") as stored,
        zipfile.ZipFile(tmp_path / BIN, "w", zipfile.ZIP_DEFLATED) as zipped,
    ):
        for name in stored.namelist():
            zipped.writestr(name, stored.read(name))
    with pytest.raises(UserError, match="compressed, which PyTorch never does"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", BIN])
def test_a_link_that_leads_out_of_the_directory(tmp_path, name):
    (tmp_path / "elsewhere").write_bytes(b"secret")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / name).symlink_to("../elsewhere")
    with pytest.raises(UserError, match="is a link that leads elsewhere"):
        read(tmp_path / "model")


def test_links_in_the_cache_of_huggingface_hub(tmp_path):
    snapshot = tmp_path / "models--org--name" / "snapshots" / "0123abc"
    blobs = tmp_path / "models--org--name" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    save_file(TENSORS, blobs / "feed")
    (snapshot / "model.safetensors").symlink_to("../../blobs/feed")
    assert_same(read(snapshot), TENSORS)


@pytest.mark.parametrize("index", ['{"weight_map": []}', '{"weight_map": {"a": ["x"]}}', "[]", '{"weight_map": {}}'])
def test_an_index_that_is_none(tmp_path, index):
    (tmp_path / f"{BIN}.index.json").write_text(index)
    with pytest.raises(UserError, match=r"index.json names"):
        read(tmp_path)
