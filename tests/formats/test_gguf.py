"""GGUF: what the reference library writes we read; what is cut, absurd or hostile we name."""

import random
import struct

import gguf
import numpy
import pytest
import torch

from malmoi.core.errors import UserError
from malmoi.formats.checkpoint import load_checkpoint
from malmoi.formats.family import lines
from malmoi.formats.gguf_file import GGUFFile
from malmoi.formats.gguf_names import GGUF
from malmoi.layers.rotary import RotaryScaling
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.registry import build_model
from malmoi.tokenizers.spelling import byte_alphabet

TOKENS = [*byte_alphabet(), "ab", "<|endoftext|>"]


def model_of(architecture):
    shape = {"vocabulary": len(TOKENS), "context": 48, "width": 64, "layers": 2, "heads": 4, "key_value_heads": 2}
    extra = {
        "qwen3": {},
        "llama": {"query_key_norm": False},
        "qwen2": {"query_key_norm": False, "attention_bias": True},
    }
    model = build_model(GPTConfig(**shape, **extra[architecture], tied=architecture != "qwen3"), seed=0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def neighbours(rows, heads):
    """Two halves of each head to ggml's pairs of neighbours, one row at a time."""
    width = len(rows) // heads
    order = [
        head * width + pair + half for head in range(heads) for pair in range(width // 2) for half in (0, width // 2)
    ]
    return rows[order]


def write(path, architecture, model, kind=gguf.GGMLQuantizationType.F32, changes=None):
    """A file by the reference library."""
    writer = gguf.GGUFWriter(path, architecture)
    config = model.config
    values = {
        "block_count": config.layers,
        "context_length": config.context,
        "embedding_length": config.width,
        "feed_forward_length": config.feed_forward,
        "attention.head_count": config.heads,
        "attention.head_count_kv": config.key_value_heads,
        "attention.layer_norm_rms_epsilon": config.norm_epsilon,
        "rope.freq_base": config.rotary_base,
    } | (changes or {})
    add = {str: writer.add_string, int: writer.add_uint32, float: writer.add_float32}
    for key, value in values.items():
        add[type(value)](f"{architecture}.{key}", value)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(TOKENS)
    writer.add_token_types([1] * (len(TOKENS) - 1) + [3])
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(len(TOKENS) - 1)
    state = model.state_dict()
    for line in lines(GGUF, config.layers, state):
        tensor = state[line.ours[0]]
        if architecture == "llama" and ("attn_q." in line.theirs or "attn_k." in line.theirs):
            tensor = neighbours(tensor, config.heads if "attn_q" in line.theirs else config.key_value_heads)
        array = tensor.numpy()
        if array.ndim == 2 and kind != gguf.GGMLQuantizationType.F32:
            writer.add_tensor(line.theirs, gguf.quants.quantize(array, kind), raw_dtype=kind)
        else:
            writer.add_tensor(line.theirs, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write(tmp_path_factory.mktemp("gguf") / "small.gguf", "llama", model_of("llama"))


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3"])
def test_every_architecture_comes_back_as_it_was(architecture, tmp_path):
    model = model_of(architecture)
    read = load_checkpoint(write(tmp_path / "x.gguf", architecture, model))
    assert read.model.config == model.config
    for name, value in model.state_dict().items():
        assert torch.equal(read.model.state_dict()[name], value)
    assert read.tokenizer.encode("ab 가") == [
        TOKENS.index("ab"),
        TOKENS.index("Ġ"),
        *(TOKENS.index(c) for c in "ê°Ģ"),
    ]


@pytest.mark.parametrize(
    ("changes", "factor"),
    [
        ({"rope.scaling.type": "linear", "rope.scaling.factor": 4.0}, 4),
        ({"rope.scaling.factor": 4.0}, 4),
        ({"rope.scale_linear": 2.0}, 2),
        ({"rope.scaling.factor": 4.0, "rope.scale_linear": 2.0}, 4),
        ({"rope.scaling.type": "none", "rope.scaling.factor": 4.0}, None),
        ({"rope.scaling.type": "linear"}, None),
        ({"rope.scaling.factor": 0.0}, None),
        ({"rope.scale_linear": 1.0}, None),
    ],
    ids=str,
)
def test_linearly_stretched_positions_are_read_as_llama_cpp_reads_them(changes, factor, tmp_path):
    read = load_checkpoint(write(tmp_path / "x.gguf", "llama", model_of("llama"), changes=changes)).model.config
    assert read.rotary_scaling == (factor and RotaryScaling(kind="linear", factor=factor))


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_1", "Q5_0", "F16", "BF16"])
def test_quantised_weights_are_near(kind, tmp_path):
    model = model_of("llama")
    read = load_checkpoint(write(tmp_path / "x.gguf", "llama", model, gguf.GGMLQuantizationType[kind])).model
    for name, value in model.state_dict().items():
        assert (read.state_dict()[name] - value).abs().max() < {"Q8_0": 0.01, "F16": 0.002, "BF16": 0.01}.get(kind, 0.2)


def test_the_reference_reader_agrees(file):
    ours, theirs = GGUFFile(file), gguf.GGUFReader(file)
    assert set(ours.tensors) == {tensor.name for tensor in theirs.tensors}
    for tensor in theirs.tensors:
        assert numpy.array_equal(ours.read(tensor.name).numpy(), tensor.data)
    assert ours.metadata["tokenizer.ggml.tokens"] == theirs.fields["tokenizer.ggml.tokens"].contents()


def test_a_file_cut_short_anywhere(file, tmp_path):
    content, path = file.read_bytes(), tmp_path / "cut.gguf"
    for length in [0, 3, 4, 7, 15, 23, 24, 30, 100, 1_000, 5_000, 9_000, len(content) // 2, len(content) - 40]:
        path.write_bytes(content[:length])
        with pytest.raises(UserError):
            load_checkpoint(path)


def test_absurd_counts_take_no_memory(file, tmp_path):
    content, path = file.read_bytes(), tmp_path / "absurd.gguf"
    for place in (8, 16, 24):  # tensors, values, length of the first key
        for count in (2**64 - 1, 2**40, 2**31):
            path.write_bytes(content[:place] + struct.pack("<Q", count) + content[place + 8 :])
            with pytest.raises(UserError, match="cut short or damaged"):
                load_checkpoint(path)


def test_a_damaged_byte_is_read_or_named(file, tmp_path):
    """Whatever byte of the header is wrong: a model or a sentence, never another error, never a huge allocation."""
    content, path = file.read_bytes(), tmp_path / "damaged.gguf"
    header = content.index(b"output_norm.weight") + 40
    dice, named = random.Random(0), 0
    for _ in range(300):
        place, damaged = dice.randrange(header), bytearray(content)
        damaged[place] = dice.randrange(256)
        path.write_bytes(damaged)
        try:
            load_checkpoint(path)
        except UserError:
            named += 1
    assert named > 50


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"rope.scaling.type": "yarn"}, "positions scaled by 'yarn'"),
        ({"rope.scale_linear": -2.0}, "positions scaled by 'linear'"),
        ({"rope.dimension_count": 8}, "partial rotary"),
        ({"block_count": 2**31}, "layers but has only"),
        ({"block_count": 3}, "missing"),
        ({"attention.head_count": 0}, "heads"),
        ({"embedding_length": "much"}, "no number 'embedding_length'"),
        ({"rope.freq_base": "high"}, "no number 'rope.freq_base'"),
        ({"embedding_length": 128}, "of another shape"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_named(changes, sentence, tmp_path):
    path = write(tmp_path / "x.gguf", "llama", model_of("llama"), changes=changes)
    with pytest.raises(UserError, match=sentence):
        load_checkpoint(path)


def test_other_files(tmp_path):
    with pytest.raises(UserError, match="no file"):
        load_checkpoint(tmp_path / "absent.gguf")
    (tmp_path / "text.gguf").write_text("한국어 텍스트")
    with pytest.raises(UserError, match="not a GGUF file"):
        load_checkpoint(tmp_path / "text.gguf")
    path = write(tmp_path / "x.gguf", "mamba", model_of("llama"))
    with pytest.raises(UserError, match="architecture 'mamba'"):
        load_checkpoint(path)


def test_divisors_beside_a_head_width_that_is_no_number(tmp_path, monkeypatch):
    def with_divisors(self, path=None):
        self.add_tensor("rope_freqs.weight", numpy.ones(8, numpy.float32))
        return write_header(self, path)

    write_header = gguf.GGUFWriter.write_header_to_file
    monkeypatch.setattr(gguf.GGUFWriter, "write_header_to_file", with_divisors)
    path = write(tmp_path / "x.gguf", "llama", model_of("llama"), changes={"attention.key_length": "wide"})
    with pytest.raises(UserError, match=r"no number 'attention.key_length'"):
        load_checkpoint(path)


def test_that_memory_ran_out_while_a_tensor_was_read_is_said(file, monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr("malmoi.formats.gguf_file.dequantize", fail)
    with pytest.raises(MemoryError):
        load_checkpoint(file)
