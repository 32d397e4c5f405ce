"""The paper's figures from what evaluations left: what is drawn of it, and what to run where something is missing."""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from gnl_jax.evaluation.charts import Point, plot_curves, plot_distributions
from gnl_jax.evaluation.collect import collect, collect_scores
from gnl_jax.evaluation.plots import name_in_picture, plot_scores
from gnl_jax.evaluation.scores import Scored
from gnl_jax.paper.published import paper_table
from gnl_jax.paper.rules import CLASSES, RULES, Row, mean_of, select, values_on

SEVERITIES = (1, 2, 3, 4, 5)
ALPHAS = tuple(tenth / 10 for tenth in range(11))
DATASETS = {"mnist": "MNIST", "cifar10": "CIFAR-10", "pacs": "PACS", "mvtec": "MVTec AD"}
# The paper's test sets of each dataset; a row may have others.
TESTS = {paper_table(n).dataset: tuple(dict.fromkeys(test for _, test in paper_table(n).columns)) for n in (1, 2, 3, 4)}
LABELS = {name: name.upper() for name in RULES} | paper_table(1).labels | {"gnl": "GNL"}


class Choice(NamedTuple):
    """What a figure shows.

    Attributes:
        tasks: (dataset, normal class) each; the class "" means all classes of the dataset.
        methods: keys of `RULES`.
        shift: whose severities are on the axis of Figure 4.
        anchor: of matching, where there are several.
    """

    tasks: tuple[tuple[str, str], ...]
    methods: tuple[str, ...]
    shift: str = "contrast"
    anchor: str | None = None


# The paper's choices.
CHOICES = {
    2: Choice((("pacs", "house"),), ("rd4ad", "mixstyle", "gnl")),
    4: Choice((("mvtec", ""),), ("rd4ad", "augmix", "efdm", "gnl")),
    5: Choice((("pacs", ""),), ("gnl",)),
    6: Choice((("pacs", "elephant"), ("mvtec", "zipper")), ("rd4ad", "gnl")),
}


def draw_figure(number: int, out: str | os.PathLike, results: Sequence[str | os.PathLike], **changes) -> None:
    """Draws Figure 2, 4, 5 or 6 into the file `out` (.png, .pdf or .svg) from results.json and scores.npz in folders.

    changes: fields of `Choice` other than the paper's.

    Raises:
        ValueError: another figure; something that the figure needs is not in the results: it is named, with the
            command that makes it.
    """
    if number not in CHOICES:
        raise ValueError(f"figure: got {number!r}, expected one of {', '.join(map(str, CHOICES))}")
    choice = CHOICES[number]._replace(**changes)
    if number in (4, 5) and len(choice.tasks) != 1:
        raise ValueError(f"figure {number}: got {len(choice.tasks)} tasks, expected one")
    _FIGURES[number](out, results, choice)


def parse_task(text: str) -> tuple[str, str]:
    """Splits "pacs/house" into ("pacs", "house"), and "pacs" into ("pacs", ""), all classes."""
    dataset, slash, normal = text.rpartition("/")
    return (dataset, normal) if slash else (text, "")


def severity_curves(rows: Sequence[Row], choice: Choice) -> dict[str, list[Point]]:
    """Method to its AUROC at the severities 1 to 5 of `choice.shift`, the mean over classes and seeds (Figure 4)."""
    ((dataset, normal),) = choice.tasks
    tests = [f"{choice.shift}:{severity}" for severity in SEVERITIES]
    curves = {}
    for name in choice.methods:
        chosen = select(rows, name, dataset=dataset, anchor=choice.anchor)
        flag = f'--config.dataset.shifts="({",".join(map(repr, tests))},)"'
        label, points = _curve(
            [(severity, values_on(chosen, test)) for severity, test in zip(SEVERITIES, tests)],
            classes=_classes(dataset, normal, chosen),
            what=f"{LABELS[name]} on {dataset} at the severities 1 to 5 of {choice.shift}",
            command=f"python experiments/evaluate.py --workdir=RUN --out=RUN/{choice.shift} {flag}",
        )
        curves[LABELS[name] + label] = points
    return curves


def alpha_curves(rows: Sequence[Row], choice: Choice) -> dict[str, list[Point]]:
    """Test set to the AUROC of one method at the alphas 0, 0.1 .. 1, the mean over classes and seeds (Figure 5)."""
    ((dataset, normal),) = choice.tasks
    if len(choice.methods) != 1 or RULES[choice.methods[0]].matching == "none":
        raise ValueError(f"figure 5: got methods {', '.join(choice.methods)}, expected one with matching: gnl or atta")
    (name,) = choice.methods
    chosen = {a: select(rows, name, dataset=dataset, alpha=a, anchor=choice.anchor) for a in ALPHAS}
    every = [row for found in chosen.values() for row in found]
    tests = TESTS.get(dataset) or tuple(dict.fromkeys(t for row in every for t in ("id", *row["auroc"]["ood"])))
    curves = {}
    for test in tests:
        label, points = _curve(
            [(a, values_on(found, test)) for a, found in chosen.items()],
            classes=_classes(dataset, normal, every),
            what=f"{LABELS[name]} on {dataset}, test set {test}, at the alphas {ALPHAS[0]:g} to {ALPHAS[-1]:g}",
            command="python experiments/evaluate.py --workdir=RUN --out=RUN/alphas "
            f"--config.eval.matching=\"('efdm',)\" --alphas={','.join(f'{a:g}' for a in ALPHAS)}",
        )
        curves[name_in_picture(test) + label] = points
    return curves


def score_panels(
    scored: Sequence[tuple[Row, dict[str, Scored]]], choice: Choice
) -> dict[tuple[str, str], dict[str, dict[str, Scored]]]:
    """(dataset, normal class) to method to test set to scores, of the lowest seed there is (Figures 2 and 6)."""
    tests_of = {id(row): tests for row, tests in scored}
    panels: dict[tuple[str, str], dict[str, dict[str, Scored]]] = {}
    for dataset, normal in choice.tasks:
        for name in choice.methods:
            rows = select((row for row, _ in scored), name, dataset=dataset, anchor=choice.anchor)
            rows = [row for row in rows if row["normal"] == normal]
            if not rows:
                raise ValueError(
                    f"results: no scores of {LABELS[name]} on {dataset} with the normal class {normal!r} "
                    f"(training {' or '.join(RULES[name].methods)}, matching {RULES[name].matching}); make them with: "
                    f"{_train(dataset, normal, RULES[name].methods[0])} && "
                    f"python experiments/evaluate.py --workdir=RUN"
                )
            seed = min(row["seed"] for row in rows)
            merged = {t: s for row in rows if row["seed"] == seed for t, s in reversed(tests_of[id(row)].items())}
            wanted = [test for test in TESTS.get(dataset, merged) if test in merged]
            panels.setdefault((dataset, normal), {})[LABELS[name]] = {test: merged[test] for test in wanted}
    return panels


def _curve(
    values: Sequence[tuple[float, dict[tuple[int, str], float]]], *, classes: Sequence[str], what: str, command: str
) -> tuple[str, list[Point]]:
    """A curve over the classes that have all its points, and words for the label where these are not all classes."""
    covered = [c for c in classes if all(any(normal == c for _, normal in found) for _, found in values)]
    if not covered:
        raise ValueError(f"results: no normal class has {what}; make them, for each run folder, with: {command}")
    means = [(x, mean_of(found, covered)) for x, found in values]
    words = "" if len(covered) == len(classes) else f" ({len(covered)} of {len(classes)} classes)"
    return words, [Point(x, mean.value, mean.deviation) for x, mean in means if mean is not None]


def _classes(dataset: str, normal: str, rows: Iterable[Row]) -> Sequence[str]:
    """The classes a curve is a mean of; of a dataset that is not the paper's, those that there are."""
    return (normal,) if normal else CLASSES.get(dataset) or sorted({row["normal"] for row in rows})


def _train(dataset: str, normal: str, method: str) -> str:
    return f"python experiments/train.py --config=configs/{dataset}.py:{normal},{method} --workdir=RUN"


def _histograms(out, results, choice: Choice) -> None:
    panels = score_panels(collect_scores(*results), choice)
    several = len(panels) > 1
    plot_scores(
        out,
        {
            f"{_task(*task)}\n{method}" if several else method: tests
            for task, methods in panels.items()
            for method, tests in methods.items()
        },
    )


def _severities(out, results, choice: Choice) -> None:
    label = f"severity of {name_in_picture(choice.shift)}"
    plot_curves(out, severity_curves(collect(*results), choice), xlabel=label, ticks=SEVERITIES)


def _alphas(out, results, choice: Choice) -> None:
    plot_curves(out, alpha_curves(collect(*results), choice), xlabel="α, weight of the training style", ticks=ALPHAS)


def _distributions(out, results, choice: Choice) -> None:
    panels = score_panels(collect_scores(*results), choice)
    plot_distributions(out, {_task(*task): methods for task, methods in panels.items()})


def _task(dataset: str, normal: str) -> str:
    return f"{DATASETS.get(dataset, dataset)} {normal.replace('_', ' ')}"


_FIGURES: dict[int, Callable] = {2: _histograms, 4: _severities, 5: _alphas, 6: _distributions}
