"""Ten thousand damaged checkpoints: each is read or named in a sentence, without another error and without much memory.

Every file of small checkpoints is damaged in turn: bytes changed, cut out, doubled, cut off; numbers in JSON made
absurd. What is counted: how many were read, how many were refused with a sentence, and what else happened (the bar:
nothing), how much memory the whole took above its beginning, and the longest time one of them took.
Run: python benchmarks/fuzz_formats.py
"""

from __future__ import annotations

import random
import re
import resource
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch

from malmoi.core.device import machine_facts
from malmoi.core.errors import UserError
from malmoi.core.files import write_json
from malmoi.formats.checkpoint import load_checkpoint, save_checkpoint
from malmoi.formats.gguf_export import export_gguf
from malmoi.models.classifier import Classifier
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.gpt import GPT
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.registry import build_model
from malmoi.tokenizers.tokenizer import Tokenizer
from malmoi.tokenizers.train import TokenizerSettings, train_tokenizer

FILES = 10_000
ABSURD = ("0", "-1", "1", "3", "4294967296", "9223372036854775807", "1e308", "null", "true", '""', "[]", "{}", '"x"')
HEAD = 4_096
"""Bytes from the beginning of a binary file that most damage is done to: its header."""


def main() -> None:
    """Damage, read, count, write benchmarks/results/fuzz_formats.json."""
    dice = random.Random(0)
    with tempfile.TemporaryDirectory() as directory:
        subjects = make_subjects(Path(directory))
        targets = [(root, file) for root in subjects for file in files_of(root)]
        for root in subjects:
            load_checkpoint(root)
        before, outcomes, slowest = peak_mebibytes(), Counter[str](), 0.0
        for number in range(FILES):
            root, file = targets[number % len(targets)]
            whole = file.read_bytes()
            file.write_bytes(damage(whole, file.suffix, dice))
            start = time.perf_counter()
            outcomes[outcome(root)] += 1
            slowest = max(slowest, time.perf_counter() - start)
            file.write_bytes(whole)
    result = {
        "machine": machine_facts(),
        "files": FILES,
        "kinds": sorted({file.name for _, file in targets}),
        "outcomes": dict(outcomes),
        "mebibytes_above_the_start": round(peak_mebibytes() - before, 1),
        "slowest_seconds": round(slowest, 3),
    }
    print(f"{FILES:,} damaged files: {result['outcomes']}")
    print(f"memory above the start {result['mebibytes_above_the_start']} MiB, the slowest took {slowest:.3f} s")
    write_json(Path(__file__).parent / "results" / "fuzz_formats.json", result)


def make_subjects(directory: Path) -> list[Path]:
    """A language model, a classifier on an encoder, one in several files, one of PyTorch, and a GGUF."""
    tokenizer = train_tokenizer(["말모이는 낱말을 모은 사전이다."] * 2, TokenizerSettings(kind="byte", vocabulary=270))
    shape = {"vocabulary": 270, "context": 24, "width": 32, "layers": 2, "heads": 4}
    model = build_model(GPTConfig(**shape), seed=0)
    assert isinstance(model, GPT)
    encoder = build_model(EncoderConfig(**shape), seed=0)
    save_checkpoint(directory / "gpt", model, tokenizer, "")
    save_checkpoint(directory / "encoder", Classifier(encoder, ["부정", "긍정"]), tokenizer, "")
    export_gguf(model, tokenizer, directory / "model.gguf", "q8_0")
    in_several_files(directory, model, tokenizer)
    return [directory / name for name in ("gpt", "encoder", "sharded", "pytorch", "model.gguf")]


def in_several_files(directory: Path, model: GPT, tokenizer: Tokenizer) -> None:
    """The same as shards with an index, and as a state dict of PyTorch."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(directory / "gpt" / "model.safetensors")
    for name in ("sharded", "pytorch"):
        shutil.copytree(directory / "gpt", directory / name)
        (directory / name / "model.safetensors").unlink()
    torch.save(tensors, directory / "pytorch" / "pytorch_model.bin")
    places = {name: f"model-{number % 2}.safetensors" for number, name in enumerate(sorted(tensors))}
    for file in set(places.values()):
        part = {name: value for name, value in tensors.items() if places[name] == file}
        save_file(part, directory / "sharded" / file)
    write_json(directory / "sharded" / "model.safetensors.index.json", {"metadata": {}, "weight_map": places})


def files_of(root: Path) -> list[Path]:
    """What of a checkpoint is damaged; its card and generation settings are text that nothing depends on."""
    if root.is_file():
        return [root]
    return sorted(file for file in root.iterdir() if file.name not in ("card.md", "generation_config.json"))


def damage(content: bytes, suffix: str, dice: random.Random) -> bytes:
    """One to four changes."""
    damaged = bytearray(content)
    for _ in range(dice.randrange(1, 5)):
        reach = len(damaged) if suffix == ".json" else min(len(damaged), HEAD)
        place = dice.randrange(max(1, reach))
        match dice.randrange(6):
            case 0 | 1:
                damaged[place : place + 1] = bytes([dice.randrange(256)])
            case 2:
                del damaged[place : place + dice.randrange(1, 40)]
            case 3:
                damaged[place:place] = damaged[place : place + dice.randrange(1, 40)]
            case 4:
                numbers = list(re.finditer(rb"(?<=[:\[, ])-?\d+(?:\.\d+)?", bytes(damaged[:reach])))
                if numbers:
                    found = dice.choice(numbers)
                    damaged[found.start() : found.end()] = dice.choice(ABSURD).encode()
            case _:
                if dice.random() < 0.2:
                    del damaged[dice.randrange(len(damaged)) if damaged else 0 :]
    return bytes(damaged)


def outcome(root: Path) -> str:
    """What reading a checkpoint ended in."""
    try:
        load_checkpoint(root)
    except UserError:
        return "named"
    except Exception as error:  # what is looked for
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        where = place.tb_frame.f_code.co_name if place else "?"
        return f"{type(error).__name__} in {where}: {str(error)[:80]}"
    return "read"


def peak_mebibytes() -> float:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
