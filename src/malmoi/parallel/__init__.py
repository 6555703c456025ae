"""One model trained by several processes: layouts applied from outside, planning, launching."""
