"""Fetch the pages of a web site into WARC archives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from malmoi.core.console import console
from malmoi.core.errors import UserError
from malmoi.core.files import read_json_lines
from malmoi.corpus.crawl.run import ARCHIVES, REPORT, crawl
from malmoi.corpus.crawl.settings import CrawlSettings
from malmoi.pipeline.runner import UNFINISHED
from malmoi.pipeline.stage import Estimate, Stage


def run(settings: CrawlSettings, directory: Path) -> dict[str, Any]:
    """Crawl into `directory`; what was fetched before a kill is not fetched again."""
    counts = crawl(settings, directory, directory / UNFINISHED / "crawl.sqlite")
    others = ", ".join(f"{reason} {number:,}" for reason, number in counts["others"].items()) or "none"
    if not counts["kept"]:
        raise UserError(f"No page was kept of {counts['seen']:,} addresses: {others}.", _way_out(directory / REPORT))
    console.print(
        f"  {counts['kept']:,} pages kept ({counts['bytes'] / 1e6:.1f} MB) with {counts['requests']:,} requests; "
        f"not kept: {others}",
        markup=False,
    )
    return counts


def archive_files(directory: Path) -> list[Path]:
    """The archives of a crawl stage.

    Raises:
        UserError: there are none.
    """
    files = sorted((directory / ARCHIVES).glob("*.warc.gz"))
    if not files:
        raise UserError(f"{directory} is no crawl: it has no archives.", "Name a crawl stage's directory.")
    return files


def _way_out(report: Path) -> str:
    for row in read_json_lines(report):
        if row["fate"] == "redirect":
            return f"{row['url']} leads to {row['detail']}: set urls={row['detail']}, or add its host to 'hosts'."
        if row["fate"] == "private address":
            return f"If {row['detail']} is on your own network, allow it: allow_private=[{row['detail']}]."
    return f"{report} says why of each."


def estimate(settings: CrawlSettings) -> Estimate:
    """How long it takes is the site's size; the delay says how long at least."""
    hosts = len(settings.allowed_hosts())
    pause = f"{settings.delay:g} s between two requests to a host"
    return Estimate(lines=(f"{hosts} hosts, at most {settings.pages:,} requests to each, {pause}",))


STAGE = Stage(CrawlSettings, run, estimate)
