"""The paper's grid of runs, its tables and figures, and the numbers it printed."""
