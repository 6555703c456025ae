"""SmolLM2 read from its GGUF by malmoi and by `transformers`: the same logits, the same token ids, the same answer.

transformers reads GGUF files only with the package `accelerate` beside it.
Run: python benchmarks/smollm2_parity.py SmolLM2-135M-Instruct.Q4_1.gguf --korean ../shared/data/nsmc/train.tsv
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import Any

import torch
from random_strings import random_strings
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer

from malmoi.core.device import machine_facts
from malmoi.core.files import write_json
from malmoi.core.hashing import hash_file
from malmoi.formats.checkpoint import load_checkpoint
from malmoi.models.gpt import GPT
from malmoi.tokenizers.tokenizer import Tokenizer

PROMPT = "The capital of France is"
TEXTS = (
    PROMPT,
    "대한민국의 수도는 서울이다. 말모이는 우리말 사전의 원고였다.",
    "def add(a, b):\n    return a + b  # 12345\n",
    "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n",
)
STRINGS = 10_000


def main() -> None:
    """Compare, print, write benchmarks/results/smollm2_parity.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("gguf", type=Path)
    parser.add_argument("--korean", type=Path, required=True, help="a text file, one Korean sentence a line")
    arguments = parser.parse_args()
    ours = load_checkpoint(arguments.gguf)
    theirs = AutoModelForCausalLM.from_pretrained(
        arguments.gguf.parent, gguf_file=arguments.gguf.name, dtype=torch.float32
    ).eval()
    their_tokenizer = AutoTokenizer.from_pretrained(arguments.gguf.parent, gguf_file=arguments.gguf.name)
    texts = strings(arguments.korean)
    result = {
        "machine": machine_facts(),
        "sha256": hash_file(arguments.gguf),
        "logits": compare_logits(ours.language_model, theirs, ours.tokenizer),
        "greedy": continue_greedily(ours.language_model, ours.tokenizer),
        "token_ids_as_transformers_reads_it": compare_ids(ours.tokenizer, their_tokenizer, texts),
        "token_ids_as_published": compare_ids(ours.tokenizer, as_published(their_tokenizer), texts),
    }
    for key in ("logits", "greedy", "token_ids_as_transformers_reads_it", "token_ids_as_published"):
        print(f"{key}: {result[key]}")
    write_json(Path(__file__).parent / "results" / "smollm2_parity.json", result)


@torch.no_grad()
def compare_logits(ours: GPT, theirs: Any, tokenizer: Tokenizer) -> dict[str, float]:
    """Largest difference of any logit over all texts, beside the size of the logits."""
    difference, size = 0.0, 0.0
    for text in TEXTS:
        tokens = torch.tensor([tokenizer.encode_template(text)])
        wanted = theirs(tokens).logits
        difference = max(difference, (ours.logits(tokens) - wanted).abs().max().item())
        size = max(size, wanted.abs().max().item())
    return {"largest_difference": difference, "largest_logit": size, "bar": 1e-3}


@torch.no_grad()
def continue_greedily(model: GPT, tokenizer: Tokenizer) -> str:
    """The prompt with its eight most likely next tokens."""
    tokens = tokenizer.encode(PROMPT)
    for _ in range(8):
        tokens.append(int(model.logits(torch.tensor([tokens]))[0, -1].argmax()))
    return tokenizer.decode(tokens)


def strings(korean: Path) -> list[str]:
    """Half random Unicode, half lines of a Korean text; the same at every run."""
    dice = random.Random(0)
    lines = dice.sample(korean.read_text(encoding="utf-8").splitlines(), STRINGS // 2)
    return random_strings(STRINGS - len(lines)) + lines


def compare_ids(ours: Tokenizer, theirs: Any, texts: list[str]) -> dict[str, Any]:
    """How many texts get the same ids, and the first that does not."""
    pairs = zip(texts, ours.encode_batch(texts), theirs(texts, add_special_tokens=False).input_ids, strict=True)
    different = [text for text, left, right in pairs if left != right]
    return {"texts": len(texts), "same": len(texts) - len(different), "first_different": different[:1]}


def as_published(theirs: Any) -> Any:
    """Their tokenizer with SmolLM2's own pre-tokenizer. From a GGUF they take GPT-2's, whatever the file names.

    The file says `tokenizer.ggml.pre = smollm`: every digit alone, then GPT-2's pieces; so does llama.cpp.
    """
    digits = pre_tokenizers.Digits(individual_digits=True)
    pieces = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    theirs.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, pieces])
    return theirs


if __name__ == "__main__":
    main()
