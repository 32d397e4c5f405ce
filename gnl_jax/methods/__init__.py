"""One method a file: what it learns and how it scores."""
