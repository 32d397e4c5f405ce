"""Shifts an inspection line meets: lighting, optics, motion, mounting and compression, on the host in float64.

They go beyond the four published corruptions and are reached through `corruptions.corrupt`. The magnitudes are our
choice: severity 1 is what a well-kept line shows from day to day, severity 5 a fault someone should repair. Which
way a shift goes (brighter or darker, left or right) is drawn from `rng`, once for each image; "gain_up" and "gain_down"
go one way for all images, as a lamp does that was changed.
"""

from io import BytesIO

import numpy as np
from PIL import Image


def _exposure(rng, x, stops):
    """Exposure up by `stops` (factors of two), down where negative, clipped afterwards as by a sensor."""
    return x * 2**stops


def _gain(rng, x, stops):
    """Exposure up or down by `stops`."""
    return _exposure(rng, x, _sign(rng) * stops)


def _gamma(rng, x, exponent):
    """Tone curve x^exponent or its inverse, x^(1 / exponent); black and white stay."""
    return x ** (exponent ** _sign(rng))


def _white_balance(rng, x, amount):
    """Light warmer (red times 1 + amount, blue divided by it) or colder."""
    ratio = (1 + amount) ** _sign(rng)
    return x * np.array([ratio, 1, 1 / ratio])


def _vignette(rng, x, loss):
    """Fall-off with the square of the distance from the centre; the corners lose the fraction `loss`."""
    rows, columns = (np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in x.shape[:2])
    distance2 = (rows[:, None] ** 2 + columns[None, :] ** 2) / 2
    return x * (1 - loss * distance2)[..., None]


def _motion_blur(rng, x, fraction):
    """Movement along one axis (as on a conveyor) by `fraction` of the shorter side while the shutter is open."""
    from scipy import ndimage  # takes long to import: scoring does without it

    axis = int(rng.integers(2))
    length = 1 + fraction * min(x.shape[:2])  # a pixel is one wide already
    reach = int(np.ceil((length - 1) / 2))
    taps = np.clip((length + 1) / 2 - np.abs(np.arange(-reach, reach + 1)), 0, 1)
    return ndimage.correlate1d(x, taps / taps.sum(), axis, mode="mirror")


def _jpeg(rng, x, quality):
    """Through a baseline JPEG file of Pillow's `quality`, chroma at half resolution."""
    file = BytesIO()
    Image.fromarray(np.rint(x * 255).astype(np.uint8)).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return np.asarray(Image.open(file)) / 255.0


def _rotation(rng, x, degrees):
    """Turn about the centre by `degrees`, either way; the border is continued by its nearest pixels."""
    angle = np.deg2rad(_sign(rng) * degrees)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return _affine(x, matrix, np.zeros(2))


def _translation(rng, x, fraction):
    """Move by `fraction` of the shorter side in any direction, the border continued by its nearest pixels."""
    angle = rng.uniform(0, 2 * np.pi)
    distance = fraction * min(x.shape[:2])
    return _affine(x, np.eye(2), distance * np.array([np.sin(angle), np.cos(angle)]))


def _affine(x, matrix, shift):
    """Bilinear samples of x at matrix (p - centre) + centre + shift for each pixel p = (row, column)."""
    from scipy import ndimage  # takes long to import: scoring does without it

    centre = (np.array(x.shape[:2]) - 1) / 2
    offset = centre + shift - matrix @ centre
    channels = [ndimage.affine_transform(x[..., c], matrix, offset, order=1, mode="nearest") for c in range(3)]
    return np.stack(channels, axis=-1)


def _sign(rng):
    return 2 * int(rng.integers(2)) - 1


_STOPS = (0.1, 0.2, 0.35, 0.5, 0.75)

# name -> (function(rng, x, parameter) on float64 [h w 3] in [0, 1], the parameter of severities 1 to 5)
SHIFTS = {
    "gain": (_gain, _STOPS),
    "gain_up": (_exposure, _STOPS),
    "gain_down": (_exposure, tuple(-stops for stops in _STOPS)),
    "gamma": (_gamma, (1.1, 1.2, 1.35, 1.5, 1.8)),  # exponent
    "white_balance": (_white_balance, (0.03, 0.06, 0.1, 0.15, 0.2)),  # change of the red gain
    "vignette": (_vignette, (0.1, 0.2, 0.3, 0.45, 0.6)),  # loss in the corners
    "motion_blur": (_motion_blur, (0.01, 0.02, 0.03, 0.045, 0.06)),  # fraction of the shorter side
    "jpeg": (_jpeg, (80, 60, 40, 25, 15)),  # quality
    "rotation": (_rotation, (0.5, 1, 2, 3.5, 5)),  # degrees
    "translation": (_translation, (0.01, 0.02, 0.03, 0.045, 0.06)),  # fraction of the shorter side
}

GEOMETRIC = ("rotation", "translation")  # these move the defects too; what they draw does not depend on the pixels
