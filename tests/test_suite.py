"""How the tests are divided: what `make test` leaves out, and what one process runs."""

import os
from collections import Counter
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def test_files_have_names_of_their_own():
    """pytest imports a test file by its bare name: two of one name cannot be collected together."""
    names = Counter(path.name for path in HERE.rglob("*.py") if path.name != "conftest.py")
    assert [name for name, count in names.items() if count > 1] == []


def test_the_longest_files_are_there(request):
    conftest = request.config.pluginmanager.get_plugin(str(HERE / "conftest.py"))
    assert len(set(conftest.LONGEST)) == len(conftest.LONGEST)
    assert [name for name in conftest.LONGEST if not (HERE / name).is_file()] == []


def test_a_process_runs_a_file_or_a_group_and_the_longest_come_first(request):
    conftest = request.config.pluginmanager.get_plugin(str(HERE / "conftest.py"))

    class Item:
        def __init__(self, name, *marks):
            self.path, self.marks = HERE / name, list(marks)

        def get_closest_marker(self, name):
            return next((mark for mark in self.marks if mark.name == name), None)

        def add_marker(self, mark):
            self.marks.append(mark.mark)

    first, second = conftest.LONGEST[:2]
    names = ["test_x.py", second, "nn/test_y.py", first, "test_x.py"]
    items = [Item(name) for name in names] + [Item("test_z.py", pytest.mark.xdist_group("shared").mark)]
    conftest.pytest_collection_modifyitems(items)
    assert [item.marks[0].args for item in items] == [
        *((first,), (second,), ("test_x.py",), ("nn/test_y.py",), ("test_x.py",), ("shared",))
    ]


def test_the_process_was_told_the_groups(request):
    if "PYTEST_XDIST_WORKER" not in os.environ:
        pytest.skip("tests run in one process")
    assert request.node.nodeid.endswith("@test_suite.py")


def test_make_leaves_out_what_is_slow_and_nothing_else():
    makefile = (HERE.parent / "Makefile").read_text()
    assert '\t$(PYTEST) -m "not slow"\n' in makefile
    assert "\ntest-all: .venv/installed\n\t$(PYTEST)\n" in makefile
    assert "make test-all\n" in (HERE.parent / ".ci/run").read_text()
