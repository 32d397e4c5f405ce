"""Functions on arrays without parameters."""
