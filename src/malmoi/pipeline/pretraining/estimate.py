"""What a pretraining will take, told before it is run and without measuring candidates."""

from __future__ import annotations

from dataclasses import replace

from malmoi.formats.checkpoint import read_config
from malmoi.models.language_model import LanguageModelConfig
from malmoi.models.registry import count_parameters
from malmoi.pipeline.costs import PROCESS, Training
from malmoi.pipeline.pretraining.fit import GIB, divisors, settle_memory
from malmoi.pipeline.pretraining.model import given_config
from malmoi.pipeline.pretraining.plan import LOGITS, batch_shape
from malmoi.pipeline.pretraining.settings import PretrainSettings
from malmoi.pipeline.stage import Estimate
from malmoi.tokenizers.load import load_tokenizer


def estimate(settings: PretrainSettings) -> Estimate:
    """Minutes as set, or what the given steps or tokens cost; sizes that are derived follow when the text is known.

    Where micro-batches are to fill a memory, those that do by the same estimate.
    """
    known = (settings.tokenizer / "tokenizer.json").is_file()
    vocabulary = load_tokenizer(settings.tokenizer).size if known else None
    plain = _estimate(settings, vocabulary)
    config = _config(settings, vocabulary)
    if settings.memory is None or config is None:
        return plain
    limit = float(settle_memory(settings).memory or 0) * GIB
    rows, slots = batch_shape(settings, min(settings.context, config.context), config.vocabulary)
    for size in reversed(divisors(rows * slots)):
        trainer = settings.trainer | {"slots": rows * slots // size}
        fitted = _estimate(settings.model_copy(update={"rows": size, "trainer": trainer}), vocabulary)
        if size == 1 or (fitted.memory or 0) <= limit:
            break
    words = f"micro-batches of about {size} of {rows * slots} rows in {limit / GIB:g} GiB"
    return replace(fitted, lines=(*fitted.lines, words))


def _config(settings: PretrainSettings, vocabulary: int | None) -> LanguageModelConfig | None:
    """The model's configuration, if settings or the checkpoint to go on from say it already."""
    if settings.initial is None:
        return given_config(settings, vocabulary)
    config = read_config(settings.initial) if settings.initial.exists() else None
    return config if isinstance(config, LanguageModelConfig) else None


def _estimate(settings: PretrainSettings, vocabulary: int | None) -> Estimate:
    """With the micro-batches that the settings have, whatever the memory."""
    config = _config(settings, vocabulary)
    timed = settings.steps is None and settings.tokens is None
    minutes = 60 * settings.minutes if timed else None
    if config is None:  # logits are most of what small models keep
        sources = "the checkpoint" if settings.initial else "the text and a measurement of this machine"
        words = f"size and steps follow from {sources}"
        return Estimate(minutes, PROCESS + 16 * LOGITS, (words,))
    context = min(settings.context, config.context)
    rows, slots = batch_shape(settings, context, config.vocabulary)
    tokens = settings.tokens or (settings.steps or 0) * rows * slots * context
    training = Training(config, tokens, rows * context, head=True)
    words = f"{count_parameters(config):,} parameters, " + (f"{tokens:,} tokens" if tokens else "as many tokens as fit")
    return Estimate(minutes or training.seconds(), training.memory(), (words,))
