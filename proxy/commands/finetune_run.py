"""What the commands that train, evaluate and promote share: where runs are, errors in a line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

from .failure import CommandFailed

RUNS: Final = Path("penstock-runs")
EXTRA: Final = frozenset(
    {
        *("torch", "transformers", "tokenizers", "peft", "trl", "accelerate", "datasets", "bitsandbytes", "gguf"),
        *("numpy", "scipy", "matplotlib", "plotext", "rouge_score", "jsonschema", "tomlkit"),
        *("xllamacpp", "fastapi", "uvicorn"),
    }
)
"""What `pip install 'penstock[train]'` brings."""

RunsOption = Annotated[Path, typer.Option("--runs", help="The folder that runs are in.")]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="A run, by its name or its folder.")]


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Say in one line what somebody can do something about. Raises `CommandFailed`."""
    from finetune.errors import FinetuneError

    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in EXTRA:
            raise
        raise CommandFailed(f"{error.name} is not installed. Training needs: pip install 'penstock[train]'") from error
    except FinetuneError as error:
        raise CommandFailed(str(error)) from error
