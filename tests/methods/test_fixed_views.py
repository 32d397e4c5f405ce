"""Features of views that never change: which they are, and that they come back in their places."""

import numpy as np
import pytest

from gnl_jax.methods.fixed_views import ViewSplit, fixed_features, joined_stages, split_views

ALL = tuple(np.random.default_rng(k).normal(size=(4, 5, 2, 2, 3 * k)) for k in (1, 2, 3))  # [v b h w c]


def stages_of(positions):
    return tuple(stage[list(positions)] for stage in ALL)


@pytest.mark.parametrize(
    ("views", "split"),
    [
        (("clean",), ((0,), ())),
        (("clean", "augmix", "grey"), ((0, 2), (1,))),
        (("augmix", "augmix", "clean"), ((2,), (0, 1))),
        (("augmix",), ((), (0,))),
    ],
)
def test_clean_and_grey_never_change(views, split):
    assert split_views(views) == split


@pytest.mark.parametrize("split", [ViewSplit((0, 1, 2, 3), ()), ViewSplit((0, 2), (1, 3)), ViewSplit((3,), (0, 1, 2))])
def test_every_view_is_in_its_place(split):
    features = fixed_features(stages_of, split)
    assert [f.shape for f in features] == [(5, len(split.fixed), 2, 2, 3 * k) for k in (1, 2, 3)]
    for got, stage in zip(joined_stages(features, stages_of, split), ALL, strict=True):
        np.testing.assert_array_equal(got, np.float32(stage))
