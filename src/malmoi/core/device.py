"""What this machine is. Imports no torch."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path
from typing import Any

import psutil

_INSTRUCTION_SETS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8", "asimd", "bf16", "sve")


def machine_facts() -> dict[str, Any]:
    """Processor, usable cores, instruction sets, memory and free disk (bytes), operating system."""
    return {
        "processor": _processor(),
        "cores": usable_cores(),
        "instruction_sets": instruction_sets(),
        "memory": psutil.virtual_memory().total,
        "disk_free": shutil.disk_usage(Path.cwd()).free,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def usable_cores() -> int:
    """Cores this process may run on; fewer than the machine's in a container."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def instruction_sets() -> list[str]:
    """Which of the matrix instruction sets the processor reports; empty where the system does not tell."""
    flags = _cpuinfo().get("flags") or _cpuinfo().get("Features") or ""
    return [name for name in _INSTRUCTION_SETS if name in flags.split()]


def _processor() -> str:
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def _cpuinfo() -> dict[str, str]:
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n\n")[0].splitlines()
    pairs = (line.partition(":") for line in lines)
    return {key.strip(): value.strip() for key, _, value in pairs}
