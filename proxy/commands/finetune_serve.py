"""`penstock finetune serve`, `runs` and `show`: try what was trained, and look at it."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .finetune_run import RUNS, RunArgument, RunsOption, told
from .options import JsonOption, print_json, stdout_console

if TYPE_CHECKING:
    from finetune.serving import Offer

PORT = 8000
CONTEXT = 8192


def serve(
    run: RunArgument,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = PORT,
    engine: Annotated[
        Literal["auto", "llama.cpp", "transformers", "vllm"],
        typer.Option(help="auto: llama.cpp when the base is a GGUF, else transformers. vllm: print its command."),
    ] = "auto",
    untuned: Annotated[
        bool, typer.Option("--untuned", help="Serve the base without the adapter, to compare with.")
    ] = False,
    name: Annotated[
        str, typer.Option(help="What callers ask for. Default: the run's name, of the base with -base.")
    ] = "",
    threads: Annotated[int, typer.Option(min=0, help="0: one for each processor, which servers share.")] = 0,
    context: Annotated[int, typer.Option(min=0, help="Tokens, of all calls together. 0: all of the base's.")] = CONTEXT,
    runs: RunsOption = RUNS,
) -> None:
    """Serve the tuned model as an OpenAI-compatible API, until Ctrl-C."""
    with told():
        from finetune import serving
        from finetune.run import Run, folder_of

        opened = Run.open(folder_of(run, runs))
        if engine == "vllm":
            serving.engine_of(opened, engine)
            typer.echo(serving.vllm_command(opened, host=host, port=port, name=name))
            return
        with _stopped_by_signals() as stop:
            _say(f"{opened.name}: loading ...")
            serving.serve(
                opened, host=host, port=port, stop=stop, ready=_announce, engine=engine, name=name, threads=threads,
                context=context, base_alone=untuned,
            )  # fmt: skip
            _say("Ended.")


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """Ctrl-C and SIGTERM set it; a second one ends the process at once."""
    stop = threading.Event()

    def end(signum: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise SystemExit(128 + signum)
        stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _announce(offer: Offer) -> None:
    _say(f"{offer.model} answers at {offer.base_url} ({offer.engine}). Ctrl-C ends it.")
    _say("")
    _say(offer.curl())
    _say("")
    _say("Behind Penstock, before other upstreams in penstock.toml:")
    _say("")
    _say(offer.upstream())


def _say(line: str) -> None:
    typer.echo(line)
    sys.stdout.flush()


def list_runs(runs: RunsOption = RUNS, as_json: JsonOption = False) -> None:
    """List the runs of the folder: what they were trained on, how far they are, what came of them."""
    with told():
        from finetune.run import runs as found_in

        from .finetune_runs_view import print_runs, summary

        found = found_in(runs)
        if as_json:
            print_json([summary(one) for one in found])
        else:
            print_runs(stdout_console(), found, runs, datetime.now(UTC))


def show(run: RunArgument, runs: RunsOption = RUNS, as_json: JsonOption = False) -> None:
    """Show one run: what it was made with, its losses as a curve, what came of it, its files."""
    with told():
        from finetune.run import Run, folder_of

        from .finetune_runs_view import document, print_run

        opened = Run.open(folder_of(run, runs))
        if as_json:
            print_json(document(opened))
        else:
            print_run(stdout_console(), opened)
