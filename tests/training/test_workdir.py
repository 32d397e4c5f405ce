import json
import os
import signal
import subprocess
import sys

import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gnl_jax.config import default_config
from gnl_jax.config_io import load_config, save_config
from gnl_jax.files import write_atomic
from gnl_jax.training.metrics_log import MetricsLog
from gnl_jax.training.workdir import FREE_FIELDS, check_resume, open_workdir

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
names = st.text("abcdefgh_", min_size=1, max_size=6)
configs = st.dictionaries(
    names,
    st.recursive(scalars | st.tuples(scalars, scalars), lambda inner: st.dictionaries(names, inner), max_leaves=8),
)
in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)


def test_lock_names_its_holder(tmp_path):
    folder = tmp_path / "runs" / "one"
    with open_workdir(folder) as workdir:
        assert workdir == folder
        with (
            pytest.raises(ValueError, match=f"workdir {folder}: in use by process {os.getpid()},"),
            open_workdir(folder),
        ):
            pass
    with open_workdir(folder):
        pass


def test_lock_is_freed_by_a_kill(tmp_path):
    hold = f"""
import sys, time
from gnl_jax.training.workdir import open_workdir
with open_workdir({str(tmp_path)!r}):
    print("held", flush=True)
    time.sleep(60)
"""
    holder = subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match=f"in use by process {holder.pid}"), open_workdir(tmp_path):
            pass
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        holder.stdout.close()
    with open_workdir(tmp_path):
        pass


def test_lock_is_released_by_an_error_inside(tmp_path):
    with pytest.raises(KeyError), open_workdir(tmp_path):
        raise KeyError
    with open_workdir(tmp_path):
        pass


@pytest.mark.parametrize("path", ["file", "file/inside"])
def test_a_folder_that_cannot_be_made(tmp_path, path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ValueError, match=f"workdir {tmp_path / path}: .*expected a folder"),
        open_workdir(tmp_path / path),
    ):
        pass


def test_write_atomic(tmp_path):
    path = tmp_path / "results.json"
    write_atomic(path, "é")
    assert path.read_bytes() == "é".encode()
    write_atomic(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.json"]


def test_write_atomic_replaces_and_never_overwrites(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    write_atomic(path, "old")
    calls, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: calls.append(os.readlink(f"/proc/self/fd/{fd}")) or fsync(fd))
    monkeypatch.setattr(os, "replace", lambda a, b: calls.append("replace") or replace(a, b))
    with path.open() as reader:
        write_atomic(path, "new")
        assert reader.read() == "old"
    assert path.read_text() == "new"
    # The content is on the disk before it has the name, and then the name is.
    assert calls == [str(tmp_path / f".results.json.{os.getpid()}.tmp"), "replace", str(tmp_path)]


def test_write_atomic_keeps_the_old_file_when_the_disk_is_full(tmp_path):
    path = tmp_path / "results.json"
    write_atomic(path, "old")
    limited = f"""
import resource, signal
from gnl_jax.files import write_atomic
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
try:
    write_atomic({str(path)!r}, "new" * 100)
except OSError as error:
    print(error.filename)
"""
    done = subprocess.run([sys.executable, "-c", limited], capture_output=True, text=True, check=True)
    assert done.stdout == f"{path}\n"
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.json"]


def test_what_a_killed_write_left_is_removed(tmp_path):
    (tmp_path / ".results.json.123.tmp").write_text("half")
    with open_workdir(tmp_path):
        assert [entry.name for entry in tmp_path.iterdir()] == [".lock"]


@pytest.mark.slow
@in_one_folder
@given(configs)
def test_config_round_trip(tmp_path, values):
    config = ml_collections.ConfigDict(values)
    save_config(tmp_path, config)
    loaded = load_config(tmp_path)
    kept = {name: loaded[name] for name in config}
    assert ml_collections.ConfigDict(kept) == config
    as_dict = ml_collections.ConfigDict(kept).to_dict()
    assert repr(as_dict) == repr(config.to_dict())  # 1 and 1.0 and True are equal but not the same
    check_resume(kept, config)


def test_config_of_an_earlier_version(tmp_path):
    """It lacks a field and a group; both are as if they had been there with their defaults, and the run goes on."""
    config = default_config()
    config.train.epochs = 7
    saved = config.to_dict()
    del saved["method"]["mixing"], saved["dataset"]["filter"]
    save_config(tmp_path, ml_collections.ConfigDict(saved))
    assert load_config(tmp_path).to_dict() == config.to_dict()
    check_resume(load_config(tmp_path), config)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32(1), jnp.float32, {1, 2}, (1, (object(),))])
def test_config_that_json_cannot_hold(tmp_path, value):
    with pytest.raises(ValueError, match=r"config.group.field.*: got .* expected None, bool"):
        save_config(tmp_path, ml_collections.ConfigDict({"group": {"field": value}}, convert_dict=True))
    assert not (tmp_path / "config.json").exists()


@pytest.mark.parametrize("text", [None, "", "{", "[1]", '{"a": \xff'])
def test_config_that_cannot_be_read(tmp_path, text):
    if text is not None:
        (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=f"{tmp_path}/config.json: .*expected the config of an earlier run"):
        load_config(tmp_path)


SAVED = {"train": {"lr": 0.1, "epochs": 5, "betas": (0.5, 0.9)}, "eval": {"every": 1}, "seed": 0}


@pytest.mark.parametrize(
    "requested",
    [
        SAVED | {"eval": {"every": 2, "new": 1}},
        SAVED | {"eval": {}},
        SAVED | {"train": SAVED["train"] | {"epochs": 6}},
        SAVED | {"train": SAVED["train"] | {"betas": [0.5, 0.9]}},
    ],
)
def test_resume_with_other_evaluation_or_more_epochs(requested):
    check_resume(SAVED, requested)
    check_resume(ml_collections.ConfigDict(SAVED), ml_collections.ConfigDict(requested))


@pytest.mark.parametrize("field", FREE_FIELDS)
def test_resume_with_another_way_to_read_or_keep_the_same(field):
    group, name = field.split(".")
    check_resume(SAVED, SAVED | {group: SAVED.get(group, {}) | {name: 7}})


def test_resume_names_every_other_difference():
    requested = ml_collections.ConfigDict(SAVED)
    requested.train.epochs = 4
    requested.train.lr = 0.2
    requested.train.new = "x"
    del requested.seed
    with pytest.raises(ValueError) as error:
        check_resume(SAVED, requested)
    for difference in (
        "train.epochs: saved 5, requested 4",
        "train.lr: saved 0.1, requested 0.2",
        "train.new: saved absent, requested 'x'",
        "seed: saved 0, requested absent",
    ):
        assert difference in str(error.value)
    assert "betas" not in str(error.value)


def rows(path) -> list:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_metrics_log(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path)
    log.append({"step": 1, "loss": jnp.float32(0.5), "terms": {"orig": np.float64(0.1)}})
    log.sync()
    assert rows(path) == [{"step": 1, "loss": 0.5, "terms": {"orig": 0.1}}]
    for row, message in (({"loss": 1.0}, "step=None"), ({"step": 2, "loss": float("nan")}, "finite")):
        with pytest.raises(ValueError, match=message):
            log.append(row)
    log.close()
    again = MetricsLog(path)
    again.append({"step": 2})
    again.close()
    assert [row["step"] for row in rows(path)] == [1, 2]


@in_one_folder
@given(steps=st.lists(st.integers(0, 20)), step=st.integers(0, 20), cut=st.integers(0, 30))
def test_drop_after(tmp_path, steps, step, cut):
    """Whatever number of bytes the crash cut off the end, exactly the whole rows up to `step` stay."""
    path = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"step": at, "loss": 1.0}) + "\n" for at in sorted(steps)]
    text = "".join(lines)
    text = text[: len(text) - min(cut, len(lines[-1]) if lines else 0)]
    path.write_text(text)
    log = MetricsLog(path)
    log.drop_after(step)
    log.append({"step": 99})
    log.close()
    whole = [json.loads(line)["step"] for line in text.splitlines(keepends=True) if line.endswith("\n")]
    assert [row["step"] for row in rows(path)] == [at for at in whole if at <= step] + [99]


def test_drop_after_refuses_what_is_not_a_log(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\nnot a row\n{"step": 2}\n')
    log = MetricsLog(path)
    with pytest.raises(ValueError, match=f"{path}, line 2: got 'not a row"):
        log.drop_after(1)
    assert path.read_text() == '{"step": 1}\nnot a row\n{"step": 2}\n'
