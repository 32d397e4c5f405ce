"""From scores to numbers: metrics, results and their plots."""
