"""One self-contained page about a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from malmoi.core.config import Settings
from malmoi.core.files import atomic_file
from malmoi.pipeline.report.render import render
from malmoi.pipeline.report.run import read_stages
from malmoi.pipeline.report.words import Language
from malmoi.pipeline.stage import Stage, StageInput


class ReportSettings(Settings):
    """Settings of the stage.

    Attributes:
        stages: what the report is about, in the order of the run.
        title: heading of the page; the name of the run's directory when it is empty.
        language: of the page's own words; texts are shown as they are.
    """

    stages: list[StageInput]
    title: str = ""
    language: Language = "en"


def run(settings: ReportSettings, directory: Path) -> dict[str, Any]:
    """Write `report.html`.

    Raises:
        UserError: one of `stages` is no stage's directory.
    """
    stages = read_stages(settings.stages)
    page = render(stages, settings.title or directory.resolve().parent.name, settings.language)
    with atomic_file(directory / "report.html") as file:
        file.write(page)
    return {"bytes": len(page.encode()), "stages": [stage.name for stage in stages]}


STAGE = Stage(settings=ReportSettings, run=run)
