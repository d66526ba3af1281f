"""The extra that training needs: what it brings is known by name, and none of it is loaded to serve."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from proxy.commands.finetune_run import EXTRA
from tests.unit.proxy.commands.interpreter import REPOSITORY, python

SERVING = "proxy.cli, proxy.supervisor, proxy.worker, proxy.recording, proxy.dispatching, exporters.clickhouse.embedded"


def test_every_library_of_the_extra_is_looked_for() -> None:
    extra = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]["train"]
    assert {re.split("[>=<]", one)[0].replace("-", "_") for one in extra} == EXTRA


def test_no_process_that_serves_loads_what_trains() -> None:
    heavy = (*sorted(EXTRA), "finetune")
    done = python(f"import sys, {SERVING}; print([name for name in {heavy} if name in sys.modules])")
    assert done.stdout.strip() == "[]", done.stderr


def test_without_the_extra_one_line_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "manifest.json").write_text("{}")
    code = "import sys; sys.modules['transformers'] = None; from proxy.cli import main; main()"
    done = python(code, "finetune", "lora", str(tmp_path / "set"), "--base", str(tmp_path))
    assert (done.returncode, done.stderr) == (
        1,
        "penstock: transformers is not installed. Training needs: pip install 'penstock[train]'\n",
    )
