"""What the rules keep of clean articles and drop of junk, in Korean and English; datatrove's Gopher rules beside them.

The limits of the rules were chosen on the tuning part; the bar is for the held-out part, which shares neither documents
nor the junk's words with it. With --datatrove the same articles go through datatrove's filters, in a Python that has
it, so that nothing of it is needed here.
Run: MALMOI_MIRROR=../shared/data python benchmarks/corpus_rules.py [--datatrove PYTHON]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

from corpus_junk import junk_texts
from corpus_texts import Language, Part, clean_texts

from malmoi.core.device import machine_facts
from malmoi.core.files import write_json
from malmoi.corpus.document import Document
from malmoi.corpus.harmful import HarmfulFilter
from malmoi.corpus.language import LanguageFilter
from malmoi.corpus.personal import mask_personal_data
from malmoi.corpus.rules import RuleFilter
from malmoi.corpus.step import Step, Verdict

BAR = 0.95
EACH = 200
LANGUAGES: tuple[Language, ...] = ("ko", "en")
DATATROVE = """
import json, sys, time
from datatrove.data import Document
from datatrove.pipeline.filters import GopherQualityFilter, GopherRepetitionFilter
texts, language = json.load(sys.stdin)
quality, repetition = GopherQualityFilter(language=language), GopherRepetitionFilter(language=language)
quality.filter(Document(text=texts[0], id="warm"))
both, kept, start = 0, 0, time.process_time()
for text in texts:
    document = Document(text=text, id="1")
    good = quality.filter(document) is True
    kept += good
    both += good & (repetition.filter(document) is True)
seconds = time.process_time() - start
json.dump({"quality_kept": kept, "quality_and_repetition_kept": both, "seconds": seconds}, sys.stdout)
"""


def main() -> None:
    """Measure, print, write benchmarks/results/corpus_rules.json."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--datatrove", help="a Python that has datatrove and spaCy")
    theirs = parser.parse_args().datatrove
    data = Path(os.environ.get("MALMOI_MIRROR", "../shared/data"))
    rules: list[Step] = [RuleFilter()]
    steps: list[Step] = [LanguageFilter(["ko", "en"]), *rules, HarmfulFilter(), mask_personal_data]
    result: dict[str, Any] = {"machine": machine_facts(), "bar": BAR, "parts": {}, "seconds": {}, "datatrove": {}}
    for part in ("tuning", "held_out"):
        result["parts"][part] = {language: measure(data, language, part, steps, rules) for language in LANGUAGES}
    for language in LANGUAGES:
        texts = [text for texts in clean_texts(data, language, "held_out", EACH).values() for text in texts]
        result["seconds"][language] = {
            "documents": len(texts),
            "rules": seconds(texts, rules),
            "all": seconds(texts, steps),
        }
        if theirs:
            name = "eng" if language == "en" else "kor"
            result["datatrove"][language] = {
                name: datatrove(theirs, texts, name) for name in dict.fromkeys(("eng", name))
            }
    show(result)
    reached = all(
        row["clean_kept"] >= BAR and row["junk_dropped"] >= BAR for row in result["parts"]["held_out"].values()
    )
    print("reached" if reached else "NOT reached")
    write_json(Path(__file__).parent / "results" / "corpus_rules.json", result | {"reached": reached})


def measure(data: Path, language: Language, part: Part, steps: list[Step], rules: list[Step]) -> dict[str, Any]:
    """Per kind: documents, kept by all steps and by the rules alone, and what dropped the others."""
    clean, junk = clean_texts(data, language, part, EACH), junk_texts(data, language, part, EACH)
    rows = {kind: count(texts, steps, rules) for kind, texts in {**clean, **junk}.items()}
    return {
        "clean_kept": share(rows, list(clean), "kept"),
        "junk_dropped": 1 - share(rows, list(junk), "kept"),
        "clean_kept_by_rules_alone": share(rows, list(clean), "kept_by_rules_alone"),
        "junk_dropped_by_rules_alone": 1 - share(rows, list(junk), "kept_by_rules_alone"),
        "clean": {kind: rows[kind] for kind in clean},
        "junk": {kind: rows[kind] for kind in junk},
    }


def share(rows: dict[str, dict[str, Any]], kinds: list[str], field: str) -> float:
    """Of all documents of some kinds together."""
    return float(sum(rows[kind][field] for kind in kinds) / sum(rows[kind]["documents"] for kind in kinds))


def count(texts: list[str], steps: list[Step], rules: list[Step]) -> dict[str, Any]:
    """How many of the texts stay, and what dropped the others."""
    ends = [run(text, steps) for text in texts]
    alone = [run(text, rules) for text in texts]
    return {
        "documents": len(texts),
        "kept": ends.count(None),
        "kept_by_rules_alone": alone.count(None),
        "dropped": dict(Counter(rule for rule in ends if rule).most_common()),
    }


def run(text: str, steps: list[Step]) -> str | None:
    """The rule that drops the text, or None."""
    document = Document(text, "benchmark")
    for step in steps:
        result = step(document)
        if isinstance(result, Verdict):
            return result.rule
        document = result
    return None


def seconds(texts: list[str], steps: list[Step]) -> float:
    """Of the processor, for all texts."""
    run(texts[0], steps)
    start = time.process_time()
    for text in texts:
        run(text, steps)
    return time.process_time() - start


def datatrove(python: str, texts: list[str], language: str) -> dict[str, Any] | str:
    """What its Gopher filters keep with their default limits; or why they did not run."""
    done = subprocess.run(
        [python, "-c", DATATROVE], input=json.dumps([texts, language]), capture_output=True, text=True
    )
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def show(result: dict[str, Any]) -> None:
    """Print the tables."""
    for part, languages in result["parts"].items():
        for language, row in languages.items():
            for name, suffix in (("language, rules, harmful words", ""), ("rules alone", "_by_rules_alone")):
                clean, junk = row[f"clean_kept{suffix}"], row[f"junk_dropped{suffix}"]
                print(f"{part}, {language}, {name}: {clean:.1%} of clean articles kept, {junk:.1%} of junk dropped")
            for kind, counts in {**row["clean"], **row["junk"]}.items():
                why = ", ".join(f"{rule} {number}" for rule, number in counts["dropped"].items())
                print(f"  {kind:18} {counts['documents']:4} documents, {counts['kept']:4} kept; {why}")
    for language, row in result["seconds"].items():
        print(
            f"{language}: {row['documents']} articles, {row['rules']:.2f} s of rules, {row['all']:.2f} s of all steps"
        )
        for name, figures in result["datatrove"].get(language, {}).items():
            print(f"  datatrove, language {name!r}: {figures}")


if __name__ == "__main__":
    main()
