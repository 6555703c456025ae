"""Published trainings that the plan is held against: four that its constants were calibrated on, and one more."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from malmoi.models.gpt_config import GPTConfig
from malmoi.models.presets import preset
from malmoi.parallel.layout import Layout
from malmoi.pipeline.planning.hardware import parse_hardware
from malmoi.pipeline.planning.job import Job, Software
from malmoi.pipeline.planning.step_time import step_operations, step_time

_MEGATRON = Software(
    autocast=False,
    fused=True,
    overlaps_tensor=True,
    overlaps_data=True,
    sends_parts=True,
    weight_bytes=2,
    chunks=8,
    again=(0, 0, 0),
)
_TORCHTITAN = Software(autocast=False, weight_bytes=2, again=(0.5, 0, 1))
"""Selective checkpointing: every second product, and all that is no product or attention, is computed again."""

_LLAMA = Software(autocast=False, fused=True, overlaps_data=True, sends_parts=True, weight_bytes=2, chunks=8)

_MEGATRON_README = "https://github.com/NVIDIA/Megatron-LM/blob/main/README.md"
_TORCHTITAN_PAGE = "https://github.com/pytorch/torchtitan/blob/main/benchmarks/llama3_h100_202412_torchtitan.md"


@dataclass(frozen=True)
class Run:
    """What was measured somewhere.

    Attributes:
        share: of the devices' peak, counted as `step_operations` does; None where tokens were published.
        tokens: a second and device; None where the share was published.
        calibrated: whether constants were chosen by it.
        assumed: what the source does not say.
    """

    name: str
    job: Job
    hardware: str
    source: str
    share: float | None = None
    tokens: float | None = None
    calibrated: bool = True
    assumed: str = ""


@dataclass(frozen=True)
class Judged:
    """A run, its share of the peak as published and as planned."""

    run: Run
    published: float
    planned: float

    @property
    def points(self) -> float:
        """How many hundredths of the peak the plan is above what was measured."""
        return 100 * (self.planned - self.published)


def published_runs() -> list[Run]:
    """All of them, the one that was not used for calibration last."""
    gpt3 = _shape("gpt3-175b").model_copy(update={"vocabulary": 131_072, "context": 4_096})
    llama, large = _shape("llama-3-8b"), _shape("llama-3-405b")
    assumed = "the README gives no layout: tensor 8, pipeline 12 in 8 parts; rows of 4,096, as in its other trainings"
    interleaved = Layout(tensor=8, pipeline=12, schedule="interleaved")
    return [
        Run(
            "Megatron-LM, GPT-3 175B",
            Job(gpt3, interleaved, 1_152, 1, 4_096, software=_MEGATRON),
            "96xH100",
            _MEGATRON_README,
            share=0.47,
            assumed=assumed,
        ),
        Run(
            "Megatron-LM, GPT-3 175B",
            Job(gpt3, interleaved.model_copy(update={"data": 48}), 1_152, 1, 4_096, software=_MEGATRON),
            "4608xH100",
            _MEGATRON_README,
            share=0.42,
            assumed=assumed,
        ),
        Run(
            "torchtitan, Llama 3.1 8B",
            Job(llama, Layout(shard=8), 16, 2, 8_192, software=_TORCHTITAN),
            "8xH100-500w",
            _TORCHTITAN_PAGE,
            tokens=5_762,
        ),
        Run(
            "torchtitan, Llama 3.1 8B",
            Job(llama, Layout(shard=128), 256, 2, 8_192, software=_TORCHTITAN),
            "128xH100-500w",
            _TORCHTITAN_PAGE,
            tokens=5_605,
        ),
        Run(
            "Llama 3 405B",
            Job(
                large,
                Layout(tensor=8, pipeline=16, shard=128, schedule="interleaved"),
                2_048,
                1,
                8_192,
                software=_LLAMA,
            ),
            "16384xH100",
            "https://arxiv.org/abs/2407.21783, table 4",
            share=0.41,
            calibrated=False,
            assumed="pipeline in 8 parts of one layer; kernels fused, tensor exchanges not hidden",
        ),
    ]


def _shape(name: str) -> GPTConfig:
    config = preset(name)
    assert isinstance(config, GPTConfig)
    return config


@cache
def judged() -> tuple[Judged, ...]:
    """Every published run beside what is planned for it."""
    return tuple(map(judge, published_runs()))


def judge(run: Run) -> Judged:
    """What is planned for a run."""
    cluster = parse_hardware(run.hardware)
    job, peak = run.job, cluster.count * cluster.device.peak
    operations = step_operations(job.config, job.rows, job.length)
    planned = operations / step_time(job, cluster.device).whole / peak
    if run.share is not None:
        return Judged(run, run.share, planned)
    assert run.tokens is not None
    seconds = job.rows * job.length / (run.tokens * cluster.count)
    return Judged(run, operations / seconds / peak, planned)
