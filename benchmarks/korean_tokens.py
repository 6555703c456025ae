"""How many tokens Korean text needs: our own vocabulary of 16,384 beside GPT-2's of 50,257, on text neither has seen.

Every line of the sources goes by its hash either to training or to the held-out text, so that a repeated line is never
on both sides. Of the film reviews only the training file is opened.
Run: MALMOI_MIRROR=../shared/data python benchmarks/korean_tokens.py
"""

from __future__ import annotations

import hashlib
import time
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from malmoi.core.device import machine_facts
from malmoi.core.files import write_json
from malmoi.sources.fetch import fetch_source
from malmoi.tokenizers.public import gpt2_tokenizer
from malmoi.tokenizers.tokenizer import Tokenizer
from malmoi.tokenizers.train import TokenizerSettings, train_tokenizer

VOCABULARY = 16_384
HELD_OUT = 20
"""One line in so many is held out."""
BAR = 1 / 3
SOURCES: dict[str, Callable[[str], str]] = {
    "nsmc": lambda line: line.split("\t")[1],
    "krv-bible": lambda line: line.split("\t")[3],
    "python-docs-ko": lambda line: line.split("\t")[1],
    "debian-docs-ko": lambda line: line,
}
"""Source -> where the Korean of a line of its first file is."""


def main() -> None:
    """Train, measure, print, write benchmarks/results/korean_tokens.json."""
    training: list[str] = []
    held_out: dict[str, list[str]] = {}
    for source, korean in SOURCES.items():
        held_out[source] = []
        for text in texts(fetch_source(source)[0], korean):
            (held_out[source] if is_held_out(text) else training).append(text)
    size, began = sum(map(len, training)), time.perf_counter()
    ours = train_tokenizer(training, TokenizerSettings(vocabulary=VOCABULARY))
    print(f"trained {VOCABULARY:,} tokens on {size:,} characters in {time.perf_counter() - began:.0f} s")
    theirs = gpt2_tokenizer(fetch_source("gpt2-vocabulary"))
    rows = {source: compare(ours, theirs, lines) for source, lines in held_out.items()}
    rows["all"] = compare(ours, theirs, [line for lines in held_out.values() for line in lines])
    print(
        f"{'held-out text':15} {'characters':>10} {'ours':>6} {'GPT-2':>6}  tokens a character; ratio (bar: <= 0.333)"
    )
    for name, row in rows.items():
        print(f"{name:15} {row['characters']:10,} {row['ours']:6.3f} {row['gpt2']:6.3f}  {row['ratio']:.3f}")
    print("reached" if rows["all"]["ratio"] <= BAR else "NOT reached")
    result = {"machine": machine_facts(), "vocabulary": VOCABULARY, "bar": BAR, "tokens_a_character": rows}
    write_json(Path(__file__).parent / "results" / "korean_tokens.json", result)


def texts(path: Path, korean: Callable[[str], str]) -> Iterator[str]:
    """The Korean of each line that has any, composed."""
    for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
        text = unicodedata.normalize("NFC", korean(line)).strip()
        if any("가" <= character <= "힣" for character in text):
            yield text


def is_held_out(text: str) -> bool:
    """The same for the same text, whatever the file and the run."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) % HELD_OUT == 0


def compare(ours: Tokenizer, theirs: Tokenizer, lines: list[str]) -> dict[str, Any]:
    """Tokens a character of both, and their ratio."""
    characters = sum(map(len, lines))
    counts = {
        name: sum(map(len, tokenizer.encode_batch(lines))) for name, tokenizer in (("ours", ours), ("gpt2", theirs))
    }
    per_character = {name: count / characters for name, count in counts.items()}
    return {"lines": len(lines), "characters": characters, **per_character, "ratio": counts["ours"] / counts["gpt2"]}


if __name__ == "__main__":
    main()
