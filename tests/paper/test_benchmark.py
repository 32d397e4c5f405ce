"""The grid: every cell once, whatever interrupts it, and one that fails does not stop the others."""

import functools
import itertools
import json
import runpy

import programs
import pytest
import tiny_method
from ml_collections import ConfigDict

from gnl_jax.config import METHODS, default_config
from gnl_jax.evaluation import restore
from gnl_jax.evaluation.collect import collect, collect_scores
from gnl_jax.paper import benchmark
from gnl_jax.paper.benchmark import Cell, cell_config, grid_cells, run_benchmark
from gnl_jax.training import jobs, loop, memory


def load(data, normal, method):
    config = default_config()
    config.dataset.update(normal=normal, limit_train=6, limit_test=20, shifts=("contrast",))
    config.teacher.weights = "random"
    config.method.name = method
    config.train.update(epochs=2, batch_size=4, checkpoint_seconds=0.0)
    config.eval.matching = ("none",)
    return config


def make_grid(**fields):
    grid = {"data": "digits", "normals": ("0", "3"), "methods": ("a", "b"), "seeds": (0, 1), "jobs": 1, "set": ()}
    return ConfigDict(grid | fields)


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """Everything trains and scores in milliseconds; the name of the method matters to nobody."""
    for module in (loop, jobs, restore, memory):
        monkeypatch.setattr(module, "build_method", lambda config, **_: tiny_method.make_method(config))


@pytest.fixture
def calls(monkeypatch):
    """Names of the folders that `train` and `train_jobs` were given."""
    seen = []

    def spied(function, note):
        def call(configs, folders, **options):
            seen.append(note(folders))
            return function(configs, folders, **options)

        return call

    monkeypatch.setattr(benchmark, "train", spied(benchmark.train, lambda folder: folder.parts[-3:]))
    monkeypatch.setattr(benchmark, "train_jobs", spied(benchmark.train_jobs, len))
    return seen


def run(grid, out):
    """(failures, the last report)."""
    reports = [[]]
    failures = run_benchmark(grid, out, load=load, report=reports.append)
    return failures, reports[-1]


def without_times(rows):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


@pytest.mark.slow
def test_every_cell_once(tmp_path, calls):
    failures, rows = run(make_grid(), tmp_path)
    assert failures == []
    found = [(row["method"], row["normal"], row["seed"]) for row in rows]
    assert found == list(itertools.product("ab", "03", (0, 1)))
    assert len(calls) == 8
    assert sorted(map(str, without_times(collect(tmp_path)))) == sorted(map(str, without_times(rows)))
    assert len(collect_scores(tmp_path)) == 8
    calls.clear()
    assert run(make_grid(), tmp_path) == ([], rows)
    assert calls == []


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_killed_anywhere_it_ends_with_the_same_table(tmp_path, monkeypatch, jobs):
    grid = make_grid(jobs=jobs, methods=("a",))
    _, whole = run(grid, tmp_path / "whole")
    save, evaluate = loop.Checkpoints.save, benchmark.evaluate
    for kill in (3, 8):
        left = kill

        def counted(function):
            def call(*arguments, **options):
                nonlocal left
                left -= 1
                if left == 0:
                    raise KeyboardInterrupt
                return function(*arguments, **options)

            return call

        monkeypatch.setattr(loop.Checkpoints, "save", counted(save))
        monkeypatch.setattr(benchmark, "evaluate", counted(evaluate))
        with pytest.raises(KeyboardInterrupt):
            run(grid, tmp_path / str(kill))
        monkeypatch.setattr(loop.Checkpoints, "save", save)
        monkeypatch.setattr(benchmark, "evaluate", evaluate)
        failures, rows = run(grid, tmp_path / str(kill))
        assert failures == []
        assert without_times(rows) == without_times(whole)


@pytest.mark.slow
def test_a_failed_cell_is_named_and_the_rest_go_on(tmp_path):
    failures, rows = run(make_grid(normals=("0", "ten", "3"), methods=("a",)), tmp_path)
    assert [(failure.cell.normal, failure.cell.seed) for failure in failures] == [("ten", 0), ("ten", 1)]
    assert "no class 'ten'" in failures[0].reason
    assert [row["normal"] for row in rows] == ["0", "0", "3", "3"]


@pytest.mark.slow
def test_cells_of_a_method_share_a_program(tmp_path, calls):
    run(make_grid(jobs=3), tmp_path)
    assert [call for call in calls if isinstance(call, int)] == [3, 3]
    assert json.loads((tmp_path / "jobs.json").read_text()) == {"digits/a": 3, "digits/b": 3}


@pytest.mark.slow
def test_a_program_that_fails_is_taken_apart(tmp_path, monkeypatch, caplog):
    def broken(configs, folders):
        raise MemoryError("no room for 4 of them")

    monkeypatch.setattr(benchmark, "train_jobs", broken)
    failures, rows = run(make_grid(jobs=4, methods=("a",)), tmp_path)
    assert failures == []
    assert len(rows) == 4
    assert "4 jobs in one program failed (no room for 4 of them); now one by one" in caplog.text


@pytest.mark.slow
def test_no_more_jobs_than_fit(tmp_path, monkeypatch, calls):
    monkeypatch.setattr(benchmark, "runs_that_fit", lambda config, images_bytes: 2)
    run(make_grid(jobs=4, methods=("a",)), tmp_path)
    assert [call for call in calls if isinstance(call, int)] == [2, 2]


def test_memory_decides_how_many_fit():
    config = load("digits", "0", "a")
    (phase,) = tiny_method.make_method(config).phases
    each = memory.run_bytes(phase, {"scale": 0.1}, size=32, group=1)
    assert each > 3 * 4 * 1024  # weights and two moments
    fit = {n: memory.runs_that_fit(config, images_bytes=1000, budget=4 + n * (each + 1000)) for n in (1, 2, 7)}
    assert fit == {1: 1, 2: 2, 7: 7}
    assert memory.runs_that_fit(config, images_bytes=1000, budget=1) == 1


def test_another_configuration_is_refused(tmp_path):
    run(make_grid(normals=("0",), methods=("a",)), tmp_path)
    failures, rows = run(make_grid(normals=("0",), methods=("a",), set=("train.learning_rate=0.1",)), tmp_path)
    assert rows == []
    assert "train.learning_rate: saved 0.005, requested 0.1" in failures[0].reason


def test_another_evaluation_trains_nothing(tmp_path, calls):
    run(make_grid(normals=("0",), methods=("a",)), tmp_path)
    failures, rows = run(make_grid(normals=("0",), methods=("a",), set=("eval.batch_size=5",)), tmp_path)
    assert failures == []
    assert len(rows) == 2
    steps = [len((tmp_path / "digits/0/a" / str(s) / "metrics.jsonl").read_text().splitlines()) for s in (0, 1)]
    assert steps == [4, 4]


def test_settings():
    cell = Cell("digits", "0", "a", 7)
    settings = (
        *("dataset.root=a=b", "train.epochs=3", "train.learning_rate=1", 'dataset.shifts=["photo"]'),
        *("dataset.skip_unreadable=true", "method.name=c"),
    )
    config = cell_config(make_grid(set=settings), cell, load)
    assert (config.seed, config.dataset.root, config.train.epochs) == (7, "a=b", 3)
    assert config.train.learning_rate == 1.0
    assert config.dataset.shifts == ("photo",)
    assert config.dataset.skip_unreadable is True
    for wrong in ("train.epochs", "train.epochs=x", "train.epochs=1.5", "train.epoch=1", "nothing=1", "train=1"):
        with pytest.raises(ValueError, match=f"set: got '{wrong}', expected 'group.field=value'"):
            cell_config(make_grid(set=(wrong,)), cell, load)


@pytest.mark.parametrize("field", ["normals", "methods", "seeds"])
def test_a_grid_without_cells_or_with_one_twice(field):
    for value in ((), ("0", "0")):
        with pytest.raises(ValueError, match=f"^{field}: got "):
            grid_cells(make_grid(**{field: value}))


@functools.cache  # a process can define the program's flags only once
def benchmark_program():
    return runpy.run_path(str(programs.ROOT / "experiments/benchmark.py"))


@pytest.mark.parametrize("data", ["digits", "mnist", "mnist_even", "cifar10", "pacs", "mvtec"])
def test_the_papers_grids(data):
    grid = runpy.run_path(str(programs.ROOT / "configs/benchmark.py"))["get_config"](data)
    cells = grid_cells(grid)
    assert len(cells) == len(grid.normals) * len(grid.methods) * 3
    assert set(grid.methods) <= set(METHODS)
    assert len(grid.normals) == {"pacs": 7, "mvtec": 15, "mnist_even": 1}.get(data, 10)
    for cell in cells[:: len(grid.normals) * 3]:
        config = cell_config(grid, cell, benchmark_program()["load"])
        assert (config.method.name, config.dataset.normal) == (cell.method, cell.normal)
