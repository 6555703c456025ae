"""How encoder-decoders are published with what their decoders begin with and may not write."""

from __future__ import annotations

from typing import Any

from malmoi.formats.family import Fields
from malmoi.models.seq2seq_config import EncoderDecoderConfig

DECODING = ("decoder_start_token_id", "pad_token_id", "bad_words_ids", "num_beams")
"""Fields that stand in config.json, in generation_config.json, or in both."""


def understand_decoding(fields: Fields) -> dict[str, Any]:
    """Of our values, the tokens that are special to a decoder, and how widely it searches."""
    start = fields.get("decoder_start_token_id")
    return {
        "start": fields["pad_token_id"] if start is None else start,
        "never": [words[0] for words in fields.get("bad_words_ids") or []],
        "beams": fields.get("num_beams") or 1,
    }


def express_decoding(config: EncoderDecoderConfig) -> dict[str, Any]:
    """Of their fields, the same."""
    fields: dict[str, Any] = {"decoder_start_token_id": config.start, "pad_token_id": config.start}
    if config.never:
        fields["bad_words_ids"] = [[token] for token in config.never]
    if config.beams > 1:
        fields["num_beams"] = config.beams
    return {"is_encoder_decoder": True, **fields}


def unsupported_decoding(fields: Fields) -> dict[str, object]:
    """What no encoder-decoder here has, whatever its family."""
    return {
        "an encoder or a decoder alone": not fields.get("is_encoder_decoder", True),
        "forbidden sequences of several tokens": any(len(words) != 1 for words in fields.get("bad_words_ids") or []),
    }
