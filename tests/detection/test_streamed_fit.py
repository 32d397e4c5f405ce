"""A folder that is not held in memory gives the same detector, to the last bit, as one that is."""

import fitted
import jax
import numpy as np
import pytest
import small_banks
from PIL import Image

from gnl_jax.data.reading import ImageFilesSource
from gnl_jax.data.sources import Subset
from gnl_jax.detection import parts
from gnl_jax.detection.fit import fit
from gnl_jax.detection.options import FitOptions
from gnl_jax.detection.parts import good_images
from gnl_jax.detection.region import Region
from gnl_jax.detection.survey import survey_folder
from gnl_jax.methods.bank_options import BankOptions
from gnl_jax.report.fit_page import write_fit_page


@pytest.fixture
def folder(tmp_path):
    images = small_banks.pictures(40)
    images[7] = images[3]  # a copy, which is left out
    for i, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{i:02}.png")
    return tmp_path


@pytest.mark.slow
def test_the_same_detector_and_page(folder, tmp_path, monkeypatch):
    config, options = fitted.config(), FitOptions(region=Region(roi=(4, 0, 24, 32)))
    method = small_banks.make(BankOptions(rows=50), small_banks.MATCHED)
    found, pages = [], []
    for kept in (parts.KEPT_MB, 0):
        monkeypatch.setattr(parts, "KEPT_MB", kept)
        good = good_images(folder, config.dataset)
        assert isinstance(good.images, np.ndarray if kept else Subset)
        alone = good_images(folder, config.dataset, exclude=["07.png"])
        assert isinstance(alone.images, np.ndarray if kept else ImageFilesSource)
        detector = fit(folder, config, options=options, method=method, say=lambda words: None)
        assert len(good.names) == 39
        found.append((detector.variables, detector.require_record().calibrations, good.hashes))
        words = {"survey": survey_folder(folder, config.dataset), "command": "", "following": ""}
        page = write_fit_page(detector, folder, tmp_path / "page.html", options=options, **words)
        pages.append(page.read_text())
    held, streamed = found
    assert jax.tree.structure(held) == jax.tree.structure(streamed)
    jax.tree.map(np.testing.assert_array_equal, held, streamed)
    assert pages[0] == pages[1]
