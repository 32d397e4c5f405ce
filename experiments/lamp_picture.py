"""Draws what detectors decide on the same parts under two lamps: a picture for a page.

python experiments/lamp_picture.py --row="photograph=:lamp_a/test" --row="as fitted=plate.gnl:lamp_a/test" \
    --row="new lamp=plate.gnl:lamp_b/test" --row="recalibrated=plate_lamp_b.gnl:lamp_b/test" --out=lamps.jpg

A row is NAME=DETECTOR:FOLDER, or NAME=:FOLDER for the images as they are; the folder has good/ beside a folder for each
kind of defect. Of each the image in the middle of the list is shown, whatever is decided on it.
"""

from pathlib import Path

import numpy as np
from absl import app, flags
from PIL import Image, ImageDraw, ImageFont

from gnl_jax import console
from gnl_jax.data.listing import list_images
from gnl_jax.data.pixels import read_file, read_image
from gnl_jax.detection.artifact import load
from gnl_jax.report.overlay import overlay, shown_threshold
from gnl_jax.report.show import COLOURS

ROW = flags.DEFINE_multi_string("row", None, "NAME=DETECTOR:FOLDER, may be repeated.")
OUT = flags.DEFINE_string("out", None, "A .jpg or .png file.")

LINE = 20  # pixels of a line of text


def middle_images(folder: Path) -> dict[str, Path]:
    """Kind to the image in the middle of its folder's list; good parts first."""
    kinds = sorted({name.split("/")[0] for name in list_images(folder)}, key=lambda kind: (kind != "good", kind))
    return {kind: folder / kind / (names := list_images(folder / kind))[len(names) // 2] for kind in kinds}


def draw_row(name: str, detector_file: str, folder: str) -> np.ndarray:
    """A row of images, each with its decision above: uint8 [h w 3]."""
    detector, pictures = load(detector_file) if detector_file else None, []
    for kind, path in middle_images(Path(folder)).items():
        shown, text, colour = read_image(read_file(path), name=str(path)), kind, "black"
        if detector:
            found = detector.inspect(str(path), maps=True)
            shown = overlay(shown, found.frame_map, shown_threshold(detector.require_record(), found.frame_map))
            text, colour = f"{found.decision} {found.score:.2f}", COLOURS.get(found.decision, "black")
        pictures.append(titled(shown, text, colour))
    row = np.concatenate(pictures, 1)
    label = titled(np.zeros((0, row.shape[0], 3), np.uint8), name, "black")
    return np.concatenate([np.rot90(label), row], 1)


def titled(image: np.ndarray, text: str, colour: str) -> np.ndarray:
    strip = Image.new("RGB", (image.shape[1], LINE), "white")
    font = ImageFont.load_default(size=0.7 * LINE)
    ImageDraw.Draw(strip).text((strip.width / 2, LINE / 2), text, colour, font, anchor="mm")
    return np.concatenate([np.asarray(strip), image])


def run():
    parts = [(*text.partition("=")[::2], text) for text in ROW.value]
    if wrong := [text for name, rest, text in parts if not name or ":" not in rest]:
        raise ValueError(f"row: got {wrong[0]!r}, expected NAME=DETECTOR:FOLDER")
    picture = np.concatenate([draw_row(name, *rest.split(":", 1)) for name, rest, _ in parts])
    Image.fromarray(picture).save(OUT.value, quality=88)
    print(f"wrote {OUT.value}")


if __name__ == "__main__":
    flags.mark_flags_as_required(["row", "out"])
    app.run(lambda argv: console.run(run), flags_parser=console.parse_flags)
