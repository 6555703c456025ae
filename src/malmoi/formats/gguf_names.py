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
    "blk.{}.ffn_norm.weight": "blocks.{}.feed_forward_norm.weight",
    "blk.{}.ffn_gate.weight": "blocks.{}.feed_forward.gate.weight",
    "blk.{}.ffn_up.weight": "blocks.{}.feed_forward.up.weight",
    "blk.{}.ffn_down.weight": "blocks.{}.feed_forward.down.weight",
    "output_norm.weight": "norm.weight",
    "output.weight": "head.weight",
}
