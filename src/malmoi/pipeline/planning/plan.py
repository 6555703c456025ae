"""The answer: what a training takes in a layout, and which layouts are the best."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from malmoi.core.errors import UserError
from malmoi.models.gpt_config import GPTConfig
from malmoi.parallel.layout import Layout
from malmoi.parallel.layout_check import Work, check_layout, layout_problem, possible_layouts, recomputes_too_often
from malmoi.parallel.memory import USABLE, Memory
from malmoi.pipeline.planning.communication import Traffic, step_traffic
from malmoi.pipeline.planning.hardware import Cluster
from malmoi.pipeline.planning.job import Job
from malmoi.pipeline.planning.memory import as_dict, fullest, process_memory
from malmoi.pipeline.planning.published import judged
from malmoi.pipeline.planning.step_time import StepTime, count_parameters_once, step_operations, step_time

TOKENS_A_PARAMETER = 20
"""Hoffmann and others 2022, arXiv:2203.15556: a training with as much computing as it is worth."""

BATCHES = {0: 5e5, 1e9: 1e6, 4e9: 2e6, 50e9: 3.2e6}
"""Tokens of a step for models from a size on: Brown and others 2020, arXiv:2005.14165, table 2.1."""

MICRO_ROWS = (1, 2, 4, 8, 16, 32)
SCHEDULES = ("1f1b", "interleaved", "zero-bubble")
HOURS_A_DAY, SECONDS_AN_HOUR = 24, 3_600


@dataclass(frozen=True)
class Wishes:
    """What the user has said of a training; None is left to the plan.

    Attributes:
        tokens: to learn from.
        rows: of a step.
        length: of a row, in tokens.
        micro_rows: rows of a micro-batch.
        template: the other fields of the job.
    """

    cluster: Cluster
    template: Job
    tokens: float
    layout: Layout | None = None
    micro_rows: int | None = None
    recompute: str | None = None


@dataclass(frozen=True)
class Plan:
    """A job on a cluster.

    Attributes:
        memory: of the process that needs most.
    """

    job: Job
    cluster: Cluster
    tokens: float
    memory: Memory
    time: StepTime
    traffic: dict[str, Traffic]

    @property
    def fits(self) -> bool:
        """Whether the tensors find room."""
        return self.memory.peak <= USABLE * self.cluster.device.memory

    @property
    def share(self) -> float:
        """Of the devices' peak."""
        job = self.job
        operations = step_operations(job.config, job.rows, job.length)
        return operations / self.time.whole / (self.cluster.count * self.cluster.device.peak)

    @property
    def steps(self) -> int:
        """Of the whole training."""
        return math.ceil(self.tokens / (self.job.rows * self.job.length))

    @property
    def tokens_a_second(self) -> float:
        """Of all devices together."""
        return self.job.rows * self.job.length / self.time.whole

    @property
    def hours(self) -> float:
        """Of the whole training, with nothing going wrong."""
        return self.steps * self.time.whole / SECONDS_AN_HOUR

    @property
    def dollars(self) -> float:
        """For all devices."""
        return self.hours * self.cluster.count * self.cluster.device.price

    @property
    def megawatt_hours(self) -> float | None:
        """Of the devices alone, at their power limit."""
        watts = self.cluster.device.watts
        return None if watts is None else self.hours * self.cluster.count * watts / 1e6


def make_plan(wishes: Wishes, job: Job) -> Plan:
    """What a job takes."""
    device = wishes.cluster.device
    return Plan(job, wishes.cluster, wishes.tokens, fullest(job), step_time(job, device), step_traffic(job, device))


def best_plans(wishes: Wishes, count: int = 5) -> list[Plan]:
    """The fastest jobs that fit into the memory, the best first; each divides the model itself in another way.

    Raises:
        UserError: the layout that the user wishes is not possible, or nothing fits.
    """
    if wishes.layout is not None:
        check_layout(Work(wishes.template.config, wishes.cluster.count, wishes.template.rows), wishes.layout)
        if recomputes_too_often(wishes.layout, wishes.recompute or ""):
            raise UserError(
                "A zero-bubble pipeline would compute what is not kept many times.", "Take another schedule."
            )
    plans = [make_plan(wishes, job) for job in _jobs(wishes)]
    fitting = sorted((plan for plan in plans if plan.fits), key=lambda plan: (plan.time.whole, plan.memory.peak))
    if not fitting:
        raise _nothing_fits(wishes, plans)
    best: dict[tuple[int, ...], Plan] = {}
    for plan in fitting:
        layout = plan.job.layout
        best.setdefault((layout.pipeline, layout.context, layout.tensor), plan)
    return list(best.values())[:count]


def default_rows(config: GPTConfig, length: int) -> int:
    """Rows of a step: GPT-3's tokens for a model of this size, as 2^k or 3 x 2^k rows."""
    size = count_parameters_once(config)
    tokens = next(batch for least, batch in sorted(BATCHES.items(), reverse=True) if size >= least)
    wanted = max(1, round(tokens / length))
    power = 1 << (wanted.bit_length() - 1)
    return power * 3 // 2 if power * 3 // 2 <= wanted else power


def as_facts(plans: list[Plan]) -> dict[str, Any]:
    """Everything about some plans, the best one first, to be written as JSON. Bytes, seconds, dollars."""
    return {
        "parameters": count_parameters_once(plans[0].job.config),
        "model": plans[0].job.config.model_dump(mode="json"),
        "device": asdict(plans[0].cluster.device),
        "devices": plans[0].cluster.count,
        "tokens": plans[0].tokens,
        "plans": [_facts(plan) for plan in plans],
        "published": [
            {
                "run": one.run.name,
                "hardware": one.run.hardware,
                "source": one.run.source,
                "calibrated": one.run.calibrated,
                "assumed": one.run.assumed,
                "published": one.published,
                "planned": one.planned,
            }
            for one in judged()
        ],
    }


def _facts(plan: Plan) -> dict[str, Any]:
    job = plan.job
    places = range(job.layout.pipeline)
    return {
        "layout": job.layout.model_dump(),
        "rows": job.rows,
        "micro_rows": job.micro_rows,
        "micro_batches": job.micro_batches,
        "length": job.length,
        "precision": job.precision,
        "recompute": job.recompute,
        "optimizer": job.optimizer.optimizer,
        "memory": [as_dict(process_memory(job, place)) for place in places],
        "seconds": {**asdict(plan.time), "whole": plan.time.whole},
        "sent": {axis: asdict(traffic) for axis, traffic in plan.traffic.items()},
        "share_of_peak": plan.share,
        "tokens_a_second": plan.tokens_a_second,
        "steps": plan.steps,
        "hours": plan.hours,
        "dollars": plan.dollars,
        "megawatt_hours": plan.megawatt_hours,
    }


def _jobs(wishes: Wishes) -> Iterator[Job]:
    template = wishes.template
    recomputes = ("", "blocks") if wishes.recompute is None else (wishes.recompute,)
    for layout in _layouts(wishes):
        each = template.rows // layout.replicas
        wanted = MICRO_ROWS if wishes.micro_rows is None else (wishes.micro_rows,)
        for micro_rows in (size for size in wanted if each * layout.replicas == template.rows and each % size == 0):
            for recompute in recomputes:
                job = replace(template, layout=layout, micro_rows=micro_rows, recompute=recompute)
                slots = job.micro_batches * layout.replicas
                work = Work(template.config, wishes.cluster.count, template.rows, slots)
                if not layout_problem(work, layout) and not recomputes_too_often(layout, recompute):
                    yield job


def _layouts(wishes: Wishes) -> Iterator[Layout]:
    """All that are possible and not hopeless: what talks most stays within a node, and rows are not cut to crumbs."""
    if wishes.layout is not None:
        yield wishes.layout
        return
    template, node = wishes.template, wishes.cluster.device.node
    for layout in possible_layouts(Work(template.config, wishes.cluster.count, template.rows)):
        if layout.tensor > node or layout.context > max(1, template.length // 4_096):
            continue
        for schedule in SCHEDULES if layout.pipeline > 1 else SCHEDULES[:1]:
            yield layout.model_copy(update={"schedule": schedule})


def _nothing_fits(wishes: Wishes, plans: list[Plan]) -> UserError:
    cluster, rows = wishes.cluster, wishes.template.rows
    if not plans:
        return UserError(
            f"{rows} rows a step cannot be dealt to {cluster.count} devices in whole micro-batches.",
            f"Take a multiple: --batch {-(-rows // cluster.count) * cluster.count}",
        )
    least = min(plans, key=lambda plan: plan.memory.peak)
    room = f"{USABLE * cluster.device.memory / 1e9:,.0f} GB that tensors can have of {cluster.device.name}"
    what = f"It does not fit: the layout {least.job.layout} needs {least.memory.peak / 1e9:,.0f} GB of the {room}."
    if wishes.layout is None:
        return UserError(what, "Take more devices, or shorter rows, or --recompute blocks.")
    try:
        found = best_plans(replace(wishes, layout=None, micro_rows=None, recompute=None), 1)[0].job
    except UserError:
        return UserError(what, "No other layout of these devices fits either: take more of them.")
    again = f", with --recompute {found.recompute}" if found.recompute else ""
    return UserError(what, f"This one fits: {found.layout}{again}.")
