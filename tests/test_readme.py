"""What the README shows works: its code runs, its commands and files exist."""

import re
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_pieces_work_as_shown(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["augmented"].shape == (4, 64, 64, 3)
    # Matching changes stages 1 and 2 and, through them, stage 3.
    assert all(np.abs(a - b).max() > 1e-3 for a, b in zip(names["matched"], names["plain"], strict=True))
    assert capsys.readouterr().out.startswith("[")


def test_links_and_make_targets_exist():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    missing = [link for link in links if not (ROOT / link).exists()]
    targets = re.findall(r"^make (\S+)", README, re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text()
    assert targets
    assert not missing + [t for t in targets if not re.search(rf"^{t}:", makefile, re.MULTILINE)]
