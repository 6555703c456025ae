"""SmolLM2 written as GGUF in every type: size, the ids and the greedy tokens of llama.cpp, the cost in perplexity.

llama.cpp is `xllamacpp` of the test extra. Its ids and tokens are compared with malmoi's; perplexity is that of the
weights in the file, read back by malmoi, on a text of the user.
Run: python benchmarks/gguf_export.py SmolLM2-135M-Instruct.Q4_1.gguf --text TEXT.txt
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path
from typing import Any

import httpx
import xllamacpp
from random_strings import random_strings

from malmoi.core.device import machine_facts
from malmoi.core.files import write_json
from malmoi.formats.checkpoint import Checkpoint, load_checkpoint
from malmoi.formats.gguf_export import TYPES, export_gguf
from malmoi.generate.generator import complete
from malmoi.generate.sampling import SamplingSettings
from malmoi.generate.score import score

PROMPT = "The capital of France is"
TOKENS = 32
STRINGS = 1_000
WINDOW = 512


def main() -> None:
    """Export, compare, print, write benchmarks/results/gguf_export.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("gguf", type=Path)
    parser.add_argument("--text", type=Path, required=True, help="a text file; its first 8,000 characters are scored")
    arguments = parser.parse_args()
    source = load_checkpoint(arguments.gguf)
    text = arguments.text.read_text(encoding="utf-8")[:8_000]
    result: dict[str, Any] = {
        "machine": machine_facts(),
        "llama.cpp": f"xllamacpp {xllamacpp.__version__}",
        "types": {},
    }
    base = perplexity(source, text)
    wanted = complete(source.language_model, source.tokenizer, PROMPT, greedy()).tokens
    for name in TYPES:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / f"smollm2-{name}.gguf"
            export_gguf(source.language_model, source.tokenizer, path, name)
            row = {"bytes": path.stat().st_size, "perplexity": perplexity(load_checkpoint(path), text)}
            row["perplexity_change"] = row["perplexity"] / base - 1
            row |= in_llama_cpp(path, source, wanted)
        result["types"][name] = row
        print(
            f"{name:5} {row['bytes'] / 1e6:6.1f} MB, perplexity {row['perplexity']:.3f} "
            f"({row['perplexity_change']:+.3%}), same ids {row['same_ids']:,} of {STRINGS:,}, "
            f"same greedy tokens {row['same_greedy_tokens']} of {len(wanted)}"
        )
    write_json(Path(__file__).parent / "results" / "gguf_export.json", result)


def in_llama_cpp(path: Path, source: Checkpoint, wanted: list[int]) -> dict[str, int]:
    """How many strings get the same ids, and how many greedy tokens are the same until the first that is not."""
    settings = xllamacpp.CommonParams()
    settings.model.path, settings.n_ctx, settings.n_parallel, settings.port = str(path), 512, 1, 0
    settings.verbosity, settings.warmup, settings.fit_params = -1, False, False
    settings.cache_type_k = settings.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    settings.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED  # it uses float16
    server = xllamacpp.Server(settings)
    client = httpx.Client(base_url=server.listening_address, timeout=120)
    same = 0
    for text in random_strings(STRINGS):
        answer = client.post("/tokenize", json={"content": text, "parse_special": False}).raise_for_status().json()
        same += answer["tokens"] == source.tokenizer.encode(text)
    body = {"prompt": source.tokenizer.encode(PROMPT), "n_predict": TOKENS, "temperature": 0, "return_tokens": True}
    tokens = client.post("/completion", json=body).raise_for_status().json()["tokens"]
    agreed = next((place for place, (a, b) in enumerate(zip(tokens, wanted, strict=False)) if a != b), len(wanted))
    return {"same_ids": same, "same_greedy_tokens": agreed}


def greedy() -> SamplingSettings:
    """The most probable token, every time."""
    return SamplingSettings(temperature=0, maximum_tokens=TOKENS)


def perplexity(checkpoint: Checkpoint, text: str) -> float:
    """Of a text, in windows that share nothing."""
    ids = checkpoint.tokenizer.encode(text)
    parts = [ids[start : start + WINDOW] for start in range(0, len(ids), WINDOW)]
    costs = [
        -row.logprob for part in parts for row in score(checkpoint.language_model, part) if row.logprob is not None
    ]
    return math.exp(sum(costs) / len(costs))


if __name__ == "__main__":
    main()
