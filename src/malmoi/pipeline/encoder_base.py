"""The encoder that a stage starts from: a checkpoint, public weights, or a new one with a vocabulary of its own."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from pydantic import PositiveInt, model_validator

from malmoi.core.config import Settings, parse_settings
from malmoi.core.errors import UserError
from malmoi.data.neighbours import neighbour_vectors
from malmoi.data.store import Tokens
from malmoi.formats.checkpoint import load_checkpoint
from malmoi.models.encoder import Encoder
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.initialize import EMBEDDING_DEVIATION, initialize
from malmoi.models.model import Backbone, BackboneConfig
from malmoi.models.registry import build_model
from malmoi.pipeline.costs import base_shape
from malmoi.pipeline.stage import StageInput
from malmoi.sources.fetch import fetch_weights
from malmoi.tokenizers.load import load_tokenizer
from malmoi.tokenizers.tokenizer import Tokenizer
from malmoi.tokenizers.train import TokenizerSettings, train_tokenizer

TOKENIZER = "tokenizer"


class EncoderBaseSettings(Settings):
    """What a stage starts from.

    Attributes:
        base: a stage or checkpoint to start from, an encoder; by default the public weights named in `weights`.
        weights: a card of public weights.
        from_scratch: new weights in the shape of the base; its tokenizer stays.
        model: fields of `EncoderConfig`: a new encoder instead of a base, with a tokenizer learned from the texts.
        vocabulary: of that tokenizer.
        counted: a new encoder's embeddings of tokens that have the same neighbours in the texts begin alike, see
            `begin_with_neighbours`; else they are random.
        longest: tokens that are read at a time.
    """

    base: StageInput | None = None
    weights: str = "minilm-l6-v2"
    from_scratch: bool = False
    model: dict[str, Any] = {}
    vocabulary: PositiveInt = 4096
    counted: bool = False
    longest: PositiveInt = 128

    @model_validator(mode="after")
    def _check_model(self) -> Self:
        if self.model and self.base is not None:
            raise UserError("There are a base and a model, which is a new encoder.", "Set one of them.")
        if self.model:
            _new_config(self, self.vocabulary)
        return self

    @property
    def new_tokenizer(self) -> TokenizerSettings:
        """The tokenizer of a new encoder."""
        return TokenizerSettings(vocabulary=self.vocabulary, frame="bert")

    @property
    def base_name(self) -> str:
        """What it starts from, in words."""
        if self.model:
            return "a new encoder"
        name = self.base.name if self.base is not None else self.weights
        return f"new weights in the shape of {name}" if self.from_scratch else name


def encoder_base(
    settings: EncoderBaseSettings, texts: Collection[str], directory: Path, seed: int
) -> tuple[Backbone, Tokenizer]:
    """The model to start from, and its tokenizer.

    Args:
        texts: what the tokenizer of a new encoder is learned from, and its first embeddings where they are counted;
            the tokenizer is made once, so that going on after a kill in the same directory uses the same.

    Raises:
        UserError: the base has less context than asked for.
    """
    if settings.model:
        tokenizer = _new_tokenizer(settings, texts, directory / TOKENIZER)
        body = build_model(_new_config(settings, tokenizer.size), seed)
        assert isinstance(body, Encoder)
        if settings.counted:
            ids = [id for text in tokenizer.encode_batch(texts) for id in (*text, tokenizer.end)]
            begin_with_neighbours(body, [np.array(ids, np.uint32)], tokenizer.end, seed)
        return body, tokenizer
    checkpoint = load_checkpoint(settings.base if settings.base is not None else fetch_weights(settings.weights))
    body = checkpoint.backbone
    context = body.config.context
    if settings.longest > context:
        raise UserError(f"longest={settings.longest}, but the base reads {context} tokens.", f"Set it to {context}.")
    if settings.from_scratch:
        initialize(body, seed)
    return body, checkpoint.tokenizer


def begin_with_neighbours(body: Encoder, texts: Sequence[Tokens], end: int, seed: int) -> None:
    """Let tokens that have the same neighbours begin with alike embeddings, of the size that they have anyway.

    Args:
        texts: as of `neighbour_vectors`.
    """
    config = body.config
    with torch.no_grad():
        vectors = neighbour_vectors(texts, config.vocabulary, config.width, end, seed) * EMBEDDING_DEVIATION
        met = vectors.any(dim=1)
        body.embedding.weight[met, : vectors.shape[1]] = vectors[met]


def encoder_shape(settings: EncoderBaseSettings) -> BackboneConfig | None:
    """The shape of it, where it is known before anything is read."""
    if settings.model:
        return _new_config(settings, settings.vocabulary)
    return base_shape(settings.base, settings.weights)


def _new_config(settings: EncoderBaseSettings, vocabulary: int) -> EncoderConfig:
    shape = {**settings.model, "vocabulary": vocabulary, "context": settings.longest, "masked_head": False}
    return parse_settings(EncoderConfig, shape, "'model' (the shape of a new encoder)")


def _new_tokenizer(settings: EncoderBaseSettings, texts: Iterable[str], directory: Path) -> Tokenizer:
    if not (directory / "tokenizer.json").is_file():
        at_most = "vocabulary" not in settings.model_fields_set
        train_tokenizer(texts, settings.new_tokenizer, at_most).save(directory)
    return load_tokenizer(directory)
