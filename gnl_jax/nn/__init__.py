"""Flax modules, and the weights that they can be given."""
