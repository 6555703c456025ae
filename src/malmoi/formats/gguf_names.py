"""How GGUF names the tensors of our models."""

from __future__ import annotations

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

GGUF_TABLES = {"llama": GGUF, "qwen2": GGUF, "qwen3": GGUF, "gpt2": GGUF_GPT2}
"""`general.architecture` to its table."""
