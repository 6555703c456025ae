"""What is said about a corpus: what left it and why, what looks wrong, and its card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import malmoi

if TYPE_CHECKING:
    from malmoi.pipeline.corpus_files import File
    from malmoi.pipeline.corpus_settings import CorpusSettings

LOUD_SHARE, LOUD_DOCUMENTS = 0.99, 100
"""A rule that drops more than this share of at least so many documents is most likely a mistake."""

_PIECES = (
    "what is read as one document is a line (set read.SOURCE.split=file) or a cell of the wrong column of a table "
    "(set read.SOURCE.text=COLUMN)"
)
CAUSES = {
    "empty": "the column of the text is empty or another one: set read.SOURCE.text=COLUMN",
    "too short": f"{_PIECES}, or lower minimum_characters",
    "words": f"{_PIECES}, or lower rules.ko.words",
    "few letters": "these are numbers or markup rather than text: lower letters, or leave the source out",
    "undecodable": "the files are in an encoding that was not recognised: save them as UTF-8",
    "language": "the text is in another language than languages says, or was decoded wrongly",
    "duplicate": "the same text was given several times: list each file once",
    "near duplicate": "the texts are filled from one template: raise near_duplicates, or set it to 0",
    "repeated text": "the documents share all their lines: raise repeated_lines, or set it to 0",
    "excluded": "the texts of exclude are those of the corpus itself: name the test set alone",
    "contaminated": "the texts of exclude are part of the corpus: name the test set alone",
    "surplus": "tokens is small beside what the sources have, or their weights are 0",
}


def reasons(counts: Mapping[str, Any], unreadable: Mapping[str, str]) -> str:
    """What was dropped, in one line."""
    parts = [f"{reason} {number:,}" for reason, number in counts["dropped"].items()]
    return ", ".join([*parts, *([f"unreadable files {len(unreadable)}"] if unreadable else [])]) or "nothing"


def likely_cause(counts: Mapping[str, Any], settings: CorpusSettings) -> str:
    """One sentence on why a corpus is empty, or an empty one."""
    if not counts["read"]:
        return "None of the files has any text: unreadable.json says why of each."
    rule = next(iter(counts["dropped"]), "")
    if rule == "language" and settings.languages[0] == "ko":
        return "There is no Hangul in the text: it is not Korean, or it was decoded wrongly."
    cause = CAUSES.get(rule)
    return f"Most likely {cause}." if cause else ""


def warnings(counts: Mapping[str, Any], settings: CorpusSettings) -> list[str]:
    """What looks like a mistake, each with its likely cause."""
    found = []
    for rule, number in counts["dropped"].items():
        if counts["read"] >= LOUD_DOCUMENTS and number > LOUD_SHARE * counts["read"]:
            cause = CAUSES.get(rule, "its limit does not fit this text: see dropped.parquet, or preview the settings")
            share = number / counts["read"]
            found.append(f"{rule!r} dropped {share:.1%} of {counts['read']:,} documents; most likely {cause}.")
    for source, row in counts["sources"].items():
        if row["read"] and not row["kept"]:
            found.append(f"Nothing is left of the source {source!r}: {reasons(row, {})}.")
    if settings.languages[:1] == ["ko"] and not counts["hangul_documents"]:
        found.append(
            "The corpus is declared Korean, but no document has Hangul; it was decoded wrongly, or is another."
        )
    return found


def corpus_card(
    counts: Mapping[str, Any],
    settings: CorpusSettings,
    files: Sequence[File],
    warned: Sequence[str],
    unreadable: Mapping[str, str],
) -> str:
    """Markdown: where the text comes from, what may be done with it, how it was made, and what looks wrong."""
    licences = {file.source: file.licence for file in files}
    rows = "\n".join(
        f"| {source} | {licences.get(source, 'unknown')} | {row['read']:,} | {row['kept']:,} | {row['bytes']:,} |"
        for source, row in counts["sources"].items()
    )
    dropped = "\n".join(
        f"| {rule} | {number:,} | {counts['dropped_bytes'][rule]:,} |" for rule, number in counts["dropped"].items()
    )
    chosen = settings.model_dump(mode="json", exclude={"fetch", "folder", "folders", "quality", "read"})
    if settings.decontaminate and not (settings.evaluation or settings.exclude or settings.exclude_files):
        chosen["decontaminate"] = "against nothing: no evaluation set is known"
    changed = "\n".join(f"- {name}: {value}" for name, value in chosen.items())
    unread = f"{len(unreadable):,} files could not be read; `unreadable.json` says why of each."
    wrong = "\n".join(f"- {what}" for what in [*warned, *([unread] if unreadable else [])])
    personal = "masked with placeholders" if settings.personal else "not looked for"
    return (
        f"# A corpus of {counts['kept']:,} documents\n\n"
        f"Made by malmoi {malmoi.__version__} from {len(files):,} files: {counts['bytes']:,} bytes of UTF-8 text, "
        f"{counts['held_out_bytes']:,} of them held out. Personal data: {personal}. "
        f"Every source keeps its own licence.\n\n"
        f"## Sources\n\n| source | licence | read | kept | bytes |\n|---|---|---:|---:|---:|\n{rows}\n\n"
        f"## Dropped\n\n| rule | documents | bytes |\n|---|---:|---:|\n{dropped}\n\n"
        f"{counts['read']:,} documents were read: {counts['kept']:,} kept, "
        f"{sum(counts['dropped'].values()):,} dropped; `dropped.parquet` has each with rule, value and limit.\n\n"
        f"## What looks wrong\n\n{wrong or '- nothing'}\n\n"
        f"## Settings\n\n{changed}\n"
    )
