"""Turns the stages of a run into one page of HTML."""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
from collections.abc import Callable, Sequence
from importlib import resources

import jinja2
from markupsafe import Markup

import malmoi
from malmoi.pipeline.report.blocks import Section
from malmoi.pipeline.report.chart import Curve
from malmoi.pipeline.report.run import StageRecord
from malmoi.pipeline.report.sections.classic import classic_section
from malmoi.pipeline.report.sections.comparison import comparison_section
from malmoi.pipeline.report.sections.compression import compression_section
from malmoi.pipeline.report.sections.distillation import distillation_section
from malmoi.pipeline.report.sections.encoders import encoder_section
from malmoi.pipeline.report.sections.evaluation import evaluation_section, samples_section
from malmoi.pipeline.report.sections.few_shot import few_shot_section
from malmoi.pipeline.report.sections.images import image_classes_section, made_images_section
from malmoi.pipeline.report.sections.overview import (
    machine,
    next_section,
    run_section,
    settings_section,
    total_seconds,
)
from malmoi.pipeline.report.sections.questions import questions_section
from malmoi.pipeline.report.sections.scaling import scaling_section
from malmoi.pipeline.report.sections.search import search_section
from malmoi.pipeline.report.sections.text import text_section
from malmoi.pipeline.report.sections.training import pretraining_section, tokenizer_section
from malmoi.pipeline.report.sections.translation import translation_section
from malmoi.pipeline.report.sections.tuning import assistant_section, classification_section
from malmoi.pipeline.report.words import Language, Words

SECTIONS: list[Callable[[Sequence[StageRecord], Words], Section | None]] = [
    search_section,
    evaluation_section,
    samples_section,
    classification_section,
    questions_section,
    image_classes_section,
    made_images_section,
    classic_section,
    assistant_section,
    translation_section,
    few_shot_section,
    comparison_section,
    scaling_section,
    compression_section,
    distillation_section,
    next_section,
    text_section,
    tokenizer_section,
    pretraining_section,
    encoder_section,
    run_section,
    settings_section,
]
"""In the order of the page: first what came out, then how."""

CONTROLS = dict.fromkeys((code for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n"), "\ufffd")
"""The control characters, which HTML does not allow or does not show; few fonts have Unicode's pictures of them."""


def render(stages: Sequence[StageRecord], title: str, language: Language) -> str:
    """The report as one HTML file that loads nothing; everything that stages wrote is escaped.

    An untrained model writes control characters too; U+FFFD stands in their place.
    """
    say = Words(language)
    sections = [section for make in SECTIONS if (section := make(stages, say)) is not None]
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["pointer_values"] = _pointer_values
    script = _own("pointer.js")
    page = environment.from_string(_own("report.html")).render(
        title=title,
        language=language,
        eyebrow=f"malmoi {malmoi.__version__} · {_day(stages)}",
        summary=say("summary", time=say.duration(total_seconds(stages)), machine=machine(stages, say)),
        tiles=[tile for section in sections for tile in section.tiles],
        sections=sections,
        closing=say("closing", version=malmoi.__version__),
        style=Markup(_own("report.css")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    return page.translate(CONTROLS)


def _own(name: str) -> str:
    """The text of a file that lies beside this one."""
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


def _day(stages: Sequence[StageRecord]) -> str:
    """The day on which the last stage was started."""
    started = max((str(stage.record.get("started", "")) for stage in stages), default="")
    return started[:10] or datetime.date.today().isoformat()


def _pointer_values(curves: Sequence[Curve]) -> str:
    """What the pointer shows over a chart, as JSON."""
    shown = [{"name": curve.name, "values": curve.values} for curve in curves if curve.style != "faint"]
    return json.dumps(shown, ensure_ascii=False, separators=(",", ":"))
