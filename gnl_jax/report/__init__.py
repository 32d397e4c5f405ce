"""From numbers to what a person can act on: shift reports, pages and overlays."""
