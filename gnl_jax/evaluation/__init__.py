"""Numbers, tables and pictures computed from the scores of a detector."""
