"""Trainings and a search killed with SIGKILL at random moments; what they end with beside those that nothing disturbed.

A pretraining, a fine-tuning and a search for settings, all tiny. Each is started, killed some time after it began, and
started again until it ends; then the next one begins, until there were enough kills. Compared are the bytes of the
weights, and of a search what every trial tried and reached. Whatever is found torn on the way would stop it.

Run: python benchmarks/kill.py [--kills 100]
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from malmoi.core.device import machine_facts
from malmoi.core.files import read_json, write_json
from malmoi.core.hashing import hash_file
from malmoi.corpus.document import Document
from malmoi.corpus.store import DocumentWriter
from malmoi.tokenizers.train import TokenizerSettings, train_tokenizer

TALES = ("The fox said to the bear: who are you? ", "여우가 곰에게 물었습니다. 너는 누구냐? ")
TINY = ["context=16", "rows=2", "samples=0", "trainer.precision=float32", "trainer.checkpoint_every=5"]
SHAPE = ["model.layers=1", "model.width=16", "model.heads=2", "model.dropout=0.1"]


def main() -> None:
    """Kill, compare, write benchmarks/results/kill.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="over the three together")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    chance, found = random.Random(arguments.seed), {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make_text(folder)
        for name, command in commands(folder).items():
            started = time.monotonic()
            run(command("untouched"))
            seconds = time.monotonic() - started
            wanted = arguments.kills // 3 + (name == "tune") * (arguments.kills % 3)
            expected = outcome(folder / f"{name}-untouched")
            kills, equal = 0, []
            while kills < wanted:
                which = f"killed-{len(equal)}"
                while kills < wanted and kill(command(which), seconds, chance):
                    kills += 1
                run(command(which))
                equal.append(outcome(folder / f"{name}-{which}") == expected)
            found[name] = {"kills": kills, "runs": len(equal), "equal": sum(equal), "compared": sorted(expected)}
            print(f"{name}: {kills} kills in {len(equal)} runs, of which {sum(equal)} ended the same", flush=True)
    result = {"machine": machine_facts(), "kills": sum(one["kills"] for one in found.values()), "runs": found}
    write_json(Path(__file__).parent / "results" / "kill.json", result)


def make_text(folder: Path) -> None:
    """A corpus, a tokenizer and a recipe."""
    (folder / "corpus").mkdir()
    for split, copies in (("train", 12), ("held_out", 2)):
        with DocumentWriter(folder / "corpus" / f"{split}.parquet") as writer:
            for number in range(copies):
                writer.write(Document(TALES[number % 2] * (5 + number), "tales", "public domain", f"{number}"))
    train_tokenizer(iter(TALES), TokenizerSettings(kind="byte", vocabulary=260)).save(folder / "tokenizer")
    settings = [line.replace("=", ": ") for line in [*TINY, *SHAPE] if "." not in line]
    recipe = ["about: killed", "stages:", "- stage: pretrain", f"  corpus: {folder / 'corpus'}"]
    recipe += [f"  tokenizer: {folder / 'tokenizer'}", "  steps: 40", *(f"  {line}" for line in settings)]
    recipe += ["  model: {layers: 1, width: 16, heads: 2, dropout: 0.1}"]
    recipe += ["  trainer: {precision: float32, checkpoint_every: 5, learning_rate: 0.003}"]
    (folder / "killed.yaml").write_text("\n".join(recipe) + "\n")


def commands(folder: Path) -> dict[str, Any]:
    """Name -> what makes the command line that writes to NAME-WHICH."""
    malmoi = [sys.executable, "-m", "malmoi"]
    text = [f"corpus={folder / 'corpus'}", f"tokenizer={folder / 'tokenizer'}", "steps=400", *TINY]
    search = ["--search", "trainer.learning_rate=0.0005:0.05:log", "--search", "rows=2,4", "--trials", "8"]

    def fine_tuned(which: str) -> list[str]:
        """Goes on from the pretrained weights on the same text."""
        first = f"initial={folder / 'pretrain-untouched'}"
        return [*malmoi, "pretrain", *text, first, "seed=1", "--out", str(folder / f"fine-tune-{which}")]

    return {
        "pretrain": lambda which: [*malmoi, "pretrain", *text, *SHAPE, "--out", str(folder / f"pretrain-{which}")],
        "fine-tune": fine_tuned,
        "tune": lambda which: [
            *malmoi,
            "tune",
            str(folder / "killed.yaml"),
            *search,
            "--out",
            str(folder / f"tune-{which}"),
        ],
    }


def run(command: list[str]) -> None:
    """To the end, which has to be a good one."""
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        sys.exit(finished.stdout + finished.stderr)


def kill(command: list[str], seconds: float, chance: random.Random) -> bool:
    """Start and kill at some moment; whether it was still there. One that ends by itself has to end well."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    time.sleep(chance.uniform(0.3, 1.0) * seconds)
    alive = process.poll() is None
    if alive:
        os.killpg(process.pid, signal.SIGKILL)
    _, error = process.communicate()
    if not alive and process.returncode:
        sys.exit(error.decode())
    return alive


def outcome(directory: Path) -> dict[str, Any]:
    """The sha256 of weights, and of a search what was tried and reached."""
    found: dict[str, Any] = {
        str(path.relative_to(directory)): hash_file(path) for path in directory.glob("**/model/model.safetensors")
    }
    if (directory / "tune.json").exists():
        trials = read_json(directory / "tune.json")["result"]["trials"]
        kept = ("number", "state", "value", "values", "losses")
        found["trials"] = [{key: trial[key] for key in kept} for trial in trials]
        found["best"] = hash_file(directory / "killed-tuned.yaml")
    return found


if __name__ == "__main__":
    main()
