"""Training loop, checkpoints and the run folder."""
