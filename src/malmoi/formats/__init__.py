"""Checkpoints and public weights, in and out."""
