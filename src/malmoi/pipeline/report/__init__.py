"""The report: one self-contained page about a run, read from its directories."""
