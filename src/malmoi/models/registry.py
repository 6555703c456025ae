"""The model families, one line each, and how a model is built."""

from __future__ import annotations

from typing import Any

import torch

from malmoi.models.convolution import Convolution, ConvolutionConfig
from malmoi.models.encoder import Encoder
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.gpt import GPT
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.initialize import initialize
from malmoi.models.language_model import LanguageModelConfig
from malmoi.models.lstm import LSTM, LSTMConfig
from malmoi.models.model import Model, ModelConfig
from malmoi.models.seq2seq import EncoderDecoder
from malmoi.models.seq2seq_config import EncoderDecoderConfig
from malmoi.models.shapes import shapes_alone, with_memory
from malmoi.models.state_space import StateSpace, StateSpaceConfig

FAMILIES: dict[str, tuple[type[ModelConfig], Any]] = {
    "gpt": (GPTConfig, GPT),
    "lstm": (LSTMConfig, LSTM),
    "convolution": (ConvolutionConfig, Convolution),
    "state-space": (StateSpaceConfig, StateSpace),
    "encoder": (EncoderConfig, Encoder),
    "encoder-decoder": (EncoderDecoderConfig, EncoderDecoder),
}
"""Family name to (configuration class, model class)."""


def family_name(config: ModelConfig) -> str:
    """The name of the family that a configuration belongs to."""
    return next(name for name, (kind, _) in FAMILIES.items() if type(config) is kind)


def language_models() -> dict[str, type[LanguageModelConfig]]:
    """The families that go on with a text: name to configuration class."""
    return {name: kind for name, (kind, _) in FAMILIES.items() if issubclass(kind, LanguageModelConfig)}


def build_model(config: ModelConfig, seed: int) -> Model:
    """A model with its first weights, float32 on the CPU; the global random state is neither read nor moved."""
    model = empty_model(config)
    initialize(model, seed)
    return model


def empty_model(config: ModelConfig, dtype: torch.dtype = torch.float32) -> Model:
    """A model on the CPU whose weights are yet to be filled; costs no time for numbers that are overwritten."""
    return with_memory(meta_model(config).to(dtype))


def meta_model(config: ModelConfig) -> Model:
    """A model with shapes but no memory."""
    with shapes_alone():
        model: Model = model_class(config)(config)
    return model


def model_class(config: ModelConfig) -> Any:
    """The class of the models that have this kind of configuration."""
    return next(build for kind, build in FAMILIES.values() if type(config) is kind)


def count_parameters(config: ModelConfig) -> int:
    """Number of parameters; a tied head counts once."""
    return sum(parameter.numel() for parameter in meta_model(config).parameters())
