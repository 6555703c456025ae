"""Peak memory of every process that builds a corpus of synthetic text, with all steps.

Run: python benchmarks/corpus_memory.py --gigabytes 10 --folder DIRECTORY   (three times the text is needed on the disk)
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from pathlib import Path

import psutil
from corpus_speed import words

from malmoi.core.device import machine_facts
from malmoi.core.files import write_json

BAR = 2 << 30
FILE = 1 << 28
STEPS = ["rules=true", "harmful=true", "personal=true", "near_duplicates=0.8", "repeated_lines=10", "provenance=true"]


def main() -> None:
    """Write the text, build, watch, write benchmarks/results/corpus_memory.json."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--gigabytes", type=float, default=10)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    size = write_texts(given.folder / "texts", int(given.gigabytes * 1e9))
    command = [sys.executable, "-c", "from malmoi.cli.main import main; main()", "corpus"]
    command += [f"folder={given.folder / 'texts'}", f"workers={given.workers}", *STEPS]
    start = time.monotonic()
    process = psutil.Popen([*command, "--out", str(given.folder / "out")])
    peaks: dict[int, int] = {}
    while process.poll() is None:
        for one in (process, *process.children(recursive=True)):
            try:
                peaks[one.pid] = max(peaks.get(one.pid, 0), one.memory_info().rss)
            except psutil.NoSuchProcess:
                continue
        time.sleep(0.2)
    counts = json.loads((given.folder / "out" / "counts.json").read_text())
    result = {
        "machine": machine_facts(),
        "bytes": size,
        "documents": counts["read"],
        "kept": counts["kept"],
        "seconds": time.monotonic() - start,
        "peak_of_the_parent": peaks.pop(process.pid),
        "peaks_of_workers": sorted(peaks.values(), reverse=True)[: given.workers],
    }
    print(json.dumps(result, indent=2))
    print("reached" if max(result["peak_of_the_parent"], *result["peaks_of_workers"]) < BAR else "NOT reached")
    write_json(Path(__file__).parent / "results" / "corpus_memory.json", result)


def write_texts(folder: Path, wanted: int) -> int:
    """About so many bytes of two languages in files of 256 MiB, a tenth of the documents copies of earlier ones."""
    folder.mkdir(parents=True)
    make, total, number = random.Random(0), 0, 0
    pools = {language: words(language)[:5_000] for language in ("en", "ko")}
    while total < wanted:
        with open(folder / f"{number:03d}.jsonl", "w", encoding="utf-8") as file:
            language, written, recent = ("en", "ko")[number % 2], 0, ["시작"]
            while written < min(FILE, wanted - total):
                sentences = (" ".join(make.choices(pools[language], k=make.randint(6, 20))) for _ in range(25))
                text = (
                    make.choice(recent)
                    if make.random() < 0.1
                    else ". ".join(sentences) + ".\nAll rights reserved here."
                )
                recent = [*recent[-99:], text]
                written += file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n") * (3 if number % 2 else 1)
        total, number = total + (folder / f"{number:03d}.jsonl").stat().st_size, number + 1
    return total


if __name__ == "__main__":
    main()
