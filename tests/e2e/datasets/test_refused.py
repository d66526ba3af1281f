"""What cannot be built is refused in a line or a few, which say what to do, and leaves nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from proxy.cli import app
from proxy.commands.failure import CommandFailed

from .house import ROOT, Dataset, House


def refused(house: House, *arguments: str) -> str:
    """What the command says, run in this process; it must have made nothing."""
    before = sorted(house.root.glob("*"))
    words = ["dataset", "build", *arguments, "--config", str(house.folder / "penstock.toml"), "--root", str(house.root)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code != 0
    assert isinstance(done.exception, CommandFailed | SystemExit), done.exception
    assert sorted(house.root.glob("*")) == before
    assert house.unfinished() == []
    return f"{done.output}{done.exception}"


def test_an_unknown_column_is_named_with_the_nearest(house: House) -> None:
    said = refused(house, "x", "--where", "modle = 'gpt-5'")
    assert "modle" in said
    assert "model" in said.replace("modle", "")


@pytest.mark.parametrize(
    "where",
    [
        "1) UNION ALL SELECT * FROM system.users WHERE (1",
        "model = 'x'; DROP TABLE generations",
        "request_id IN (SELECT name FROM system.tables)",
        "file('/etc/passwd') != ''",
        "1 SETTINGS max_memory_usage = 0",
        "1) -- ",
        "1 INTO OUTFILE '/tmp/out'",
        "dictGet('d', 'a', 1) = 1",
        "sleep(3) = 0",
    ],
)
def test_a_predicate_is_one_expression_and_nothing_else(house: House, where: str) -> None:
    said = refused(house, "x", "--where", where)
    assert "--where" in said


def test_no_rows_are_told_with_what_each_filter_leaves(house: House) -> None:
    said = refused(house, "x", "--tag", "app=shop", "--model", "no-such-model*")
    counts = [line.split()[0] for line in said.splitlines() if line.startswith("  ")]
    assert len(counts) >= 2
    assert counts[-1] == "0"
    assert int(counts[0].replace(",", "")) > 3000
    assert "no-such-model*" in said


def test_nothing_left_is_told_with_what_dropped_it(house: House) -> None:
    said = refused(house, "x", "--tag", "with=images", "--images", "drop")
    assert "Nothing is left of 9 rows" in said
    assert "an image that may not be kept" in said


def test_a_name_that_exists_is_not_taken(house: House, built: Dataset) -> None:
    before = built.bytes
    said = refused(house, "all-of-it")
    assert "--replace" in said
    assert built.bytes == before


def test_private_text_ends_a_build_that_must_not_meet_any(house: House) -> None:
    said = refused(house, "x", *house.all_of_it, "--fail-on-pii")
    assert "Private text was found" in said
    assert "EMAIL" in said
    assert not any(secret in said for secret in house.corpus.secrets)


@pytest.mark.parametrize("package", ["numpy", "rensa", "pyarrow", "matplotlib"])
def test_a_missing_extra_is_named(house: House, package: str, tmp_path: Path) -> None:
    code = f"import sys; sys.modules[{package!r}] = None; from proxy.cli import main; main()"
    words = ["dataset", "build", "x", "--tag", "with=images", "--format", "parquet", "--root", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=110, cwd=house.folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/bin:/usr/bin"},
    )  # fmt: skip
    assert done.returncode == 1
    assert "pip install 'penstock[datasets]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert [*tmp_path.iterdir()] == []
