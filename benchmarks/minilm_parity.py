"""MiniLM read by malmoi and by `transformers`: the same ids, the same states, the same likeness of sentences.

Run: python benchmarks/minilm_parity.py
"""

from __future__ import annotations

from pathlib import Path

import torch
from random_strings import random_strings
from torch.nn import functional as F
from transformers import AutoModel, AutoTokenizer

from malmoi.core.device import machine_facts
from malmoi.core.files import write_json
from malmoi.formats.checkpoint import load_model
from malmoi.models.encoder import mean_pooled
from malmoi.sources.fetch import fetch_source
from malmoi.tokenizers.load import load_tokenizer

SENTENCES = (
    "A man is playing a guitar.",
    "Someone plays an instrument.",
    "The weather is cold today, isn't it?",
    "It's freezing outside!",
    "말모이는 낱말을 모은 사전이다.",
    "def add(a, b):\n    return a + b  # 12345",
    "Café naïve 😀 e\u0301",
)
STRINGS = 10_000


@torch.no_grad()
def main() -> None:
    """Compare, print, write benchmarks/results/minilm_parity.json."""
    directory = fetch_source("minilm-l6-v2")[0].parent
    ours, theirs = load_model(directory), AutoModel.from_pretrained(directory).eval()
    tokenizer, their_tokenizer = load_tokenizer(directory), AutoTokenizer.from_pretrained(directory)
    texts = random_strings(STRINGS)
    wanted = their_tokenizer(texts, padding=False, truncation=False)["input_ids"]
    same = sum(tokenizer.encode_wrapped(text)[0] == ids for text, ids in zip(texts, wanted, strict=True))
    rows = [torch.tensor(tokenizer.encode_wrapped(text)[0]) for text in SENTENCES]
    lengths = torch.tensor([len(row) for row in rows])
    tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    batch = their_tokenizer(list(SENTENCES), padding=True, return_tensors="pt")
    real = batch["attention_mask"].bool()
    states, their_states = ours(tokens, lengths), theirs(**batch)[0]
    directions = mean_pooled(states, lengths)
    means = (their_states * real[..., None]).sum(1) / real.sum(1, keepdim=True)
    their_directions = F.normalize(means, dim=-1)
    result = {
        "machine": machine_facts(),
        "same_ids": same,
        "strings": STRINGS,
        "hidden_states_largest_difference": float((states - their_states)[real].abs().max()),
        "similarity_largest_difference": float(
            (directions @ directions.T - their_directions @ their_directions.T).abs().max()
        ),
        "similarities": {
            f"{SENTENCES[0]} / {other}": round(float(directions[0] @ directions[place]), 4)
            for place, other in enumerate(SENTENCES[1:3], start=1)
        },
    }
    for name, value in result.items():
        print(f"{name}: {value}")
    write_json(Path(__file__).parent / "results" / "minilm_parity.json", result)


if __name__ == "__main__":
    main()
