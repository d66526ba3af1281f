"""`penstock finetune ...` of a training at a provider, as tests run it."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from typer.testing import CliRunner

from proxy.commands.failure import CommandFailed
from proxy.commands.finetune_app import app

KEY = "sk-callers-own"


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def command(base_url: str, *words: str, **environ: str) -> Done:
    """`penstock finetune ...`, in this process: a start of Python each would take longer than all that it does."""
    environ = {"OPENAI_BASE_URL": base_url, "OPENAI_API_KEY": KEY, "NO_COLOR": "1", **environ}
    done = CliRunner().invoke(app, [*words], env=environ)
    if isinstance(done.exception, CommandFailed):
        return Done(1, done.stdout, f"penstock: {done.exception}\n")
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Done(done.exit_code, done.stdout, done.stderr)


def document(done: Done) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
