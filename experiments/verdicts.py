"""How often each verdict is given of detectors whose true rates are known (docs/verdicts.md).

python experiments/verdicts.py [--runs=2000] [--good=46] [--bad=46] [--conditions=28]

A part's score is normal; the threshold stops good parts at the detector's true false-alarm rate. A defective part's
score under a shift has a correlation of 0.9 with its unshifted one, so that pairs are real. Each run is one report: the
unshifted parts, and so many shifted conditions of as many parts. "Wrong" is what the true rates contradict.
"""

from absl import app, flags

from experiments.verdict_simulation import DETECTORS, tally, wrong_share
from gnl_jax.detection.advice import State

RUNS = flags.DEFINE_integer("runs", 2000, "Reports for each detector.", lower_bound=1)
GOOD = flags.DEFINE_integer("good", 46, "Good parts in each condition.", lower_bound=1)
BAD = flags.DEFINE_integer("bad", 46, "Defective parts in each condition.", lower_bound=1)
CONDITIONS = flags.DEFINE_integer("conditions", 28, "Shifted conditions in a report.", lower_bound=1)
SEED = flags.DEFINE_integer("seed", 0, "Of the simulation.")


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"not understood: {argv[1:]}")
    states = [state for state in State if state != State.NO_DRIFT]
    print("| detector | verdict on |", " | ".join(states), "| wrong |\n|---|---|", "---|" * (len(states) + 1), sep="")
    for name, detector in DETECTORS.items():
        options = {"good": GOOD.value, "bad": BAD.value, "conditions": CONDITIONS.value, "runs": RUNS.value}
        for where, counted in tally(detector, **options, seed=SEED.value).items():
            shares = " | ".join(f"{100 * counted[state] / counted.total():.1f}" for state in states)
            print(f"| {name} | {where} | {shares} | {100 * wrong_share(detector, where, counted):.1f} |", flush=True)


if __name__ == "__main__":
    app.run(main)
