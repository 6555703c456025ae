"""Published sizes, to the last parameter."""

import pytest

from malmoi.core.errors import UserError
from malmoi.models.presets import preset
from malmoi.models.registry import count_parameters

PUBLISHED = {
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
    "gpt3-175b": 174_604_259_328,
    "smollm2-135m": 134_515_008,
    "qwen3-0.6b": 596_049_920,
    "llama-3.2-1b": 1_235_814_400,
    "minilm-l6": 22_713_216,
}


@pytest.mark.parametrize(("name", "count"), PUBLISHED.items())
def test_published_sizes(name, count):
    assert count_parameters(preset(name)) == count


BOOK = {
    "gpt2": (163_009_536, 124_412_160),
    "gpt2-medium": (406_212_608, 354_749_440),
    "gpt2-large": (838_220_800, 773_891_840),
    "gpt2-xl": (1_637_792_000, 1_557_380_800),
}


@pytest.mark.parametrize(("name", "counts"), BOOK.items())
def test_without_biases_of_query_key_and_value_as_taught(name, counts):
    shape = preset(name).model_copy(update={"attention_bias": False})
    untied = shape.model_copy(update={"tied": False})
    assert (count_parameters(untied), count_parameters(shape)) == counts


def test_gpt3_has_96_layers_of_12288():
    config = preset("gpt3-175b")
    assert (config.layers, config.width, config.heads, config.head_width) == (96, 12_288, 96, 128)


def test_a_mistyped_name():
    with pytest.raises(UserError, match="Did you mean 'gpt2-medium'"):
        preset("gpt2-medum")
