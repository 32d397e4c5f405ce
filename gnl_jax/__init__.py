"""Visual anomaly detection that keeps working when the lighting, the camera or the style changes."""

__version__ = "0.1.0"
