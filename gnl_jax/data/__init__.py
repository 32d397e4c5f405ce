"""Where images come from, which of them are normal, and what a shifted test set is."""
