"""What a training will take: its operations divided by what this machine does in a second, and what it keeps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from malmoi.core.accelerator import pick_device
from malmoi.core.errors import UserError
from malmoi.formats.checkpoint import read_config
from malmoi.models.language_model import LanguageModelConfig
from malmoi.models.model import BackboneConfig
from malmoi.models.presets import preset
from malmoi.models.registry import count_parameters
from malmoi.pipeline.stage import Estimate
from malmoi.sources.card import find_card
from malmoi.train.precision import choose_precision, product_speed

EFFICIENCY = 0.6
"""Share of the speed of a plain matrix product that a training reaches."""

ASSUMED_TOKENS = 32
"""Length of a text that has not been fetched yet."""

ASSUMED_VOCABULARY = 4_096
"""Size of a vocabulary before there is a tokenizer."""

CHARACTERS_A_TOKEN = 4

KEPT_NUMBERS = 30
"""Numbers a token and unit of width that a block keeps for the backward pass (Korthikanti and others 2022, 2205.05198,
count 17 without gates and attention weights)."""

PROCESS = 400 << 20
"""Bytes of a process that has loaded the libraries."""


@dataclass(frozen=True)
class Training:
    """The size of a training.

    Attributes:
        config: the model's shape.
        learned: tokens to learn from.
        batch: tokens of a micro-batch at most.
        frozen: blocks at the bottom whose outputs are computed once.
        scored: tokens that are only read, validation and test.
        epochs: how often the learned ones are.
        head: whether every token is scored against the vocabulary, and embedding and head are trained.
        adapters: whether low-rank differences alone are trained.
    """

    config: BackboneConfig
    learned: int
    batch: int
    frozen: int = 0
    scored: int = 0
    epochs: float = 1
    head: bool = False
    adapters: bool = False

    def seconds(self) -> float:
        """Time here: two operations a weight forward, two for the gradient of its input, two for its own."""
        config = self.config
        block = self._block()
        upper = (config.layers - self.frozen) * block + (config.vocabulary * config.width if self.head else 0)
        once = 2 * self.frozen * block * (self.learned + self.scored)
        learning = (4 if self.adapters else 6) * upper * self.learned * self.epochs
        operations = once + learning + 2 * upper * self.scored
        device = pick_device()
        return operations / (EFFICIENCY * product_speed(device, choose_precision(device)))

    def memory(self) -> int:
        """Peak bytes: weights, their gradients and optimizer states, what the backward pass needs, stored states."""
        config = self.config
        trained_layers = config.layers - self.frozen
        weights = 4 * count_parameters(config)
        trained = trained_layers * self._block()
        if self.head:
            trained = count_parameters(config)
        states = 0 if self.adapters else 12 * trained
        kept = 4 * self.batch * KEPT_NUMBERS * config.width * trained_layers
        logits = 16 * self.batch * config.vocabulary if self.head else 0
        stored = 4 * config.width * (self.learned + self.scored) if self.frozen else 0
        return PROCESS + weights + states + kept + logits + stored

    def _block(self) -> int:
        """Weights of one block."""
        two, one = (count_parameters(self.config.model_copy(update={"layers": layers})) for layers in (2, 1))
        return two - one


def multiplied(config: LanguageModelConfig) -> int:
    """Parameters that a token is multiplied with: all but an embedding table that is not the head too."""
    return count_parameters(config) - (0 if config.tied else config.vocabulary * config.width)


UNKNOWN = Estimate(lines=("follows from the stages before",))


def base_shape(base: Path | None, weights: str) -> BackboneConfig | None:
    """The shape of the model that a stage takes; None as long as an earlier stage has to make it, or if no card says.

    Raises:
        UserError: `base` is no checkpoint, or one of a translator, or there is no card of that name.
    """
    if base is None:
        name = find_card(weights).shape
        return preset(name) if name else None
    if not base.exists():
        return None
    config = read_config(base)
    if not isinstance(config, BackboneConfig):
        raise UserError(f"{base} is a translator.", "Fine-tuning starts from an encoder or a language model.")
    return config


def language_model_shape(base: Path | None, weights: str) -> LanguageModelConfig | None:
    """`base_shape` of a language model.

    Raises:
        UserError: it is none; and as `base_shape`.
    """
    config = base_shape(base, weights)
    if config is not None and not isinstance(config, LanguageModelConfig):
        raise UserError(f"{base or weights} is no language model.", "Take one that writes text.")
    return config


def token_estimate(text: str, longest: int) -> int:
    """About how many tokens a text has, without a tokenizer."""
    return min(longest, len(text) // CHARACTERS_A_TOKEN + 1)
