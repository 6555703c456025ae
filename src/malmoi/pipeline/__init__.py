"""Stages, recipes, the runner and the run directory."""
