"""The side of `corpus_speed.py` that runs in another Python: datatrove's pipelines, and a build on a Ray cluster."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any


def near_duplicates(source: Path, folder: Path) -> dict[str, Any]:
    """datatrove's four stages with the same bands and rows as ours."""
    from datatrove.pipeline.readers import JsonlReader

    _warm_up()
    start = time.process_time()
    _run([JsonlReader(str(source)), _signatures(folder)], folder)
    signed = time.process_time() - start
    _cluster(folder)
    kept = _filtered(source, folder)
    return {"seconds": time.process_time() - start, "seconds_of_signatures": signed, "kept": kept}


def end_to_end(source: Path, folder: Path) -> dict[str, Any]:
    """Gopher's filters of quality and repetition, near duplicates, personal data."""
    from datatrove.pipeline.filters import GopherQualityFilter, GopherRepetitionFilter
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    _warm_up()
    start = time.process_time()
    good = folder / "good"
    filters = [GopherRepetitionFilter(), GopherQualityFilter(), JsonlWriter(str(good))]
    _run([JsonlReader(str(source)), *filters], folder / "filters")
    _run([JsonlReader(str(good)), _signatures(folder)], folder)
    _cluster(folder)
    return {"kept": _filtered(good, folder), "seconds": time.process_time() - start}


def build(settings: str, folder: str) -> dict[str, Any]:
    """Our own corpus on a Ray cluster of this machine."""
    from malmoi.pipeline.corpus_settings import CorpusSettings
    from malmoi.pipeline.stages.corpus import run

    counts = run(CorpusSettings(**json.loads(settings)), Path(folder))
    return {"kept": counts["kept"]}


def _warm_up() -> None:
    """Load spaCy, which is no part of the work."""
    from datatrove.utils.word_tokenizers import load_word_tokenizer

    load_word_tokenizer("eng").word_tokenize("Warm up.")


def _signatures(folder: Path) -> Any:
    from datatrove.pipeline.dedup import MinhashDedupSignature

    return MinhashDedupSignature(str(folder / "signatures"), _config())


def _cluster(folder: Path) -> None:
    from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster

    buckets = MinhashDedupBuckets(str(folder / "signatures"), str(folder / "buckets"), config=_config())
    _run([buckets], folder / "buckets-log", tasks=_config().num_buckets)
    _run(
        [MinhashDedupCluster(str(folder / "buckets"), str(folder / "removed"), config=_config())],
        folder / "cluster-log",
    )


def _filtered(source: Path, folder: Path) -> int:
    from datatrove.pipeline.dedup import MinhashDedupFilter
    from datatrove.pipeline.formatters import PIIFormatter
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    out = folder / "out"
    steps = [MinhashDedupFilter(str(folder / "removed")), PIIFormatter(), JsonlWriter(str(out), compression=None)]
    _run([JsonlReader(str(source)), *steps], folder / "filter-log")
    return sum(1 for path in out.iterdir() for _ in path.open())


def _config() -> Any:
    from datatrove.pipeline.dedup.minhash import MinhashConfig

    return MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)


def _run(pipeline: list[Any], folder: Path, tasks: int = 1) -> None:
    from datatrove.executor import LocalPipelineExecutor

    LocalPipelineExecutor(pipeline=pipeline, tasks=tasks, workers=1, logging_dir=str(folder / "log")).run()


if __name__ == "__main__":
    verb, first, second = sys.argv[1:]
    if verb == "build":
        print(json.dumps(build(first, second)))
    else:
        print(
            json.dumps({"near_duplicates": near_duplicates, "end_to_end": end_to_end}[verb](Path(first), Path(second)))
        )
