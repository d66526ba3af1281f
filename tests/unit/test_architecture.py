"""The plan of the house, held: who imports whom, how long a file may be, and what the README shows of the tree."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("cache", "exporters", "finetune", "proxy")
MAY_IMPORT = {
    "cache": {"cache"},
    "exporters": {"exporters"},
    "finetune": {"finetune"},
    "proxy": {"proxy", "cache", "exporters"},
}
TRAINING_COMMANDS = ("proxy/commands/finetune_", "proxy/commands/evaluate", "proxy/commands/promote")
"""The only part of the proxy that knows `finetune`, inside the commands that need it."""
OWNERS = {
    "aiohttp": ("proxy/http/", "exporters/clickhouse/"),
    "chdb": ("exporters/clickhouse/engine.py", "exporters/clickhouse/embedded.py"),
    "clickhouse_connect": ("exporters/clickhouse/", "exporters/datasets/selecting/select.py", "proxy/commands/"),
    "httptools": ("proxy/http/",),
    "httpx": (
        *("proxy/commands/", "exporters/otlp_transport.py", "cache/embedding.py"),
        *("exporters/datasets/changing/asking.py", "finetune/"),
    ),
    "opentelemetry": ("exporters/",),
    "prometheus_client": ("exporters/", "proxy/recording.py", "proxy/sampling.py", "proxy/batching/queue_metrics.py"),
    "python_multipart": ("proxy/batching/",),
    "redis": ("cache/redis.py", "proxy/stages/limit.py"),
    "sqlalchemy": ("proxy/batching/", "proxy/stages/watch.py"),
    "tiktoken": ("proxy/metering/",),
    **dict.fromkeys(("torch", "transformers", "peft", "trl", "accelerate", "bitsandbytes", "gguf"), ("finetune/",)),
    **dict.fromkeys(
        ("scipy", "plotext", "rouge_score", "tomlkit", "xllamacpp", "tensorboard", "wandb"), ("finetune/",)
    ),
    "typer": ("proxy/cli.py", "proxy/commands/"),
    "matplotlib": ("exporters/datasets/", "finetune/"),
    "numpy": ("cache/embedding.py", "cache/vectors.py", "exporters/datasets/", "finetune/"),
    "pyarrow": ("exporters/datasets/", "finetune/"),
    "rensa": ("exporters/datasets/",),
    "uvloop": ("proxy/worker.py", "exporters/clickhouse/"),
    "wordllama": ("cache/embedding.py",),
}
"""Third parties and the only places that may know them."""
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "misc", "base"}
LINES_MAX = 400


@functools.cache
def tracked() -> list[Path]:
    """Every file of the tree that is kept or about to be."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return [Path(line) for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


def sources() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".py"]


@functools.cache
def imports(path: Path) -> list[tuple[str, int]]:
    """What a file imports absolutely, and where; what it imports relatively as `.`."""
    found = []
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append(("." if node.level else node.module or "", node.lineno))
    return found


def test_packages_import_only_whom_they_may() -> None:
    wrong = [
        f"{path}:{line} imports {name}"
        for path in sources()
        if path.parts[0] in PACKAGES
        for name, line in imports(path)
        if (target := name.partition(".")[0]) in PACKAGES
        and target not in MAY_IMPORT[path.parts[0]]
        and not (str(path).startswith(TRAINING_COMMANDS) and target == "finetune")
    ]
    assert wrong == []


def test_inside_a_package_imports_are_relative() -> None:
    wrong = [
        f"{path}:{line} imports {name}"
        for path in sources()
        for name, line in imports(path)
        if path.parts[0] in PACKAGES and name.partition(".")[0] == path.parts[0]
    ]
    assert wrong == []


@pytest.mark.parametrize("library", OWNERS)
def test_a_library_is_known_only_to_its_owners(library: str) -> None:
    wrong = [
        f"{path}:{line}"
        for path in sources()
        if path.parts[0] in PACKAGES
        for name, line in imports(path)
        if name.partition(".")[0] == library and not str(path).startswith(OWNERS[library])
    ]
    assert wrong == []


def test_every_file_can_be_read_in_one_sitting() -> None:
    lengths = {str(path): len((ROOT / path).read_text().splitlines()) for path in sources()}
    assert {path: lines for path, lines in lengths.items() if lines > LINES_MAX} == {}


def test_every_file_is_named_for_what_it_is() -> None:
    assert [str(path) for path in sources() if path.stem in EMPTY_NAMES] == []


def test_every_package_ships() -> None:
    declared = re.findall(r'^    "([a-z_.]+)",$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    found = {".".join(path.parent.parts) for path in sources() if path.name == "__init__.py"}
    assert {name for name in found if name.split(".")[0] in PACKAGES} <= set(declared)


def test_every_module_says_what_it_is() -> None:
    silent = [
        str(path)
        for path in sources()
        if path.parts[0] in PACKAGES and not ast.get_docstring(ast.parse((ROOT / path).read_text()))
    ]
    assert silent == []


def test_the_readme_ends_with_the_tree() -> None:
    """Every folder and file at the top, and every folder of the packages, is in the README's tree; no other is."""
    text = (ROOT / "README.md").read_text()
    tree = text.rpartition("```text\n")[2].partition("```")[0]
    assert text.rstrip().endswith("```")
    shown: set[str] = set()
    above: list[str] = []
    for line in tree.splitlines():
        if not line.strip():
            continue
        depth, name = (len(line) - len(line.lstrip())) // 2, line.split()[0]
        above = [*above[:depth], name]
        shown.add("".join(above))
    files = tracked()
    real = {f"{path.parts[0]}/" if len(path.parts) > 1 else str(path) for path in files}
    for path in files:
        if path.parts[0] in (*PACKAGES, "tests", "deploy"):
            real |= {f"{'/'.join(path.parts[:depth])}/" for depth in range(1, len(path.parts))}
    folders = {name for name in real if name.endswith("/")}
    assert folders - shown == set(), "folders that the README does not show"
    assert {name for name in shown if not (ROOT / name).exists()} == set(), "shown, but not there"
    assert {name for name in real if "/" not in name} - shown == set(), "files at the top that the README does not show"
