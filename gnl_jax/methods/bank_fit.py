"""From good images to memory banks: two passes through the teacher, in memory that does not grow with the images.

Everything comes from the bank's own images: the references of matching, the rows, the scales and what drift is measured
against.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gnl_jax.methods.bank_candidates import Candidates, bank_needs, bank_rows
from gnl_jax.methods.bank_drift import DRIFT_IMAGES, drift_entry, drift_images
from gnl_jax.methods.bank_memory import check_memory
from gnl_jax.methods.bank_options import BankOptions
from gnl_jax.methods.bank_passes import in_chunks, pass_images
from gnl_jax.methods.bank_programs import Networks, patch_program, reference_program, stage_ranks, view_programs
from gnl_jax.methods.bank_rows import make_bank
from gnl_jax.methods.bank_scales import scored_scales
from gnl_jax.methods.base import parts_of
from gnl_jax.methods.scoring import Scoring, anchor_images
from gnl_jax.ops.pixels import image_moments, mean_moments, moment_bounds
from gnl_jax.overlap import overlapped
from gnl_jax.progress import progress_bar

PyTree = Any


def make_banks(networks: Networks, images, *, options: BankOptions, scoring: Scoring) -> PyTree:
    """The variables that a memory bank scores with, but for the teacher's and a region.

    Args:
        networks: how images are seen.
        images: good images, uint8 [n s s 3], or any source of them; its `parts` says which show the same part.
        options: what the banks are.
        scoring: matching, alpha, anchors and seed.

    Returns:
        {"banks", "parts"}, "drift" with two images or more, with a matching "alpha" and, if asked for, "pixels":
        see `memory_bank.score_batch`.

    Raises:
        ValueError: an anchor that there is none of.
    """
    references: list[PyTree] = []
    variables: dict[str, Any] = {}
    if scoring.matching != "none":
        chosen = anchor_images(len(images), anchor=scoring.anchor, k=scoring.anchors, seed=scoring.seed)
        variables["alpha"] = jnp.float32(scoring.alpha)
        if options.pixels:
            variables["pixels"] = _pixels(images, chosen, options)
        references = _references(networks, images, chosen, variables.get("pixels"), options=options)
    drawn, ranks = draw_patches(
        networks,
        images,
        references,
        variables.get("pixels"),
        options=options,
        scoring=scoring,
        rows=lambda i, total: bank_rows(total, rows=options.rows),
        ranked=np.random.default_rng([scoring.seed, 4]).permutation(len(images))[:DRIFT_IMAGES],
    )
    parts = np.unique(parts_of(images), return_inverse=True)[1].astype(np.int32)
    banks = {}
    with progress_bar("memory banks", len(drawn)) as advance:
        for i, (candidates, owners, rows) in enumerate(drawn):
            banks[str(i)] = make_bank(candidates, owners, parts, rows=rows, options=options, seed=scoring.seed)
            banks[str(i)] |= {"references": references[i]} if references else {}
            advance(1)
    variables |= {"banks": banks, "parts": jnp.asarray(parts)}
    if options.joined == "scores" and options.has_map and len(banks) > 1:
        scales = scored_scales(networks, variables, images, options=options, scoring=scoring)
        variables["banks"] = {name: bank | scale for (name, bank), scale in zip(banks.items(), scales, strict=True)}
    if len(images) >= 2:
        variables["drift"] = drift_entry(ranks)
    return variables


def _pixels(images, chosen: np.ndarray, options: BankOptions) -> PyTree:
    """The anchors' brightness of each channel and contrast, in [0, 255], as `memory_bank.pixel_bounds` reads them."""
    moments = jax.jit(lambda batch: image_moments(batch.astype(jnp.float32)))
    found = []
    for batch, count in in_chunks(images, chosen, options, "brightness"):
        mean, sigma = moments(batch)
        found.append((np.asarray(mean)[:count], np.asarray(sigma)[:count]))
    mean, sigma = (np.concatenate(parts) for parts in zip(*found))
    if options.pixel_target == "mean":
        return mean_moments(mean, sigma)._asdict()
    return {name: moments._asdict() for name, moments in moment_bounds(mean, sigma)._asdict().items()}


def _references(
    networks: Networks, images, chosen: np.ndarray, pixels: PyTree | None, *, options: BankOptions
) -> list[PyTree]:
    """For each bank the mean of the anchors' sorted features at the matched stages; their own path is not matched."""
    total, program = None, reference_program(networks, pixels, options=options)

    def begin(chunk):
        batch, count = chunk
        return program(networks.variables, batch), count

    def end(begun):
        found, count = begun
        return jax.tree.map(lambda a: np.asarray(a)[:count].sum(0, dtype=np.float64), found)

    for sums in overlapped(begin, end, in_chunks(images, chosen, options, "references")):
        total = sums if total is None else jax.tree.map(np.add, total, sums)
    return jax.tree.map(lambda a: jnp.asarray(a / len(chosen), jnp.float32), total)


def draw_patches(
    networks: Networks,
    images,
    references: list[PyTree],
    pixels: PyTree | None,
    *,
    options: BankOptions,
    scoring: Scoring,
    rows: Callable[[int, int], int],
    ranked: Sequence[int] | np.ndarray = (),
    first: int = 0,
) -> tuple[list[tuple[np.ndarray, np.ndarray, int]], dict[str, np.ndarray]]:
    """Candidates for the rows of each bank, from images and their views, drawn before the images are looked at.

    Args:
        networks, options, scoring: as for `make_banks`.
        images: uint8 [n s s 3], or any source of them.
        references: sorted features that stages are matched to, one entry a bank; empty without a matching.
        pixels: moments that images are matched to first, or None.
        rows: (number of the bank, number of patches) -> how many of them its rows will be.
        ranked: positions of the images whose middle ranks are returned, for drift; of these the first `drift_images`.
        first: how many images the banks hold already; their draws and views are not repeated.

    Returns:
        ([(candidates float32 [m c], owners int32 [m], rows) of each bank], {stage: ranks float32 [k r c]}); owners are
        positions in `images`.

    Raises:
        ValueError: more candidates than memory holds.
    """
    views, program = view_programs(options, scoring), patch_program(networks, pixels, options=options, scoring=scoring)
    shape = images[np.zeros(1, np.int64)].shape[1:]
    sample = jax.ShapeDtypeStruct((pass_images(shape[0], options), *shape), jnp.float32)
    shapes, stages = jax.eval_shape(program, networks.variables, references, sample)
    looks = jax.eval_shape(stage_ranks, stages)
    ranked = np.asarray(ranked)[: drift_images(looks)]
    place = {int(image): i for i, image in enumerate(np.sort(ranked))}
    ranks = {stage: np.empty((len(place), *look.shape[1:]), np.float32) for stage, look in looks.items()}
    seed = [scoring.seed, 5, first] if first else [scoring.seed, 5]
    needs = bank_needs(shapes, images=len(images), rows=rows, options=options)
    check_memory(needs, chunk=sample.shape[0])
    collectors = [
        Candidates.drawn_from(need, images=len(images), views=1 + len(options.views), seed=seed) for need in needs
    ]
    everything = np.arange(len(images))

    def begin(chunk, v: int, view: str):
        start, (batch, count) = chunk
        seen = views[view](batch, jnp.int32(v), jnp.int32(first), jnp.int32(start))
        return start, count, program(networks.variables, references, seen)

    def end(begun, v: int, view: str) -> None:
        start, count, (embeddings, stages) = begun
        for collector, embedding in zip(collectors, embeddings, strict=True):
            collector.take(np.asarray(embedding)[:count], view=v, start=start)
        here = [i for i in range(count) if start + i in place] if view == "clean" else []
        if here:
            for stage, values in stage_ranks(stages).items():
                ranks[stage][[place[start + i] for i in here]] = np.asarray(values)[here]

    step = sample.shape[0]
    for v, view in enumerate(("clean", *options.views)):
        chunks = in_chunks(images, everything, options, f"patches, {view}")
        for _ in overlapped(
            functools.partial(begin, v=v, view=view),
            functools.partial(end, v=v, view=view),
            zip(itertools.count(0, step), chunks),
        ):
            pass
    return [collector.result() for collector in collectors], ranks
