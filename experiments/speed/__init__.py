"""Programs that measure speed, and what they share."""
