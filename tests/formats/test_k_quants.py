"""K-quants as llama.cpp itself makes them: the numbers read here are its own, and so is what the model says."""

import ctypes

import numpy
import pytest
import torch
import xllamacpp
from gguf import GGUFReader, GGUFWriter
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.scripts.gguf_new_metadata import copy_with_new_metadata

from malmoi.core.errors import UserError
from malmoi.formats.gguf import load_gguf
from malmoi.formats.gguf_export import export_gguf
from malmoi.formats.gguf_file import GGUFFile
from malmoi.generate.generator import generate
from malmoi.generate.sampling import SamplingSettings

GGML = ctypes.CDLL(xllamacpp.xllamacpp.__file__)
GGML.ggml_quantize_chunk.restype = ctypes.c_size_t
K_QUANTS = ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"]


def numbers(array):
    return array.ctypes.data_as(ctypes.c_void_p)


def quantised(rows, kind):
    """A matrix of float32 as the bytes of its blocks, by llama.cpp."""
    block, size = GGML_QUANT_SIZES[kind]
    count, width = map(ctypes.c_int64, rows.shape)
    made = numpy.zeros((len(rows), rows.shape[1] // block * size), numpy.uint8)
    written = GGML.ggml_quantize_chunk(
        ctypes.c_int(kind), numbers(rows), numbers(made), ctypes.c_int64(0), count, width, None
    )
    assert written == made.nbytes
    return made


def dequantised(data, kind, shape):
    """The same back, by llama.cpp."""
    made = numpy.zeros(shape, numpy.float32)
    name = f"dequantize_row_{kind.name[:3].lower()}K"
    getattr(GGML, name)(numbers(data), numbers(made), ctypes.c_int64(made.size))
    return made


def with_matrices(model, tokenizer, path, make):
    """A file of the model whose matrices are (bytes, type) as `make` gives them."""
    export_gguf(model, tokenizer, path.with_suffix(".f32.gguf"), "f32")
    reader = GGUFReader(path.with_suffix(".f32.gguf"))
    for place, tensor in enumerate(reader.tensors):
        if len(tensor.shape) == 2:
            data, kind = make(numpy.ascontiguousarray(tensor.data))
            reader.tensors[place] = tensor._replace(data=data, tensor_type=kind)
    copy_with_new_metadata(reader, GGUFWriter(path, "qwen3"), {}, [])
    return path


@pytest.fixture(scope="module")
def trained(train):
    """Rows of a K-quant are multiples of 256 numbers."""
    return train(steps=40, rate=2e-3, width=256, layers=1, feed_forward=512)


@pytest.fixture
def files(trained, tmp_path):
    """Makes a file of the model in a type."""

    def make(name):
        kind = GGMLQuantizationType[name]
        return with_matrices(*trained, tmp_path / f"{name}.gguf", lambda rows: (quantised(rows, kind), kind))

    return make


@pytest.mark.parametrize("name", K_QUANTS)
def test_the_numbers_are_those_of_llama_cpp(name, files):
    path, kind = files(name), GGMLQuantizationType[name]
    file, found = GGUFFile(path), []
    for tensor in GGUFReader(path).tensors:
        if tensor.tensor_type == kind:
            wanted = dequantised(numpy.ascontiguousarray(tensor.data), kind, tuple(tensor.shape[::-1].tolist()))
            assert torch.equal(file.read(tensor.name), torch.from_numpy(wanted)), tensor.name
            found.append(tensor.name)
    assert len(found) == 9


@pytest.mark.parametrize("name", K_QUANTS)
def test_the_model_says_what_it_says_there(name, files, sentences, perplexity, llama_cpp):
    """llama.cpp rounds what it multiplies with to 8 bits, as it does with q8_0: 0.1 % of perplexity at most."""
    path = files(name)
    model, tokenizer = load_gguf(path)
    rows = tokenizer.encode_batch(sentences(2, seed=2))
    opened = llama_cpp(path)
    assert opened.perplexity(rows, tokenizer.size) == pytest.approx(perplexity(model, rows), rel=2e-3)
    for prompt in ("The fox", "숲에서 곰이"):
        ids, settings = tokenizer.encode(prompt), SamplingSettings(temperature=0, maximum_tokens=24)
        assert opened.greedy(ids, 24) == [piece.token for piece in generate(model, tokenizer, ids, settings)]


def test_two_bits_cost_more_than_six(files, trained, sentences, perplexity):
    model, tokenizer = trained
    rows = tokenizer.encode_batch(sentences(2, seed=2))
    costs = [perplexity(load_gguf(files(name))[0], rows) / perplexity(model, rows) - 1 for name in ("Q2_K", "Q6_K")]
    assert costs[0] > 0.01 > 5 * abs(costs[1])


def test_a_type_that_is_no_ones_to_store_is_named(trained, tmp_path):
    """Q8_K holds the other side of a product while llama.cpp computes."""
    kind = GGMLQuantizationType.Q8_K
    size = GGML_QUANT_SIZES[kind][1]
    path = tmp_path / "q8_k.gguf"
    with_matrices(*trained, path, lambda rows: (numpy.zeros((len(rows), rows.shape[1] // 256 * size), "u1"), kind))
    with pytest.raises(UserError, match=r"does not read the type Q8_K of the tensor token_embd\.weight"):
        load_gguf(path)
