"""How other formats name the tensors of our models: one readable table a family, used to load and to save."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

# Their name on the left, ours on the right. {} is the number of the block. Several of ours are joined along their rows
# into one of theirs; "T" means that theirs is transposed.

LLAMA = {
    "model.embed_tokens.weight": "embedding.weight",
    "model.layers.{}.input_layernorm.weight": "blocks.{}.attention_norm.weight",
    "model.layers.{}.self_attn.q_proj.weight": "blocks.{}.attention.query.weight",
    "model.layers.{}.self_attn.q_proj.bias": "blocks.{}.attention.query.bias",
    "model.layers.{}.self_attn.k_proj.weight": "blocks.{}.attention.key.weight",
    "model.layers.{}.self_attn.k_proj.bias": "blocks.{}.attention.key.bias",
    "model.layers.{}.self_attn.v_proj.weight": "blocks.{}.attention.value.weight",
    "model.layers.{}.self_attn.v_proj.bias": "blocks.{}.attention.value.bias",
    "model.layers.{}.self_attn.o_proj.weight": "blocks.{}.attention.output.weight",
    "model.layers.{}.self_attn.o_proj.bias": "blocks.{}.attention.output.bias",
    "model.layers.{}.post_attention_layernorm.weight": "blocks.{}.feed_forward_norm.weight",
    "model.layers.{}.mlp.gate_proj.weight": "blocks.{}.feed_forward.gate.weight",
    "model.layers.{}.mlp.gate_proj.bias": "blocks.{}.feed_forward.gate.bias",
    "model.layers.{}.mlp.up_proj.weight": "blocks.{}.feed_forward.up.weight",
    "model.layers.{}.mlp.up_proj.bias": "blocks.{}.feed_forward.up.bias",
    "model.layers.{}.mlp.down_proj.weight": "blocks.{}.feed_forward.down.weight",
    "model.layers.{}.mlp.down_proj.bias": "blocks.{}.feed_forward.down.bias",
    "model.norm.weight": "norm.weight",
    "lm_head.weight": "head.weight",
    "score.weight": "score.weight",
}

QWEN3 = LLAMA | {
    "model.layers.{}.self_attn.q_norm.weight": "blocks.{}.attention.query_norm.weight",
    "model.layers.{}.self_attn.k_norm.weight": "blocks.{}.attention.key_norm.weight",
}

GPT2 = {
    "transformer.wte.weight": "embedding.weight",
    "transformer.wpe.weight": "positions.weight",
    "transformer.h.{}.ln_1.weight": "blocks.{}.attention_norm.weight",
    "transformer.h.{}.ln_1.bias": "blocks.{}.attention_norm.bias",
    "transformer.h.{}.attn.c_attn.weight": (
        "T blocks.{}.attention.query.weight blocks.{}.attention.key.weight blocks.{}.attention.value.weight"
    ),
    "transformer.h.{}.attn.c_attn.bias": (
        "blocks.{}.attention.query.bias blocks.{}.attention.key.bias blocks.{}.attention.value.bias"
    ),
    "transformer.h.{}.attn.c_proj.weight": "T blocks.{}.attention.output.weight",
    "transformer.h.{}.attn.c_proj.bias": "blocks.{}.attention.output.bias",
    "transformer.h.{}.ln_2.weight": "blocks.{}.feed_forward_norm.weight",
    "transformer.h.{}.ln_2.bias": "blocks.{}.feed_forward_norm.bias",
    "transformer.h.{}.mlp.c_fc.weight": "T blocks.{}.feed_forward.up.weight",
    "transformer.h.{}.mlp.c_fc.bias": "blocks.{}.feed_forward.up.bias",
    "transformer.h.{}.mlp.c_proj.weight": "T blocks.{}.feed_forward.down.weight",
    "transformer.h.{}.mlp.c_proj.bias": "blocks.{}.feed_forward.down.bias",
    "transformer.ln_f.weight": "norm.weight",
    "transformer.ln_f.bias": "norm.bias",
    "lm_head.weight": "head.weight",
    "score.weight": "score.weight",
}

GGUF = {
    "token_embd.weight": "embedding.weight",
    "blk.{}.attn_norm.weight": "blocks.{}.attention_norm.weight",
    "blk.{}.attn_q.weight": "blocks.{}.attention.query.weight",
    "blk.{}.attn_q.bias": "blocks.{}.attention.query.bias",
    "blk.{}.attn_q_norm.weight": "blocks.{}.attention.query_norm.weight",
    "blk.{}.attn_k.weight": "blocks.{}.attention.key.weight",
    "blk.{}.attn_k.bias": "blocks.{}.attention.key.bias",
    "blk.{}.attn_k_norm.weight": "blocks.{}.attention.key_norm.weight",
    "blk.{}.attn_v.weight": "blocks.{}.attention.value.weight",
    "blk.{}.attn_v.bias": "blocks.{}.attention.value.bias",
    "blk.{}.attn_output.weight": "blocks.{}.attention.output.weight",
    "blk.{}.attn_output.bias": "blocks.{}.attention.output.bias",
    "blk.{}.ffn_norm.weight": "blocks.{}.feed_forward_norm.weight",
    "blk.{}.ffn_gate.weight": "blocks.{}.feed_forward.gate.weight",
    "blk.{}.ffn_gate.bias": "blocks.{}.feed_forward.gate.bias",
    "blk.{}.ffn_up.weight": "blocks.{}.feed_forward.up.weight",
    "blk.{}.ffn_up.bias": "blocks.{}.feed_forward.up.bias",
    "blk.{}.ffn_down.weight": "blocks.{}.feed_forward.down.weight",
    "blk.{}.ffn_down.bias": "blocks.{}.feed_forward.down.bias",
    "output_norm.weight": "norm.weight",
    "output.weight": "head.weight",
}

GGUF_GPT2 = {
    "token_embd.weight": "embedding.weight",
    "position_embd.weight": "positions.weight",
    "blk.{}.attn_norm.weight": "blocks.{}.attention_norm.weight",
    "blk.{}.attn_norm.bias": "blocks.{}.attention_norm.bias",
    "blk.{}.attn_qkv.weight": (
        "blocks.{}.attention.query.weight blocks.{}.attention.key.weight blocks.{}.attention.value.weight"
    ),
    "blk.{}.attn_qkv.bias": (
        "blocks.{}.attention.query.bias blocks.{}.attention.key.bias blocks.{}.attention.value.bias"
    ),
    "blk.{}.attn_output.weight": "blocks.{}.attention.output.weight",
    "blk.{}.attn_output.bias": "blocks.{}.attention.output.bias",
    "blk.{}.ffn_norm.weight": "blocks.{}.feed_forward_norm.weight",
    "blk.{}.ffn_norm.bias": "blocks.{}.feed_forward_norm.bias",
    "blk.{}.ffn_up.weight": "blocks.{}.feed_forward.up.weight",
    "blk.{}.ffn_up.bias": "blocks.{}.feed_forward.up.bias",
    "blk.{}.ffn_down.weight": "blocks.{}.feed_forward.down.weight",
    "blk.{}.ffn_down.bias": "blocks.{}.feed_forward.down.bias",
    "output_norm.weight": "norm.weight",
    "output_norm.bias": "norm.bias",
    "output.weight": "head.weight",
}

TABLES = {"llama": LLAMA, "qwen2": LLAMA, "qwen3": QWEN3, "gpt2": GPT2}
"""`model_type` of transformers to its table."""

GGUF_TABLES = {"llama": GGUF, "qwen2": GGUF, "qwen3": GGUF, "gpt2": GGUF_GPT2}
"""`general.architecture` of GGUF to its table."""


@dataclass(frozen=True)
class Line:
    """One tensor of theirs.

    Attributes:
        theirs: its name.
        ours: the names of the parameters it holds, joined along their rows.
        transposed: whether theirs is stored transposed.
    """

    theirs: str
    ours: tuple[str, ...]
    transposed: bool = False


def lines(table: dict[str, str], layers: int, names: Collection[str]) -> list[Line]:
    """The table written out for a model of so many layers whose parameters have these names."""
    result = []
    for theirs, right in table.items():
        transposed = right.startswith("T ")
        for layer in range(layers) if "{}" in theirs else [0]:
            ours = tuple(right.removeprefix("T ").replace("{}", str(layer)).split())
            if all(name in names for name in ours):
                result.append(Line(theirs.replace("{}", str(layer)), ours, transposed))
    return result


def plain_lines(names: Collection[str]) -> list[Line]:
    """For a file that uses our own names."""
    return [Line(name, (name,)) for name in names]
