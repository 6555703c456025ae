"""A plan in the terminal."""

from __future__ import annotations

from dataclasses import asdict

from rich.table import Table

from malmoi.core.console import console, verbatim
from malmoi.parallel.layout import AXES
from malmoi.parallel.memory import USABLE
from malmoi.pipeline.planning.memory import as_dict, process_memory
from malmoi.pipeline.planning.plan import Plan
from malmoi.pipeline.planning.published import judged
from malmoi.pipeline.planning.step_time import count_parameters_once

FORMULA = "6 N + 12 L d s operations a token, all keys of a row counted, nothing computed again"


def print_plans(plans: list[Plan]) -> None:
    """The best plan in full, the others in a line each, and how good such plans are."""
    best = plans[0]
    job, cluster, device = best.job, best.cluster, best.cluster.device
    energy = best.megawatt_hours
    console.print(
        f"{count_parameters_once(job.config):,} parameters, {best.tokens:,.0f} tokens in {best.steps:,} steps of "
        f"{job.rows:,} rows of {job.length:,} tokens\n{cluster.count:,} x {device.name}, {job.precision}, "
        f"{job.optimizer.optimizer}\n\n{duration(best.hours)}, {money(best.dollars)}"
        f"{'' if energy is None else f', {energy:,.3g} MWh'}, {best.tokens_a_second:,.0f} tokens/s, "
        f"{best.share:.1%} of the peak, bubble {best.time.bubble:.1%}\n{job.layout}; {describe(best)}\n",
        markup=False,
    )
    if not device.tried:
        console.print(f"[yellow]Never held against a measurement on {verbatim(device.name)}.[/yellow]\n")
    console.print(_memory_table(best))
    console.print(_time_table(best))
    if len(plans) > 1:
        console.print(_layout_table(plans))
    console.print(_judged_table())
    console.print(
        f"\nShare of peak: {FORMULA}.\nMoney and energy are those of the devices alone, with nothing failing."
    )


def money(dollars: float) -> str:
    """$1,234 or $12.34M."""
    return f"${dollars / 1e6:,.2f}M" if dollars >= 1e5 else f"${dollars:,.0f}"


def duration(hours: float) -> str:
    """12.3 days, 4.5 hours, 12 minutes or 40 seconds."""
    if hours >= 48:
        return f"{hours / 24:,.1f} days"
    if hours >= 1:
        return f"{hours:.1f} hours"
    return f"{60 * hours:.0f} minutes" if 60 * hours >= 2 else f"{3600 * hours:.0f} seconds"


def describe(plan: Plan) -> str:
    """How its rows are computed: micro-batches, what is computed again."""
    job = plan.job
    words = [f"{job.micro_batches} x {job.micro_rows} rows"]
    if job.recompute:
        words.append(f"recompute {job.recompute}")
    return ", ".join(words)


def _layout_table(plans: list[Plan]) -> Table:
    axes = [axis for axis in AXES if any(getattr(plan.job.layout, axis) > 1 for plan in plans)]
    table = Table(*axes, "schedule", "rows", "again", "GB", "s", "peak", "cost", box=None, pad_edge=False)
    for plan in plans:
        job = plan.job
        table.add_row(
            *(str(getattr(job.layout, axis)) for axis in axes),
            job.layout.schedule if job.layout.pipeline > 1 else "",
            f"{job.micro_batches} x {job.micro_rows}",
            job.recompute,
            f"{plan.memory.peak / 1e9:,.1f}",
            f"{plan.time.whole:,.2f}",
            f"{plan.share:.1%}",
            money(plan.dollars),
        )
    return table


def _memory_table(plan: Plan) -> Table:
    last = plan.job.layout.pipeline - 1
    places = {"": 0} if last == 0 else {"first": 0, "last": last}
    memories = {name: as_dict(process_memory(plan.job, place)) for name, place in places.items()}
    table = Table("GB", *next(iter(memories.values())), "device", box=None)
    room = plan.cluster.device.memory
    for name, memory in memories.items():
        table.add_row(name, *(f"{size / 1e9:,.2f}" for size in memory.values()), f"{room / 1e9:,.0f} x {USABLE:.0%}")
    return table


def _time_table(plan: Plan) -> Table:
    table = Table("time of a step", "ms", "share", "sent, GB", box=None)
    for name, seconds in asdict(plan.time).items():
        if name != "bubble" and seconds:
            sent = plan.traffic.get(name)
            share = f"{seconds / plan.time.whole:.1%}"
            table.add_row(name, f"{1e3 * seconds:,.1f}", share, f"{sent.bytes / 1e9:,.2f}" if sent else "")
    return table


def _judged_table() -> Table:
    table = Table("published", "on", "measured", "planned", "points", "calibrated", box=None)
    for one in judged():
        shares = (f"{one.published:.1%}", f"{one.planned:.1%}", f"{one.points:+.1f}")
        table.add_row(one.run.name, one.run.hardware, *shares, "on it" if one.run.calibrated else "not on it")
    return table
