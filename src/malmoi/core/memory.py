"""Peak memory of a stretch of work."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


class PeakMemory:
    """Peak resident memory of this process since the object was made.

    Linux can reset its own high-water mark (`man 5 proc`, clear_refs); elsewhere the peak is that of the process.
    """

    def __init__(self) -> None:
        with contextlib.suppress(OSError):
            _CLEAR.write_text("5")

    def bytes(self) -> int:
        """The peak so far, in bytes; 0 where the system tells nothing."""
        if _STATUS.is_file():
            line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
            return int(line.split()[1]) * 1024
        if sys.platform == "win32":
            return 0
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
