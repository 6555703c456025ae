"""Peak memory of a stretch of work."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import ClassVar
from weakref import WeakSet

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


class PeakMemory:
    """Peak resident memory of this process since the object was made.

    Linux can reset its own high-water mark (`man 5 proc`, clear_refs), which those that were made before remember;
    elsewhere the peak is that of the process.
    """

    _all: ClassVar[WeakSet[PeakMemory]] = WeakSet()

    def __init__(self) -> None:
        self._before, mark = 0, _high_water_mark()
        for other in self._all:
            other._before = max(other._before, mark)
        self._all.add(self)
        with contextlib.suppress(OSError):
            _CLEAR.write_text("5")

    def bytes(self) -> int:
        """The peak so far, in bytes; 0 where the system tells nothing."""
        return max(self._before, _high_water_mark())


def _high_water_mark() -> int:
    """Bytes; 0 likewise."""
    if _STATUS.is_file():
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
