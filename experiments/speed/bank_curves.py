"""Draws how well and how fast a memory bank works against its number of rows, and against alpha.

    python experiments/speed/bank_curves.py --good=PARTS/train/good --out=curves.json [--curve=rows]

Good images alone: they are divided by part into bank, calibration and held-out images; into copies of the held-out ones
defects are drawn (`gnl_jax.images.simulated_defects`), others are shifted. "rows" keeps the first rows of one greedy
coreset, with all channels and with principal components; "alpha" builds a bank for each alpha; "sizes" compares the
whole side alone with the whole and half of it, added (`two_size_bank`); "stages" the teacher's stages that a patch
joins; "pixels" what brightness and contrast are matched to. Printed for each point: AUROC of the defects; defects found
and good images flagged, in percent, at the threshold that flags one in ten calibration images; how far the score of
good images moves under each shift, in its standard deviations; and the milliseconds of CPU time that one image's
distances and map take ("sizes", "stages" and "pixels": the whole score, teacher included).
"""

import functools
import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from gnl_jax import console
from gnl_jax.config import set_method
from gnl_jax.data.folder import corruption
from gnl_jax.data.reading import load_images
from gnl_jax.detection.options import inspection_config
from gnl_jax.detection.parts import GoodImages, good_images, split_parts
from gnl_jax.evaluation.metrics import auroc
from gnl_jax.images.simulated_defects import KINDS, draw_defect
from gnl_jax.images.views import normalise
from gnl_jax.methods.bank_fit import draw_patches, make_banks
from gnl_jax.methods.bank_method import bank_options
from gnl_jax.methods.bank_passes import in_chunks
from gnl_jax.methods.bank_programs import Networks
from gnl_jax.methods.bank_rows import projection
from gnl_jax.methods.memory_bank import embed, matched_stages, network_input, score_batch
from gnl_jax.methods.scoring import Scoring
from gnl_jax.nn.pretrained import load_teacher
from gnl_jax.nn.teachers import TEACHERS
from gnl_jax.ops.coreset import k_center
from gnl_jax.ops.nearest import half_squared_norms, nearest
from gnl_jax.ops.patches import distance_map
from gnl_jax.ops.scoremap import image_score

GOOD = flags.DEFINE_string("good", None, "Folder of good images.")
GROUP_BY = flags.DEFINE_string("group_by", "", "Which images show the same part, as for `gnl-jax fit`.")
OUT = flags.DEFINE_string("out", None, "JSON file for the points.")
CURVE = flags.DEFINE_enum("curve", "rows", ["rows", "alpha", "sizes", "stages", "pixels"], "What changes.")
ROWS = flags.DEFINE_list("rows", ["1000", "2000", "4000", "8000", "20000"], "Numbers of rows.")
COMPONENTS = flags.DEFINE_list("components", ["0", "100"], "Principal components; 0 for all channels.")
ALPHAS = flags.DEFINE_list("alphas", ["0", "0.25", "0.5", "0.75", "1"], "Weights of the bank's style.")
COUNTS = flags.DEFINE_list("counts", ["48", "16", "24"], "Parts in the bank, that calibrate and that are held out.")
SIZE = flags.DEFINE_integer("size", 256, "Side of the images in pixels.")
DEFECTS = flags.DEFINE_integer("defects", 48, "Simulated defects.")
SEED = flags.DEFINE_integer("seed", 0, "Of the division, the defects and the bank.")
SHIFTS = ("brightness", "contrast", "defocus_blur", "gaussian_noise")
SHIFTED = 8  # held-out images under each shift
TWO = {"sizes": ("1:2+3", "1/2:3")}
# Of a curve: what `method.memory_bank` has beyond `matched_bank`, by a point's name.
VARIANTS: dict[str, dict[str, dict]] = {
    "sizes": {
        "one": {},
        "two, maps added": TWO | {"joined": "maps"},
        "two, scores added": TWO | {"joined": "scores"},
    },
    "stages": {stages: {"sizes": (f"1:{stages}",)} for stages in ("2+3", "1+2+3", "1+2", "1", "2", "3")},
    "pixels": {"as they are": {"pixels": False}, "mean": {"pixel_target": "mean"}, "range": {"pixel_target": "range"}},
}


def divide(good: GoodImages) -> list[GoodImages]:
    """(bank, calibration, held-out) images, by part."""
    of_bank, calibrates, held_out = map(int, COUNTS.value)
    parts = len(set(good.parts))
    if parts < of_bank + calibrates + held_out:
        raise ValueError(
            f"counts: got {of_bank} + {calibrates} + {held_out}, expected at most {parts} in all, the parts"
        )
    taken = []
    for count in (of_bank, calibrates, held_out):
        rest, chosen = split_parts(good.parts, count, seed=SEED.value)
        taken.append(good.take(chosen))
        good = good.take(rest)
    return taken


def shown(held_out: GoodImages, size: int) -> dict[str, np.ndarray]:
    """The held-out images as they are, with a defect each, and shifted at severity 3 and their own size."""
    rng, images = np.random.default_rng(SEED.value), held_out.images[:]
    sets = {"good": images}
    sets["defects"] = np.stack([
        draw_defect(rng, images[i % len(images)], images[(i + 1) % len(images)], KINDS[i % len(KINDS)])
        for i in range(DEFECTS.value)
    ])  # fmt: skip
    names = held_out.names[:SHIFTED]
    paths = [Path(GOOD.value, name) for name in names]
    for name in SHIFTS:
        change = corruption(name, severity=3, seed=SEED.value)
        sets[name] = load_images(paths, size, names=names, transform=change, what=name).images[:]
    return sets


def embedder(networks: Networks, banks, options, scoring: Scoring):
    """images uint8 [n s s 3] -> float32 [n h w c], matched as the bank's are."""

    @jax.jit
    def program(variables, batch, references, pixels):
        x = network_input(batch, pixels, preprocess=networks.preprocess, dtype=networks.dtype)
        how = {"matching": scoring.matching, "options": options, "references": references, "alpha": scoring.alpha}
        stages = matched_stages(networks.teacher, variables, x, **how)
        return embed(stages.matched, options.sizes[0].stages, {}, options=options)

    def embedded(images: np.ndarray) -> np.ndarray:
        references, pixels = banks["banks"]["0"]["references"], banks.get("pixels")
        found = [
            np.asarray(program(networks.variables, batch, references, pixels))[:count]
            for batch, count in in_chunks(images, np.arange(len(images)), options)
        ]
        return np.concatenate(found)

    return embedded


@jax.jit
def _scores(embedding: jax.Array, rows: jax.Array, norms: jax.Array) -> jax.Array:
    b, h, w, c = embedding.shape
    distances, _ = nearest(embedding.reshape(b, h * w, c), rows, norms)
    return image_score(distance_map(distances.reshape(b, h, w), size=(8 * h, 8 * w)))


def point(rows: np.ndarray, embeddings: dict[str, np.ndarray]) -> dict:
    """What a bank of these rows gives."""
    bank = jnp.asarray(rows)
    norms = half_squared_norms(bank)
    scores = {name: np.asarray(_scores(e, bank, norms)) for name, e in embeddings.items()}
    one = embeddings["good"][:1]
    return judged(scores) | {"ms": processor_ms(lambda: _scores(one, bank, norms))}


def judged(scores: dict[str, np.ndarray]) -> dict:
    """How well scores tell defects from good images, and how they move under the shifts."""
    threshold = np.quantile(scores["calibration"], 0.9)
    good, bad = scores["good"], scores["defects"]
    return {
        "auroc": auroc(np.concatenate([good, bad]), np.arange(len(good) + len(bad)) >= len(good)),
        "detected": float(np.mean(bad > threshold)),
        "flagged": float(np.mean(good > threshold)),
        "flagged_shifted": {name: float(np.mean(scores[name] > threshold)) for name in SHIFTS},
        "moves": {name: float((scores[name] - good[:SHIFTED]).mean() / good.std()) for name in SHIFTS},
    }


def processor_ms(call) -> float:
    """Median milliseconds of the processor, over all threads, whatever else the machine does."""
    times = []
    for _ in range(9):
        begun = time.process_time()
        jax.block_until_ready(call())
        times.append(time.process_time() - begun)
    return 1000 * float(np.median(times[1:]))


def of_variant(bank_images, sets, name: str, fields: dict, *, networks: Networks, config, scoring: Scoring) -> dict:
    """What banks with these fields of `method.memory_bank` give, by their scores."""
    config = config.copy_and_resolve_references()
    config.method.memory_bank.update(fields)
    options = bank_options(config.method.memory_bank, TEACHERS[config.teacher.arch], size=SIZE.value)
    banks = make_banks(networks, bank_images, options=options, scoring=scoring)
    variables = banks | {"teacher": networks.variables}
    how = {"teacher": networks.teacher, "preprocess": networks.preprocess, "dtype": networks.dtype}
    program = jax.jit(functools.partial(score_batch, options=options, matching=scoring.matching, **how))

    def scores(images: np.ndarray) -> np.ndarray:
        chunks = in_chunks(images, np.arange(len(images)), options)
        return np.concatenate([np.asarray(program(variables, batch).score)[:count] for batch, count in chunks])

    found = judged({name: scores(images) for name, images in sets.items()})
    return {CURVE.value: name} | found | {"ms": processor_ms(lambda: program(variables, sets["good"][:1]).score)}


def curve(bank_images, sets, *, networks, options, scoring: Scoring, rows: list[int], components: list[int]):
    """A point for each number of rows and components, of one alpha."""
    banks = make_banks(networks, bank_images, options=options._replace(rows=1, candidates=1), scoring=scoring)
    most, references = max(rows), [banks["banks"]["0"]["references"]]
    drawn, _ = draw_patches(
        networks,
        bank_images,
        references,
        banks.get("pixels"),
        options=options,
        scoring=scoring,
        rows=lambda i, total: min(most, total),
    )
    candidates = drawn[0][0]
    embedded = embedder(networks, banks, options, scoring)
    embeddings = {name: embedded(images) for name, images in sets.items()}
    for count in components:
        seen, asked = candidates, embeddings
        if count:
            centre = candidates.mean(0)
            axes = np.linalg.eigh(np.cov(candidates, rowvar=False))[1][:, -count:].astype(np.float32)
            seen, asked = (candidates - centre) @ axes, {k: (e - centre) @ axes for k, e in embeddings.items()}
        reduced = projection(seen.shape[1], options.projection, seed=SEED.value)
        order = np.asarray(k_center(jnp.asarray(seen @ reduced), k=min(most, len(seen)), start=0))
        for n in rows:
            yield {"rows": n, "components": count, "alpha": scoring.alpha} | point(seen[order[:n]], asked)


def run():
    config = set_method(inspection_config(), "matched_bank", like="mvtec")
    config.dataset.size = SIZE.value
    good = good_images(GOOD.value, config.dataset, group_by=GROUP_BY.value)
    of_bank, calibration, held_out = divide(good)
    sets = {"calibration": calibration.images[:]} | shown(held_out, config.dataset.size)
    arch = config.teacher.arch
    preprocess = lambda images: normalise(images, kind=config.method.normalise)  # noqa: E731
    networks = Networks(TEACHERS[arch].module, load_teacher(arch, "bundled"), preprocess)
    options = bank_options(config.method.memory_bank, TEACHERS[arch], size=config.dataset.size)
    of_rows = CURVE.value == "rows"
    points = []
    if variants := VARIANTS.get(CURVE.value):
        scoring = Scoring("efdm", config.eval.alpha, "barycentre", seed=SEED.value)
        how = {"networks": networks, "config": config, "scoring": scoring}
        for name, fields in variants.items():
            points.append(of_variant(of_bank.images, sets, name, fields, **how))
            print(json.dumps(points[-1]), flush=True)
        Path(OUT.value).write_text(json.dumps(points, indent=1))
        return
    for alpha in [config.eval.alpha] if of_rows else map(float, ALPHAS.value):
        found = curve(
            of_bank.images,
            sets,
            networks=networks,
            options=options,
            scoring=Scoring("efdm", alpha, "barycentre", seed=SEED.value),
            rows=list(map(int, ROWS.value)) if of_rows else [int(options.rows)],
            components=list(map(int, COMPONENTS.value)) if of_rows else [0],
        )
        for each in found:
            points.append(each)
            print(json.dumps(each), flush=True)
        Path(OUT.value).write_text(json.dumps(points, indent=1))


if __name__ == "__main__":
    flags.mark_flags_as_required(["good", "out"])
    app.run(lambda argv: console.run(run), flags_parser=console.parse_flags)
