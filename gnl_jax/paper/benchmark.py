"""A grid of methods, normal classes and seeds: every cell trained and tested once, whatever interrupts it."""

import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
from absl import logging
from ml_collections import ConfigDict

from gnl_jax.config_io import load_config
from gnl_jax.data.load import load_task
from gnl_jax.evaluation.collect import RESULTS, SCORES, write_evaluations
from gnl_jax.evaluation.evaluate import evaluate
from gnl_jax.evaluation.results import read_results
from gnl_jax.evaluation.rows import config_sha
from gnl_jax.files import write_atomic
from gnl_jax.training.jobs import train_jobs
from gnl_jax.training.loop import train
from gnl_jax.training.memory import runs_that_fit
from gnl_jax.training.workdir import check_resume

Row = dict[str, Any]
LoadConfig = Callable[[str, str, str], ConfigDict]  # (data, normal, method) -> configuration


class Cell(NamedTuple):
    """One run of the grid; it lives in the folder data/normal/method/seed below the grid's."""

    data: str
    normal: str
    method: str
    seed: int

    def folder(self, out: str | os.PathLike) -> Path:
        """The folder of this run below `out`."""
        return Path(out, self.data, self.normal, self.method, str(self.seed))

    def __str__(self) -> str:
        return f"{self.data} {self.normal}, {self.method}, seed {self.seed}"


class Failure(NamedTuple):
    """A cell that could not be run, and why."""

    cell: Cell
    reason: str


def grid_cells(grid: ConfigDict) -> list[Cell]:
    """The cells of `grid.data`, `normals`, `methods` and `seeds`, those of one method beside each other.

    Raises ValueError naming a field that is empty or names something twice.
    """
    for field in ("normals", "methods", "seeds"):
        if not grid[field] or len(set(grid[field])) < len(grid[field]):
            raise ValueError(f"{field}: got {grid[field]!r}, expected one or more, each once")
    return [Cell(grid.data, n, m, s) for m, n, s in itertools.product(grid.methods, grid.normals, grid.seeds)]


def cell_config(grid: ConfigDict, cell: Cell, load: LoadConfig) -> ConfigDict:
    """The configuration of a cell: its method's for its data, with the settings of `grid.set`.

    Raises ValueError naming a setting that is no field, or no value for it.
    """
    config = load(cell.data, cell.normal, cell.method)
    config.seed = cell.seed
    for setting in grid.set:
        name, equals, text = setting.partition("=")
        try:
            config.update_from_flattened_dict({name: _parsed(text, like=_field(config, name))})
        except (KeyError, AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"set: got {setting!r}, expected 'group.field=value' ({error})") from error
        if not equals:
            raise ValueError(f"set: got {setting!r}, expected 'group.field=value'")
    return config


def _field(config: ConfigDict, name: str) -> Any:
    for part in name.split("."):
        config = config[part]
    return config


def _parsed(text: str, *, like: Any) -> Any:
    """The value that a text gives a field whose value is `like`: text itself, or JSON; a list for a tuple."""
    if isinstance(like, str):
        return text
    value = json.loads(text)
    value = tuple(value) if isinstance(value, list) else value
    if isinstance(like, float) and type(value) is int:
        value = float(value)
    if type(value) is not type(like):
        raise ValueError(f"a {type(like).__name__} is expected")
    return value


def is_finished(folder: Path, config: ConfigDict) -> bool:
    """Whether a cell's folder holds the results of this very configuration.

    Raises ValueError where it was begun with another configuration than evaluation may change.
    """
    if not (folder / "config.json").exists():
        return False
    saved, config = load_config(folder), config.copy_and_resolve_references()
    config.teacher.weights = config.teacher.weights or saved.teacher.weights
    check_resume(saved, config)
    if not ((folder / RESULTS).exists() and (folder / SCORES).exists()):
        return False
    return all(row["config_sha"] == config_sha(config) for row in read_results(folder / RESULTS))


def run_benchmark(
    grid: ConfigDict, out: str | os.PathLike, *, load: LoadConfig, report: Callable[[list[Row]], None]
) -> list[Failure]:
    """Trains and evaluates every cell that is not finished; returns those that failed, and why.

    `report(rows)` is given all rows so far after each group of cells. Cells that differ in class and seed alone are
    trained as one program, `grid.jobs` of them; where that fails, one by one. Ctrl-C and SIGTERM end it after a
    checkpoint, and the next call goes on.
    """
    cells = grid_cells(grid)
    configs = {cell: cell_config(grid, cell, load) for cell in cells}
    done: dict[Cell, list[Row]] = {}
    failures: list[Failure] = []
    for group in _groups(cells, configs, grid.jobs, Path(out)):
        for cell, outcome in _run_group(group, configs, Path(out)):
            if isinstance(outcome, Failure):
                logging.error("failed: %s: %s", cell, outcome.reason)
                failures.append(outcome)
            else:
                done[cell] = outcome
                report([row for rows in done.values() for row in rows])
                logging.info("%d of %d cells are finished (%s: %s)", len(done), len(cells), cell, _words(outcome))
    return failures


def _groups(cells: Sequence[Cell], configs: dict[Cell, ConfigDict], jobs: int, out: Path) -> Iterator[tuple[Cell, ...]]:
    """Cells that are trained together. The number is kept on disk, so that a restarted grid forms the same programs."""
    record = out / "jobs.json"
    kept: dict[str, int] = json.loads(record.read_text()) if record.exists() else {}
    for (data, method), group in itertools.groupby(cells, key=lambda cell: (cell.data, cell.method)):
        same = tuple(group)
        name = f"{data}/{method}"
        if name not in kept:
            kept[name] = min(len(same), _jobs(jobs, configs[same[0]]))
            out.mkdir(parents=True, exist_ok=True)
            write_atomic(record, json.dumps(kept, indent=1) + "\n")
        for start in range(0, len(same), kept[name]):
            yield same[start : start + kept[name]]


def _jobs(jobs: int, config: ConfigDict) -> int:
    """Runs in one program: as requested, but no more than fit on its devices.

    0 requests all on an accelerator, one on a CPU.
    """
    if jobs == 1 or (jobs == 0 and jax.default_backend() == "cpu"):
        return 1
    images = load_task(config.dataset, seed=config.seed).train
    devices = min(config.train.devices or jax.device_count(), jax.device_count())
    fit = devices * runs_that_fit(config, images_bytes=len(images) * 3 * config.dataset.size**2)
    return min(jobs, fit) if jobs else fit


def _run_group(
    group: tuple[Cell, ...], configs: dict[Cell, ConfigDict], out: Path
) -> Iterable[tuple[Cell, list[Row] | Failure]]:
    """Each cell of a group with its rows, or why there are none."""
    folders = {cell: cell.folder(out) for cell in group}
    left = []
    for cell in group:
        try:
            if is_finished(folders[cell], configs[cell]):
                yield cell, read_results(folders[cell] / RESULTS)
            else:
                left.append(cell)
        except (ValueError, OSError) as error:
            yield cell, Failure(cell, str(error))
    if len(left) > 1 and len(left) == len(group):
        try:
            train_jobs([configs[cell] for cell in group], [folders[cell] for cell in group])
        except Exception as error:
            logging.warning("%d jobs in one program failed (%s); now one by one", len(group), _first_line(error))
    for cell in left:
        try:
            train(configs[cell], folders[cell])
            evaluations = evaluate(folders[cell])
            write_evaluations(folders[cell], evaluations)
            yield cell, [e.row for e in evaluations]
        except Exception as error:  # whatever went wrong with one cell, the others may still be right
            yield cell, Failure(cell, _first_line(error))


def _words(rows: list[Row]) -> str:
    """AUROC (%) of a cell, for the log."""
    areas = [{"id": row["auroc"]["id"]} | row["auroc"]["ood"] for row in rows]
    parts = [", ".join(f"{name} {100 * area:.2f}" for name, area in of_row.items()) for of_row in areas]
    return "; ".join(f"{row['matching']['kind']} matching: {part}" for row, part in zip(rows, parts))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
