"""The steps of a corpus in their order, made from its settings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import Field

from malmoi.core.config import Settings
from malmoi.corpus.contamination import ContaminationFilter, EvaluationTexts
from malmoi.corpus.document import UNDECODABLE, Document
from malmoi.corpus.harmful import HarmfulFilter
from malmoi.corpus.language import LanguageFilter
from malmoi.corpus.personal import mask_personal_data
from malmoi.corpus.quality_model import QualityFilter
from malmoi.corpus.rules import RuleFilter
from malmoi.corpus.step import Filter, Step, Verdict


class StepSettings(Settings):
    """Which documents stay, and what is masked in them.

    Attributes:
        minimum_characters: shorter texts are dropped.
        letters: least share of letters and digits among the characters that are not blank.
        replaced: largest share of U+FFFD, left by bytes that fit no encoding.
        languages: the languages to keep, the main one first, such as [ko, en]; all when empty.
        rules: drop what reads like no prose, by the table of limits of each language; or changes to that table,
            {ko: {MEASURE: LIMIT}}.
        harmful: drop texts that are dense with harmful words.
        personal: mask e-mail addresses, telephone, resident, business and card numbers, and IP addresses.
        quality: a quality model that `malmoi corpus train-filter` made.
        quality_least: least probability of a text that is to be kept.
    """

    minimum_characters: int = Field(default=16, ge=0)
    letters: float = Field(default=0.5, ge=0, le=1)
    replaced: float = Field(default=0.01, ge=0, le=1)
    languages: list[str] = []
    rules: bool | dict[str, dict[str, float]] = False
    harmful: bool = False
    personal: bool = False
    quality: Path | None = None
    quality_least: float = Field(default=0.5, ge=0, le=1)


_LETTERS = re.compile(r"[^\W_]+")


class ScrapFilter(Filter):
    """Drops what is no text at all."""

    def __init__(self, settings: StepSettings) -> None:
        self._settings = settings

    def judge(self, document: Document) -> Iterator[Verdict]:
        text, settings = document.text, self._settings
        if reason := document.metadata.get("unreadable"):
            yield Verdict(str(reason).partition(":")[0], str(reason), "", False)
        yield Verdict("empty", len(text), ">= 1", bool(text))
        yield Verdict(
            "too short", len(text), f">= {settings.minimum_characters}", len(text) >= settings.minimum_characters
        )
        replaced = text.count("\ufffd") / max(1, len(text))
        yield Verdict(UNDECODABLE, round(replaced, 4), f"<= {settings.replaced}", replaced <= settings.replaced)
        letters = _share_of_letters(text)
        yield Verdict("few letters", round(letters, 4), f">= {settings.letters}", letters >= settings.letters)


def _share_of_letters(text: str) -> float:
    """Of letters and digits among the characters that are not blank."""
    visible = "".join(text.split())
    return (len(visible) - len(_LETTERS.sub("", visible))) / max(1, len(visible))


def make_steps(settings: StepSettings, evaluation: EvaluationTexts | None = None) -> list[Step]:
    """The steps of a corpus: the cheap ones first, masking last, so that evaluation texts are recognised."""
    steps: list[Step] = [ScrapFilter(settings)]
    if settings.languages:
        steps.append(LanguageFilter(settings.languages))
    if settings.rules is not False:
        steps.append(RuleFilter(None if settings.rules is True else settings.rules))
    if settings.harmful:
        steps.append(HarmfulFilter())
    if settings.quality is not None:
        steps.append(QualityFilter(settings.quality, settings.quality_least))
    if evaluation is not None:
        steps.append(ContaminationFilter(evaluation))
    if settings.personal:
        steps.append(mask_personal_data)
    return steps


def apply_steps(document: Document, steps: Sequence[Step]) -> tuple[Document, Verdict | None]:
    """The document as the last step left it, and why it is dropped, if it is."""
    for step in steps:
        result = step(document)
        if isinstance(result, Verdict):
            return document, result
        document = result
    return document, None


def judge(document: Document, steps: Sequence[Step]) -> list[Verdict]:
    """Every rule's verdict on a document, also those after the first that fails."""
    verdicts: list[Verdict] = []
    for step in steps:
        if isinstance(step, Filter):
            document = step.label(document)
            verdicts += step.judge(document)
    return verdicts
