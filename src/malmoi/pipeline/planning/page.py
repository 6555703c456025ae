"""A plan as one page that needs nothing else: memory of every process and the pipeline's schedule as drawings."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from malmoi.core.files import atomic_file, write_json
from malmoi.parallel.schedule import order_of, simulate
from malmoi.pipeline.planning.memory import as_dict, process_memory
from malmoi.pipeline.planning.plan import Plan, as_facts
from malmoi.pipeline.planning.published import judged
from malmoi.pipeline.planning.show import FORMULA, describe, duration, money
from malmoi.pipeline.planning.step_time import count_parameters_once

COLOURS = {
    "parameters": "#0a6b62",
    "gradients": "#7fb3a8",
    "states": "#c98a2b",
    "activations": "#b5482f",
    "buffers": "#8a8f98",
}
KINDS = {
    "forward": "#0a6b62",
    "backward": "#c98a2b",
    "backward-input": "#c98a2b",
    "backward-weight": "#e6c48f",
}
WIDTH, BAR, LEFT = 960, 22, 150
MOST_ROWS, MOST_MICRO_BATCHES = 32, 48
"""Processes and micro-batches that a drawing shows; more are left out, and it says so."""

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:1000px;margin:2rem auto;padding:0 1rem;color:#24272b;
background:#fbfaf7}}table{{border-collapse:collapse;font-size:14px}}
td{{overflow-wrap:anywhere}}td,th{{padding:.2rem .8rem .2rem 0;text-align:left}}
svg{{width:100%;height:auto}}.key span{{display:inline-block;width:.8em;height:.8em;margin:0 .3em 0 1em}}</style>
<h1>{title}</h1>
{body}
</html>
"""


def write_plans(plans: list[Plan], path: Path) -> None:
    """Write plans, the best one first, as .json or as a page."""
    if path.suffix == ".json":
        write_json(path, as_facts(plans))
        return
    with atomic_file(path) as file:
        file.write(as_page(plans))


def as_page(plans: list[Plan]) -> str:
    """HTML without anything from outside."""
    best = plans[0]
    job, cluster = best.job, best.cluster
    summary = (
        f"{best.tokens:,.0f} tokens in {best.steps:,} steps of {job.rows:,} rows of {job.length:,} tokens: "
        f"{duration(best.hours)}, {money(best.dollars)}, {best.share:.1%} of the peak ({FORMULA}). "
        f"Layout: {job.layout}; {describe(best)}."
    )
    untried = "" if cluster.device.tried else f"<p>Never run on {escape(cluster.device.name)}.</p>"
    body = [
        f"<p>{escape(summary)}</p>{untried}",
        "<h2>Memory of a process</h2>",
        _key(COLOURS),
        draw_memory(best),
    ]
    if job.layout.pipeline > 1:
        body += ["<h2>The pipeline's schedule</h2>", _key(KINDS), draw_schedule(best)]
    body += ["<h2>Layouts</h2>", _layouts(plans), "<h2>Plans of trainings that were measured</h2>", _judged()]
    title = f"{count_parameters_once(job.config):,} parameters on {cluster.count:,} x {cluster.device.name}"
    return _PAGE.format(title=escape(title), body="\n".join(body))


def draw_memory(plan: Plan) -> str:
    """An SVG: a bar for each place in the pipeline, and the memory of the device."""
    places = range(min(MOST_ROWS, plan.job.layout.pipeline))
    memories = [as_dict(process_memory(plan.job, place)) for place in places]
    room = plan.cluster.device.memory
    most = max(room, *(sum(memory[name] for name in COLOURS) for memory in memories))
    scale = (WIDTH - LEFT - 60) / most
    shapes = []
    for place, memory in zip(places, memories, strict=True):
        left, top = float(LEFT), place * (BAR + 6) + 6
        shapes.append(f'<text x="0" y="{top + 16}">place {place}, {memory["peak"] / 1e9:,.1f} GB</text>')
        for name, colour in COLOURS.items():
            width = memory[name] * scale
            title = f"<title>{name} {memory[name] / 1e9:,.2f} GB</title>"
            shapes.append(
                f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{BAR}" fill="{colour}">{title}</rect>'
            )
            left += width
    height, edge = len(memories) * (BAR + 6) + 26, LEFT + room * scale
    shapes.append(f'<path d="M{edge:.1f} 0V{height - 20}" stroke="#24272b" stroke-dasharray="4"/>')
    shapes.append(f'<text x="{edge:.1f}" y="{height - 4}" text-anchor="middle">{room / 1e9:,.0f} GB</text>')
    return _svg(height, shapes)


def draw_schedule(plan: Plan) -> str:
    """An SVG: what each process of the pipeline does when; the gaps are the bubble."""
    layout, micro_batches = plan.job.layout, plan.job.micro_batches
    shown = min(micro_batches, max(layout.pipeline, MOST_MICRO_BATCHES // layout.pipeline * layout.pipeline))
    timed = simulate(order_of(layout.schedule, layout.pipeline, shown))
    scale = (WIDTH - LEFT) / max(one.end for one in timed)
    rows = min(MOST_ROWS, layout.pipeline)
    shapes = [f'<text x="0" y="{place * (BAR + 2) + 16}">process {place}</text>' for place in range(rows)]
    for one in timed:
        if one.process < rows:
            action = one.action
            title = f"{action.kind} of micro-batch {action.micro_batch}, part {action.stage}"
            shapes.append(
                f'<rect x="{LEFT + one.start * scale:.1f}" y="{one.process * (BAR + 2)}" '
                f'width="{max(0.5, (one.end - one.start) * scale - 0.5):.1f}" height="{BAR}" '
                f'fill="{KINDS[action.kind]}"><title>{title}</title></rect>'
            )
    words = f"{shown} of {micro_batches} micro-batches; idle {plan.time.bubble:.1%} with all of them"
    height = rows * (BAR + 2) + 24
    shapes.append(f'<text x="{LEFT}" y="{height - 6}">{words}</text>')
    return _svg(height, shapes)


def _svg(height: int, shapes: list[str]) -> str:
    inside = "\n".join(shapes)
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-size="13">\n{inside}\n</svg>'


def _key(colours: dict[str, str]) -> str:
    spans = (f'<span style="background:{colour}"></span>{name}' for name, colour in colours.items())
    return f'<p class="key">{"".join(spans)}</p>'


def _layouts(plans: list[Plan]) -> str:
    head = ("layout", "micro-batches", "GB", "s a step", "of peak", "time", "cost")
    rows = [
        (
            str(plan.job.layout),
            describe(plan),
            f"{plan.memory.peak / 1e9:,.1f}",
            f"{plan.time.whole:,.2f}",
            f"{plan.share:.1%}",
            duration(plan.hours),
            money(plan.dollars),
        )
        for plan in plans
    ]
    return _table(head, rows)


def _judged() -> str:
    head = ("run", "on", "measured", "planned", "off", "calibrated on it", "source")
    rows = [
        (
            one.run.name,
            one.run.hardware,
            f"{one.published:.1%}",
            f"{one.planned:.1%}",
            f"{one.points:+.1f} points",
            "yes" if one.run.calibrated else "no",
            one.run.source,
        )
        for one in judged()
    ]
    return _table(head, rows)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    cells = ["".join(f"<th>{escape(name)}</th>" for name in head)]
    cells += ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    return "<table>" + "".join(f"<tr>{row}</tr>" for row in cells) + "</table>"
