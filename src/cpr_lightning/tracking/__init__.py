"""Weights & Biases: a run for each cell."""
