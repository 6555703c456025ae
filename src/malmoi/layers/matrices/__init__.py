"""Matrices held in fewer numbers than they have."""
