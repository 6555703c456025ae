"""Peak memory of every process that builds a corpus of synthetic text, at two sizes: what grows would show.

What grows with the text is the comparison of all documents, so that is also measured alone, without their texts, at the
number of documents of --gigabytes and at a tenth of it.
`shared` has the steps that keep something of every document for the comparison of all; `all` has also those that look
at one document at a time, which take most of the time and can keep nothing.
Run: python benchmarks/corpus_memory.py --folder DIRECTORY   (three times the text of --built is needed on the disk)
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
from corpus_speed import words

from malmoi.core.device import machine_facts
from malmoi.core.files import write_json
from malmoi.corpus.decide import decide
from malmoi.corpus.duplicates import BANDS
from malmoi.corpus.parts import SCHEMA, Parts
from malmoi.corpus.settings import BuildSettings

BAR = 2 << 30
FILE = 1 << 26
SHARED = ["near_duplicates=0.8", "repeated_lines=10", "provenance=true"]
STEPS = {"shared": SHARED, "all": ["rules=true", "harmful=true", "personal=true", *SHARED]}
DOCUMENTS = 414_000
"""Of a gigabyte of the texts below."""
LINES = 26
"""Of a document."""
STOP_WORDS = ["the", "of", "and", "to", "in", "is", "that", "it", "was", "for"]


def main() -> None:
    """Write texts, build, watch, write benchmarks/results/corpus_memory.json after every build."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--gigabytes", type=float, default=10, help="whose documents are compared")
    parser.add_argument("--built", type=float, default=10, help="gigabytes of the largest build")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    result: dict[str, Any] = {"machine": machine_facts(), "bar": BAR, "compared": [], "builds": []}
    for share in (0.1, 1):
        result["compared"].append(comparison(given.folder, int(given.gigabytes * share * DOCUMENTS)))
        save(result)
    for steps, share in (("shared", 0.1), ("all", 0.1), ("shared", 1)):
        result["builds"].append(measured(given.folder, given.built * share, given.workers, steps))
        save(result)
    worst = max(max(one["peaks"]) for one in (*result["compared"], *result["builds"]))
    print("reached" if worst < BAR else "NOT reached")


def save(result: dict[str, Any]) -> None:
    """Print what there is so far, and keep it."""
    print(json.dumps((result["builds"] or result["compared"])[-1]), flush=True)
    write_json(Path(__file__).parent / "results" / "corpus_memory.json", result)


def measured(folder: Path, gigabytes: float, workers: int, steps: str) -> dict[str, Any]:
    """What one build took, in a folder that is removed afterwards."""
    size = write_texts(folder / "texts", int(gigabytes * 1e9))
    command = [sys.executable, "-c", "from malmoi.cli.main import main; main()", "corpus"]
    command += [f"folder={folder / 'texts'}", f"workers={workers}", *STEPS[steps], "--out", str(folder / "out")]
    start = time.monotonic()
    process = psutil.Popen(command, stdout=subprocess.DEVNULL)
    peaks: dict[int, int] = {process.pid: 0}
    while process.poll() is None:
        for one in (process, *process.children(recursive=True)):
            try:
                peaks[one.pid] = max(peaks.get(one.pid, 0), one.memory_info().rss)
            except psutil.NoSuchProcess:
                continue
        time.sleep(0.2)
    counts = json.loads((folder / "out" / "counts.json").read_text())
    shutil.rmtree(folder)
    return {
        "steps": steps,
        "workers": workers,
        "bytes": size,
        "documents": counts["read"],
        "dropped": counts["dropped"],
        "seconds": time.monotonic() - start,
        "peaks": sorted(peaks.values(), reverse=True),
    }


def comparison(folder: Path, documents: int) -> dict[str, Any]:
    """Peak of a process that decides which of so many documents stay, a tenth of them copies of earlier ones."""
    dice, size = np.random.default_rng(0), 4_096
    (folder / "parts").mkdir(parents=True)
    for number in range(documents // size):
        digests = dice.integers(0, np.where(dice.random(size) < 0.1, size, 1 << 62))
        columns = {
            "text": [f"말모이의 {number}째 묶음"] * size,
            "digest": [int(digest).to_bytes(16, "little") for digest in digests],
            "bands": pa.FixedSizeListArray.from_arrays(dice.integers(0, 1 << 63, size * BANDS, np.uint64), BANDS),
            "pieces": pa.ListArray.from_arrays(
                np.arange(0, size * LINES + 1, LINES), pa.array(dice.integers(0, 1 << 63, size * LINES, np.uint64))
            ),
        }
        empty = {field.name: pa.nulls(size, field.type) for field in SCHEMA if field.name not in columns}
        batch = pa.RecordBatch.from_pydict(columns | empty, schema=SCHEMA)
        with pa.ipc.new_file(folder / "parts" / f"{number:06}.arrow", SCHEMA) as writer:
            writer.write_batch(batch)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        dropped, peak = pool.apply(decide_all, [folder / "parts"])
    shutil.rmtree(folder)
    return {"documents": documents // size * size, "dropped": dropped, "peaks": [peak]}


def decide_all(folder: Path) -> tuple[int, int]:
    """How many of the documents in some parts go, and the peak memory of this process."""
    parts = Parts(list(folder.glob("*.arrow")))
    decided = decide(parts, BuildSettings(near_duplicates=0.8, repeated_lines=10))
    dropped = int((decided.group != np.arange(len(parts))).sum())
    return dropped, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def write_texts(folder: Path, wanted: int) -> int:
    """About so many bytes of two languages in files of 64 MiB, a tenth of the documents copies of earlier ones."""
    folder.mkdir(parents=True)
    make, total, number = random.Random(0), 0, 0
    pools = {language: words(language)[:5_000] for language in ("en", "ko")}
    pools["en"] += 150 * STOP_WORDS
    while total < wanted:
        language, recent, path = ("en", "ko")[number % 2], ["시작"], folder / f"{number:03d}.jsonl"
        with open(path, "w", encoding="utf-8") as file:
            while file.tell() < min(FILE, wanted - total):
                sentences = (" ".join(make.choices(pools[language], k=make.randint(6, 20))) for _ in range(25))
                fresh = ". ".join(sentences) + ".\nAll rights reserved here."
                text = make.choice(recent) if make.random() < 0.1 else fresh
                recent = [*recent[-99:], text]
                file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
        total, number = total + path.stat().st_size, number + 1
    return total


if __name__ == "__main__":
    main()
