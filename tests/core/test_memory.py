"""The peak of a stretch of work is its own, whatever is measured inside it."""

import mmap
import sys

import pytest

from malmoi.core.memory import PeakMemory

MUCH = 256 << 20


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux resets its high-water mark")
def test_what_is_measured_inside_takes_nothing_from_what_is_measured_outside():
    outside = PeakMemory()
    with mmap.mmap(-1, MUCH) as taken:  # what Python frees may stay in the process
        taken.write(bytes(MUCH))
    inside = PeakMemory()
    assert outside.bytes() > inside.bytes() + MUCH // 2
