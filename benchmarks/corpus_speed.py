"""Near duplicates and a whole build on one core, beside datatrove in the same run; processes beside a Ray cluster.

datatrove and Ray stand in a virtual environment of their own, with malmoi's few dependencies for corpora:
python -m venv VENV
VENV/bin/pip install 'datatrove[io,processing]==0.10.1' spacy ray safetensors pydantic pyyaml rich filelock psutil
Seconds are of processor time, so that a busy machine does not decide.
Run: MALMOI_MIRROR=../shared/data python benchmarks/corpus_speed.py --datatrove VENV/bin/python
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from corpus_texts import clean_texts

from malmoi.core.device import machine_facts
from malmoi.core.files import write_json
from malmoi.corpus.duplicates import band_keys, jaccard, near_duplicates
from malmoi.corpus.shingles import shingles
from malmoi.pipeline.corpus_settings import CorpusSettings
from malmoi.pipeline.stages.corpus import run

DOCUMENTS, PLANTED, THRESHOLD = 20_000, 2_000, 0.8
ARTICLES = 4_000
CHUNK = 64
"""Documents timed together; the fastest tenth of these times is that of a core that nothing else disturbs."""

HERE = Path(__file__).parent


def main() -> None:
    """Measure, print, write benchmarks/results/corpus_speed.json."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--datatrove", required=True, help="a Python that has datatrove, spaCy and Ray")
    other = parser.parse_args().datatrove
    data = Path(os.environ.get("MALMOI_MIRROR", "../shared/data"))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        near = near_duplicate_figures(folder, other)
        whole = end_to_end_figures(data, folder, other)
    write_json(
        HERE / "results" / "corpus_speed.json",
        {"machine": machine_facts(), "near_duplicates": near, "end_to_end": whole},
    )


def near_duplicate_figures(folder: Path, other: str) -> dict[str, Any]:
    """Recall, precision and speed on planted copies, in English and Korean; datatrove and Ray on the English ones."""
    figures = {language: planted_figures(*plant(words(language))) for language in ("en", "ko")}
    texts, _ = plant(words("en"))
    (folder / "planted").mkdir()
    write_lines(folder / "planted" / "planted.jsonl", texts)
    theirs = ask(other, "near_duplicates", folder / "planted", folder / "datatrove-near")
    figures["datatrove"] = {**theirs, "documents_a_second": len(texts) / theirs["seconds"]}
    ratio = figures["en"]["documents_a_second"] / figures["datatrove"]["documents_a_second"]
    figures["times_datatrove"] = ratio
    settings = {"near_duplicates": THRESHOLD, "folder": str(folder / "planted"), "held_out": 0.0}
    outputs = {}
    for name, python, engine in (("processes", None, "processes"), ("ray", other, "ray")):
        (folder / name).mkdir()
        if python is None:
            run(CorpusSettings(**settings, workers=2, engine=engine), folder / name)
        else:
            ask(python, "build", json.dumps({**settings, "engine": engine}), folder / name)
        rows = pq.read_table(folder / name / "dropped.parquet", columns=["identifier"])
        outputs[name] = sorted(rows["identifier"].to_pylist())
    figures["ray"] = {"dropped": len(outputs["ray"]), "same_as_processes": outputs["ray"] == outputs["processes"]}
    for language in ("en", "ko"):
        row = figures[language]
        print(
            f"near duplicates, {language}: recall {row['recall']:.4f} at Jaccard >= 0.9, "
            f"precision {row['precision']:.4f}, {row['documents_a_second']:,.0f} documents a second, "
            f"{row['documents_a_second_undisturbed']:,.0f} undisturbed"
        )
    print(f"  datatrove {figures['datatrove']['documents_a_second']:,.0f} a second: {ratio:.1f} times")
    print(f"  Ray drops {figures['ray']['dropped']:,}, the same: {figures['ray']['same_as_processes']}")
    return figures


def planted_figures(texts: Sequence[str], originals: Sequence[int]) -> dict[str, Any]:
    """Our own duplicates of `texts`, whose last ones are changed copies of `originals`."""
    start, parts, keys = time.process_time(), [], []
    for first in range(0, len(texts), CHUNK):
        began = time.process_time()
        keys.append(band_keys(texts[first : first + CHUNK]))
        parts.append(time.process_time() - began)
    signed = time.process_time() - start
    columns = iter(np.concatenate(keys).T)
    found = near_duplicates(columns, np.arange(len(texts)), texts.__getitem__, THRESHOLD)
    seconds = time.process_time() - start
    undisturbed = float(np.percentile(parts, 10)) * len(parts) + seconds - signed
    copies = {
        DOCUMENTS + place: similarity(texts[DOCUMENTS + place], texts[one]) for place, one in enumerate(originals)
    }
    high = [number for number, value in copies.items() if value >= 0.9]
    return {
        "documents": len(texts),
        "megabytes": sum(len(text.encode()) for text in texts) / 1e6,
        "planted": len(originals),
        "planted_at_0.9": len(high),
        "recall": sum(number in found for number in high) / len(high),
        "precision": sum(number in copies for number in found) / len(found),
        "seconds": seconds,
        "seconds_of_signatures": signed,
        "documents_a_second": len(texts) / seconds,
        "documents_a_second_undisturbed": len(texts) / undisturbed,
    }


def similarity(one: str, other: str) -> float:
    """The true Jaccard similarity."""
    return jaccard(*map(np.unique, shingles([one, other])))


def words(language: str) -> list[str]:
    """20,000 made-up words, the common ones first."""
    make = random.Random(language)
    if language == "ko":
        endings = ("은", "는", "이", "가", "을", "를", "의", "에", "에서", "로", "다", "고", "한", "")
        stems = ["".join(chr(make.randrange(0xAC00, 0xD7A4)) for _ in range(make.randint(1, 3))) for _ in range(20_000)]
        return [stem + make.choice(endings) for stem in stems]
    return ["".join(make.choices("abcdefghijklmnopqrstuvwxyz", k=make.randint(2, 9))) for _ in range(20_000)]


def plant(vocabulary: Sequence[str]) -> tuple[list[str], list[int]]:
    """Random documents of Zipf-like words, then copies of some with up to 1.2 % of their words changed."""
    make = random.Random(0)
    sums = list(itertools.accumulate(1 / (rank + 10) for rank in range(len(vocabulary))))
    texts = [" ".join(make.choices(vocabulary, cum_weights=sums, k=make.randint(150, 420))) for _ in range(DOCUMENTS)]
    originals = [make.randrange(DOCUMENTS) for _ in range(PLANTED)]
    for original in originals:
        copy = texts[original].split()
        for place in make.sample(range(len(copy)), max(1, int(len(copy) * make.uniform(0.001, 0.012)))):
            copy[place] = make.choice(vocabulary)
        texts.append(" ".join(copy))
    return texts, originals


def end_to_end_figures(data: Path, folder: Path, other: str) -> dict[str, Any]:
    """Read jsonl, rules of quality and repetition, near duplicates, personal data, write; both on one core."""
    articles = [text for kind in clean_texts(data, "en", "held_out", 400).values() for text in kind]
    make = random.Random(1)
    pieces = [paragraph for article in articles for paragraph in article.split("\n\n")]
    texts = ["\n\n".join(make.sample(pieces, make.randint(2, 12))) for _ in range(ARTICLES)]
    texts += [make.choice(texts).replace(" the ", " a ", 1) for _ in range(ARTICLES // 10)]
    (folder / "articles").mkdir()
    write_lines(folder / "articles" / "articles.jsonl", texts)
    settings = CorpusSettings(
        folder=folder / "articles", rules=True, personal=True, near_duplicates=THRESHOLD, held_out=0.0, workers=1
    )
    start = time.process_time()
    counts = run(settings, folder / "ours")
    seconds = time.process_time() - start
    theirs = ask(other, "end_to_end", folder / "articles", folder / "datatrove")
    figures = {
        "documents": len(texts),
        "megabytes": sum(len(text.encode()) for text in texts) / 1e6,
        "seconds": seconds,
        "documents_a_second": len(texts) / seconds,
        "kept": counts["kept"],
        "datatrove": {**theirs, "documents_a_second": len(texts) / theirs["seconds"]},
        "times_datatrove": theirs["seconds"] / seconds,
    }
    print(
        f"end to end: {figures['documents_a_second']:,.0f} documents a second, {counts['kept']:,} kept; "
        f"datatrove {figures['datatrove']['documents_a_second']:,.0f}, {theirs['kept']:,} kept: "
        f"{figures['times_datatrove']:.1f} times"
    )
    return figures


def write_lines(path: Path, texts: Sequence[str]) -> None:
    """One JSON object a line, as both read it."""
    path.write_text("\n".join(json.dumps({"text": text, "id": str(n)}) for n, text in enumerate(texts, start=1)))


def ask(python: str, what: str, *arguments: object) -> dict[str, Any]:
    """What `corpus_speed_other.py` answers in another Python."""
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent / "src"), "HF_HUB_OFFLINE": "1"}
    command = [python, HERE / "corpus_speed_other.py", what, *map(str, arguments)]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True)
    if answer.returncode:
        raise SystemExit(answer.stderr[-2_000:])
    result: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return result


if __name__ == "__main__":
    main()
