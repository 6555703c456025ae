"""Named data sets and weights: cards and fetching."""
