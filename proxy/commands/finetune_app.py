"""`penstock finetune`: its commands. Each imports what it needs of `finetune` when it runs, and torch with it."""

from __future__ import annotations

import typer

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Train a model of one's own on a dataset.")
