"""How close translations come to those that were wanted: BLEU and chrF as sacrebleu counts them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from malmoi.core.errors import MissingExtra


@dataclass(frozen=True)
class TranslationScore:
    """Figures over a whole set of translations, both between 0 and 100.

    Attributes:
        bleu: shared runs of one to four words (Papineni and others 2002, P02-1040; Post 2018, W18-6319).
        chrf: shared runs of one to six characters (Popović 2015, W15-3049).
    """

    bleu: float
    chrf: float

    def as_json(self) -> dict[str, Any]:
        """For stage.json."""
        return asdict(self)


def score_translations(translations: Sequence[str], wanted: Sequence[str]) -> TranslationScore:
    """The figures of some translations.

    Raises:
        MissingExtra: sacrebleu is not installed.
    """
    bleu, chrf = _metrics()
    return TranslationScore(
        round(bleu.corpus_score(list(translations), [list(wanted)]).score, 2),
        round(chrf.corpus_score(list(translations), [list(wanted)]).score, 2),
    )


def each_chrf(translations: Sequence[str], wanted: Sequence[str]) -> list[float]:
    """chrF of every translation alone.

    Raises:
        MissingExtra: sacrebleu is not installed.
    """
    _, chrf = _metrics()
    return [chrf.sentence_score(ours, [theirs]).score for ours, theirs in zip(translations, wanted, strict=True)]


def signatures() -> dict[str, str]:
    """What has to be the same for two figures to be compared, in sacrebleu's words.

    Raises:
        MissingExtra: sacrebleu is not installed.
    """
    figures = dict(zip(("bleu", "chrf"), _metrics(), strict=True))
    for metric in figures.values():
        metric.corpus_score(["a"], [["a"]])  # only then does it know the number of references
    return {name: str(metric.get_signature()) for name, metric in figures.items()}


def _metrics() -> tuple[Any, Any]:
    try:
        from sacrebleu import BLEU, CHRF
    except ImportError:
        raise MissingExtra("sacrebleu", "evaluate", "Scoring translations") from None
    return BLEU(force=True), CHRF()  # it would print a warning about texts whose marks stand alone
