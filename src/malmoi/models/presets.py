"""Published shapes by name."""

from __future__ import annotations

from malmoi.core.errors import UserError, nearest
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.model import BackboneConfig


def _gpt2(width: int, layers: int, heads: int, vocabulary: int = 50_257, context: int = 1_024) -> GPTConfig:
    return GPTConfig(
        vocabulary=vocabulary,
        context=context,
        width=width,
        layers=layers,
        heads=heads,
        norm="layer",
        norm_epsilon=1e-5,
        positions="learned",
        activation="gelu_tanh",
        bias=True,
        query_key_norm=False,
    )


def _gpt3(width: int, layers: int, heads: int, head_width: int) -> GPTConfig:
    return _gpt2(width, layers, heads, context=2_048).model_copy(update={"head_width": head_width})


def _llama3(width: int, layers: int, heads: int, feed_forward: int, tied: bool = False) -> GPTConfig:
    """The published context of 131,072 stretches the rotary angles; without that it is the 8,192 of its training."""
    return GPTConfig(
        vocabulary=128_256,
        context=8_192,
        width=width,
        layers=layers,
        heads=heads,
        key_value_heads=8,
        feed_forward=feed_forward,
        norm_epsilon=1e-5,
        rotary_base=500_000.0,
        query_key_norm=False,
        tied=tied,
    )


PRESETS: dict[str, BackboneConfig] = {
    # Radford and others 2019; the sizes as released, not as first printed.
    "gpt2": _gpt2(768, 12, 12),
    "gpt2-medium": _gpt2(1_024, 24, 16),
    "gpt2-large": _gpt2(1_280, 36, 20),
    "gpt2-xl": _gpt2(1_600, 48, 25),
    # Brown and others 2020, arXiv:2005.14165, table 2.1, but for two of its rows: 24 heads of 128 in the 1.3B would
    # make 1.5B, 16 make 1.3B; 40 heads of 128 in the 13B make a width of 5,120, not 5,140. Every second layer looks at
    # a window there whose size the paper does not say; here all look at everything.
    "gpt3-125m": _gpt3(768, 12, 12, 64),
    "gpt3-350m": _gpt3(1_024, 24, 16, 64),
    "gpt3-760m": _gpt3(1_536, 24, 16, 96),
    "gpt3-1.3b": _gpt3(2_048, 24, 16, 128),
    "gpt3-2.7b": _gpt3(2_560, 32, 32, 80),
    "gpt3-6.7b": _gpt3(4_096, 32, 32, 128),
    "gpt3-13b": _gpt3(5_120, 40, 40, 128),
    "gpt3-175b": _gpt3(12_288, 96, 96, 128),
    "smollm2-135m": GPTConfig(
        vocabulary=49_152,
        context=8_192,
        width=576,
        layers=30,
        heads=9,
        key_value_heads=3,
        feed_forward=1_536,
        norm_epsilon=1e-5,
        rotary_base=100_000.0,
        query_key_norm=False,
    ),
    "qwen3-0.6b": GPTConfig(
        vocabulary=151_936,
        context=40_960,
        width=1_024,
        layers=28,
        heads=16,
        key_value_heads=8,
        head_width=128,
        feed_forward=3_072,
        rotary_base=1_000_000.0,
    ),
    # Grattafiori and others 2024, arXiv:2407.21783, table 3; the smallest is of 3.2.
    "llama-3.2-1b": _llama3(2_048, 16, 32, 8_192, tied=True),
    "llama-3-8b": _llama3(4_096, 32, 32, 14_336),
    "llama-3-70b": _llama3(8_192, 80, 64, 28_672),
    "llama-3-405b": _llama3(16_384, 126, 128, 53_248),
    # Wang and others 2020, arXiv:2002.10957: every second layer of the 12 of MiniLM.
    "minilm-l6": EncoderConfig(
        vocabulary=30_522, context=512, width=384, layers=6, heads=12, masked_head=False, dropout=0.1
    ),
}


def preset(name: str) -> BackboneConfig:
    """The published shape `name`; change fields with `model_copy(update=...)`.

    Raises:
        UserError: there is none of that name.
    """
    if name not in PRESETS:
        raise UserError(f"There is no preset {name!r}.", nearest(name, PRESETS) or f"Known: {', '.join(PRESETS)}.")
    return PRESETS[name]
