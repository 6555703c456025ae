"""Builds of a corpus killed with SIGKILL at ten random moments, with one worker and with two; sha256 of the results.

A moment is some time up to half a second after a random number of parts was there; the last ones fall into the writing.

Run: python benchmarks/corpus_kill.py
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from corpus_speed import plant, words, write_lines

from malmoi.core.device import machine_facts
from malmoi.core.files import write_json
from malmoi.core.hashing import hash_file

KILLS, DOCUMENTS, PARTS = 10, 2_000, 80
FILES = ("train.parquet", "held_out.parquet", "dropped.parquet", "counts.json", "unreadable.json", "card.md")
SCRIPT = """
import sys
from malmoi.cli.main import main
from malmoi.corpus import clean
from malmoi.pipeline import corpus_files
from malmoi.pipeline.stages import corpus
clean.DOCUMENTS, corpus_files.GROUP_BYTES = 50, 200_000
if __name__ == "__main__":
    sys.argv[0] = "malmoi"
    main()
"""
"""malmoi with small parts, so that a kill falls between them."""

STEPS = ["rules=true", "personal=true", "near_duplicates=0.8", "repeated_lines=5", "provenance=true"]


def main() -> None:
    """Kill, compare, write benchmarks/results/corpus_kill.json."""
    make, trials = random.Random(0), []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "texts").mkdir()
        (folder / "small_parts.py").write_text(SCRIPT)
        texts = [text for language in ("en", "ko") for text in plant(words(language))[0][-DOCUMENTS:]]
        for number in range(40):
            write_lines(folder / "texts" / f"{number}.jsonl", texts[number::40])
        (folder / "texts" / "broken.parquet").write_bytes(b"PAR1")
        expected = finish(folder, "whole", 1)
        for workers in (1, 2):
            for number in range(KILLS):
                name = f"{workers}-{number}"
                parts = kill(folder, name, workers, make.randint(0, PARTS), make.uniform(0, 0.5))
                trials.append({"workers": workers, "parts": parts, **compare(folder, name, workers, expected)})
                print(trials[-1])
    equal = sum(trial["equal"] for trial in trials)
    print(f"{equal} of {len(trials)} results have the bytes of the unbroken one")
    result = {
        "machine": machine_facts(),
        "documents": len(texts),
        "equal": equal,
        "trials": trials,
    }
    write_json(Path(__file__).parent / "results" / "corpus_kill.json", result)


def command(folder: Path, name: str, workers: int) -> list[str]:
    """One build."""
    malmoi = [sys.executable, str(folder / "small_parts.py"), "corpus"]
    return [*malmoi, f"folder={folder / 'texts'}", f"workers={workers}", *STEPS, "--out", str(folder / name)]


def finish(folder: Path, name: str, workers: int) -> dict[str, str]:
    """Run to the end; the sha256 of what was written."""
    subprocess.run(command(folder, name, workers), check=True, stdout=subprocess.DEVNULL)
    return {file: hash_file(folder / name / file) for file in FILES}


def kill(folder: Path, name: str, workers: int, parts: int, seconds: float) -> int:
    """Start, and kill the process and its workers some time after so many parts are there; how many there were."""
    started = subprocess.Popen(command(folder, name, workers), stdout=subprocess.DEVNULL, start_new_session=True)
    work = folder / name / "checkpoints"
    while len(list(work.glob("*.arrow"))) < parts and started.poll() is None:
        time.sleep(0.005)
    time.sleep(seconds)
    there = len(list(work.glob("*.arrow")))
    os.killpg(started.pid, signal.SIGKILL)
    started.wait()
    return there


def compare(folder: Path, name: str, workers: int, expected: dict[str, str]) -> dict[str, Any]:
    """Go on to the end, and whether every file has the expected bytes and the accounts are even."""
    equal = finish(folder, name, workers) == expected
    counts = json.loads((folder / name / "counts.json").read_text())
    even = counts["read_bytes"] == counts["kept_bytes"] + sum(counts["dropped_bytes"].values())
    return {"equal": equal and even}


if __name__ == "__main__":
    main()
