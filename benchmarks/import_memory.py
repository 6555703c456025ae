"""Peak memory of bringing public weights here: read and written again, above what Python and PyTorch take.

Counted is anonymous memory (what has to be kept), sampled every few milliseconds; pages of mapped files are the
system's to drop. Each kind of file is imported in a process of its own.
Run: python benchmarks/import_memory.py
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import torch

from malmoi.core.device import machine_facts
from malmoi.core.files import write_json
from malmoi.formats.checkpoint import load_checkpoint, save_checkpoint
from malmoi.formats.gguf_export import export_gguf
from malmoi.formats.weights import open_weights
from malmoi.models.gpt import GPT
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.presets import preset
from malmoi.models.registry import build_model
from malmoi.tokenizers.train import TokenizerSettings, train_tokenizer

BAR = 1.15
VOCABULARY = 270
SHAPES = {
    "llama": GPTConfig(
        vocabulary=VOCABULARY, context=2_048, width=1_536, layers=10, heads=12, query_key_norm=False, tied=False
    ),
    "gpt2": preset("gpt2-medium").model_copy(update={"vocabulary": VOCABULARY}),
}


def main() -> None:
    """Import, print, write benchmarks/results/import_memory.json."""
    if len(sys.argv) == 3:
        print(json.dumps(imported(Path(sys.argv[1]), Path(sys.argv[2]))))
        return
    rows = {}
    with tempfile.TemporaryDirectory() as directory:
        for name, path in make_sources(Path(directory)).items():
            command = [sys.executable, __file__, str(path), f"{directory}/again"]
            finished = subprocess.run(command, capture_output=True, text=True, check=True)
            rows[name] = json.loads(finished.stdout.splitlines()[-1])
            row = rows[name]
            print(
                f"{name:22} weights {row['weights'] / 1e6:7.0f} MB, peak {row['peak'] / row['weights']:.3f} times that"
            )
    worst = max(row["peak"] / row["weights"] for row in rows.values())
    print(f"at most {worst:.3f} (bar: <= {BAR}): {'reached' if worst <= BAR else 'NOT reached'}")
    path = Path(__file__).parent / "results" / "import_memory.json"
    write_json(path, {"machine": machine_facts(), "bar": BAR, "worst": worst, "sources": rows})


def make_sources(directory: Path) -> dict[str, Path]:
    """A large model in the kinds of files that public ones come in."""
    tokenizer = train_tokenizer(["말모이는 낱말을 모은 사전이다."] * 2, TokenizerSettings(vocabulary=VOCABULARY))
    sources = {}
    for family, config in SHAPES.items():
        model = build_model(config, seed=0)
        assert isinstance(model, GPT)
        for dtype in (torch.float32, torch.bfloat16):
            name = f"{family} {str(dtype).removeprefix('torch.')}"
            sources[name] = directory / name.replace(" ", "-")
            save_checkpoint(sources[name], model.to(dtype), tokenizer, "")
        if family == "llama":
            sources["llama gguf q8_0"] = directory / "llama.gguf"
            export_gguf(model.float(), tokenizer, sources["llama gguf q8_0"], "q8_0")
    return sources


def imported(source: Path, target: Path) -> dict[str, Any]:
    """Bytes of the weights in memory, and the most memory that reading and writing them took."""
    dtype = torch.float32
    if source.is_dir():
        with open_weights(source) as weights:
            dtype = weights.dtype
    start, peak = anonymous(), [0]
    stopped = threading.Event()
    watcher = threading.Thread(target=watch, args=(peak, stopped), daemon=True)
    watcher.start()
    checkpoint = load_checkpoint(source, dtype)
    save_checkpoint(target, checkpoint.model, checkpoint.tokenizer, "")
    stopped.set()
    watcher.join()
    size = sum(parameter.nbytes for parameter in checkpoint.model.parameters())
    return {"weights": size, "peak": peak[0] - start, "start": start}


def watch(peak: list[int], stopped: threading.Event) -> None:
    """Keep the largest value seen until told to stop."""
    while not stopped.is_set():
        peak[0] = max(peak[0], anonymous())
        time.sleep(0.004)


def anonymous() -> int:
    """Bytes of memory that no file stands behind."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon"))


if __name__ == "__main__":
    main()
