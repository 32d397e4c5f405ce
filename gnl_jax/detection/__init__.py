"""What a user holds: fit, detector, frames, thresholds, records and files."""
