"""BERT (Devlin and others 2019, arXiv:1810.04805), RoBERTa (1907.11692) and DistilBERT (1910.01108)."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any

from malmoi.formats.family import Family, Fields
from malmoi.layers.schedule import EVERYTHING
from malmoi.models.encoder_config import EncoderConfig

_BODY = {
    "P.embeddings.word_embeddings.weight": "embedding.weight",
    "P.embeddings.position_embeddings.weight": "positions.weight",
    "P.embeddings.token_type_embeddings.weight": "segments.weight",
    "P.embeddings.LayerNorm.weight": "embedding_norm.weight",
    "P.embeddings.LayerNorm.bias": "embedding_norm.bias",
    "P.encoder.layer.{}.attention.self.query.weight": "blocks.{}.attention.query.weight",
    "P.encoder.layer.{}.attention.self.query.bias": "blocks.{}.attention.query.bias",
    "P.encoder.layer.{}.attention.self.key.weight": "blocks.{}.attention.key.weight",
    "P.encoder.layer.{}.attention.self.key.bias": "blocks.{}.attention.key.bias",
    "P.encoder.layer.{}.attention.self.value.weight": "blocks.{}.attention.value.weight",
    "P.encoder.layer.{}.attention.self.value.bias": "blocks.{}.attention.value.bias",
    "P.encoder.layer.{}.attention.output.dense.weight": "blocks.{}.attention.output.weight",
    "P.encoder.layer.{}.attention.output.dense.bias": "blocks.{}.attention.output.bias",
    "P.encoder.layer.{}.attention.output.LayerNorm.weight": "blocks.{}.attention_norm.weight",
    "P.encoder.layer.{}.attention.output.LayerNorm.bias": "blocks.{}.attention_norm.bias",
    "P.encoder.layer.{}.intermediate.dense.weight": "blocks.{}.feed_forward.up.weight",
    "P.encoder.layer.{}.intermediate.dense.bias": "blocks.{}.feed_forward.up.bias",
    "P.encoder.layer.{}.output.dense.weight": "blocks.{}.feed_forward.down.weight",
    "P.encoder.layer.{}.output.dense.bias": "blocks.{}.feed_forward.down.bias",
    "P.encoder.layer.{}.output.LayerNorm.weight": "blocks.{}.feed_forward_norm.weight",
    "P.encoder.layer.{}.output.LayerNorm.bias": "blocks.{}.feed_forward_norm.bias",
    "P.pooler.dense.weight": "pooler.weight",
    "P.pooler.dense.bias": "pooler.bias",
}

BERT_TABLE = {theirs.replace("P.", "bert."): ours for theirs, ours in _BODY.items()} | {
    "cls.predictions.transform.dense.weight": "head.dense.weight",
    "cls.predictions.transform.dense.bias": "head.dense.bias",
    "cls.predictions.transform.LayerNorm.weight": "head.norm.weight",
    "cls.predictions.transform.LayerNorm.bias": "head.norm.bias",
    "cls.predictions.bias": "head.bias",
}

ROBERTA_TABLE = {theirs.replace("P.", "roberta."): ours for theirs, ours in _BODY.items()} | {
    "lm_head.dense.weight": "head.dense.weight",
    "lm_head.dense.bias": "head.dense.bias",
    "lm_head.layer_norm.weight": "head.norm.weight",
    "lm_head.layer_norm.bias": "head.norm.bias",
    "lm_head.bias": "head.bias",
}

DISTILBERT_TABLE = {
    "distilbert.embeddings.word_embeddings.weight": "embedding.weight",
    "distilbert.embeddings.position_embeddings.weight": "positions.weight",
    "distilbert.embeddings.LayerNorm.weight": "embedding_norm.weight",
    "distilbert.embeddings.LayerNorm.bias": "embedding_norm.bias",
    "distilbert.transformer.layer.{}.attention.q_lin.weight": "blocks.{}.attention.query.weight",
    "distilbert.transformer.layer.{}.attention.q_lin.bias": "blocks.{}.attention.query.bias",
    "distilbert.transformer.layer.{}.attention.k_lin.weight": "blocks.{}.attention.key.weight",
    "distilbert.transformer.layer.{}.attention.k_lin.bias": "blocks.{}.attention.key.bias",
    "distilbert.transformer.layer.{}.attention.v_lin.weight": "blocks.{}.attention.value.weight",
    "distilbert.transformer.layer.{}.attention.v_lin.bias": "blocks.{}.attention.value.bias",
    "distilbert.transformer.layer.{}.attention.out_lin.weight": "blocks.{}.attention.output.weight",
    "distilbert.transformer.layer.{}.attention.out_lin.bias": "blocks.{}.attention.output.bias",
    "distilbert.transformer.layer.{}.sa_layer_norm.weight": "blocks.{}.attention_norm.weight",
    "distilbert.transformer.layer.{}.sa_layer_norm.bias": "blocks.{}.attention_norm.bias",
    "distilbert.transformer.layer.{}.ffn.lin1.weight": "blocks.{}.feed_forward.up.weight",
    "distilbert.transformer.layer.{}.ffn.lin1.bias": "blocks.{}.feed_forward.up.bias",
    "distilbert.transformer.layer.{}.ffn.lin2.weight": "blocks.{}.feed_forward.down.weight",
    "distilbert.transformer.layer.{}.ffn.lin2.bias": "blocks.{}.feed_forward.down.bias",
    "distilbert.transformer.layer.{}.output_layer_norm.weight": "blocks.{}.feed_forward_norm.weight",
    "distilbert.transformer.layer.{}.output_layer_norm.bias": "blocks.{}.feed_forward_norm.bias",
    "vocab_transform.weight": "head.dense.weight",
    "vocab_transform.bias": "head.dense.bias",
    "vocab_layer_norm.weight": "head.norm.weight",
    "vocab_layer_norm.bias": "head.norm.bias",
    "vocab_projector.bias": "head.bias",
}

_ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_new", "relu": "relu"}
_OTHER_WORDS = {"gelu_pytorch_tanh": "gelu_tanh"} | {theirs: ours for ours, theirs in _ACTIVATIONS.items()}


def _understand(kind: str, fields: Fields, names: Collection[str]) -> dict[str, Any]:
    first = fields.get("pad_token_id", 1) + 1 if kind == "roberta" else 0
    activation = fields.get("hidden_act", "gelu")
    ends = {name.rpartition(".")[0] for name in names}
    return {
        "vocabulary": fields["vocab_size"],
        "context": fields["max_position_embeddings"] - first,
        "width": fields["hidden_size"],
        "layers": fields["num_hidden_layers"],
        "heads": fields["num_attention_heads"],
        "feed_forward": fields["intermediate_size"],
        "activation": _OTHER_WORDS.get(activation, activation),
        "norm_epsilon": fields.get("layer_norm_eps", 1e-12),
        "segments": fields.get("type_vocab_size", 2),
        "first_position": first,
        "pooler": "tanh" if ends & {"pooler.dense", f"{kind}.pooler.dense", "classifier.dense"} else "none",
        "masked_head": bool(ends & {"cls.predictions.transform.dense", "lm_head.dense"}),
        "dropout": fields.get("hidden_dropout_prob", 0.0),
    }


def _express(kind: str, config: EncoderConfig) -> dict[str, Any] | None:
    roberta = kind == "roberta"
    if not _plain(config) or not config.segments or config.pooler == "relu" or bool(config.first_position) != roberta:
        return None
    return {
        "vocab_size": config.vocabulary,
        "max_position_embeddings": config.context + config.first_position,
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "intermediate_size": config.feed_forward,
        "hidden_act": _ACTIVATIONS[config.activation],
        "layer_norm_eps": config.norm_epsilon,
        "type_vocab_size": config.segments,
        "tie_word_embeddings": True,
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": config.dropout,
        **({"pad_token_id": config.first_position - 1} if roberta else {}),
    }


def _plain(config: EncoderConfig) -> bool:
    """Whether layers and positions are those of 2019."""
    learned = config.positions == "learned"
    return learned and config.attention == (EVERYTHING,) and config.activation in _ACTIVATIONS


def _unsupported(fields: Fields) -> dict[str, object]:
    return {
        "relative positions": fields.get("position_embedding_type", "absolute") != "absolute",
        "a decoder": fields.get("is_decoder", False),
        "cross-attention": fields.get("add_cross_attention", False),
        "a head that does not share the embedding": not fields.get("tie_word_embeddings", True),
    }


def _understand_distilbert(fields: Fields, names: Collection[str]) -> dict[str, Any]:
    activation = fields.get("activation", "gelu")
    return {
        "vocabulary": fields["vocab_size"],
        "context": fields["max_position_embeddings"],
        "width": fields["dim"],
        "layers": fields["n_layers"],
        "heads": fields["n_heads"],
        "feed_forward": fields["hidden_dim"],
        "activation": _OTHER_WORDS.get(activation, activation),
        "segments": 0,
        "pooler": "relu" if "pre_classifier.weight" in names else "none",
        "masked_head": "vocab_transform.weight" in names,
        "dropout": fields.get("dropout", 0.0),
    }


def _express_distilbert(config: EncoderConfig) -> dict[str, Any] | None:
    if config.segments or config.first_position or config.pooler == "tanh" or config.norm_epsilon != 1e-12:
        return None
    if not _plain(config):
        return None
    return {
        "vocab_size": config.vocabulary,
        "max_position_embeddings": config.context,
        "dim": config.width,
        "n_layers": config.layers,
        "n_heads": config.heads,
        "hidden_dim": config.feed_forward,
        "activation": _ACTIVATIONS[config.activation],
        "tie_word_embeddings": True,
        "dropout": config.dropout,
        "attention_dropout": config.dropout,
    }


BERT = Family(
    "bert",
    EncoderConfig,
    BERT_TABLE,
    partial(_understand, "bert"),
    partial(_express, "bert"),
    name="Bert",
    words="BertForMaskedLM",
    prefix="bert.",
    unsupported=_unsupported,
    token_heads=True,
    classes_table={
        "bert.pooler.dense.weight": "pooler.weight",
        "bert.pooler.dense.bias": "pooler.bias",
        "classifier.weight": "score.weight",
        "classifier.bias": "score.bias",
    },
    tied=("cls.predictions.decoder.weight", "cls.predictions.decoder.bias"),
    unused=("cls.seq_relationship.",),
)
ROBERTA = Family(
    "roberta",
    EncoderConfig,
    ROBERTA_TABLE,
    partial(_understand, "roberta"),
    partial(_express, "roberta"),
    name="Roberta",
    words="RobertaForMaskedLM",
    prefix="roberta.",
    unsupported=_unsupported,
    token_heads=True,
    classes_table={
        "classifier.dense.weight": "pooler.weight",
        "classifier.dense.bias": "pooler.bias",
        "classifier.out_proj.weight": "score.weight",
        "classifier.out_proj.bias": "score.bias",
    },
    tied=("lm_head.decoder.weight", "lm_head.decoder.bias"),
)
DISTILBERT = Family(
    "distilbert",
    EncoderConfig,
    DISTILBERT_TABLE,
    _understand_distilbert,
    _express_distilbert,
    name="DistilBert",
    words="DistilBertForMaskedLM",
    prefix="distilbert.",
    unsupported=_unsupported,
    token_heads=True,
    classes_table={
        "pre_classifier.weight": "pooler.weight",
        "pre_classifier.bias": "pooler.bias",
        "classifier.weight": "score.weight",
        "classifier.bias": "score.bias",
    },
    tied=("vocab_projector.weight",),
)
