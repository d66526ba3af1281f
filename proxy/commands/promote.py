"""`penstock promote`: a tuned model gets a share of an alias's calls, or gives it back."""

from __future__ import annotations

import getpass
import math
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from .failure import CommandFailed
from .finetune_run import RUNS, RunsOption, told
from .options import ConfigOption, DataDirOption, JsonOption, config_path

if TYPE_CHECKING:
    from finetune.promote import Promotion
    from finetune.promotions import Step
    from finetune.run import Run

    from .promote_file import Configuration, Proxy

_share = re.compile(r"(\d{1,3}(?:\.\d{1,4})?)\s?%").fullmatch

AliasOption = Annotated[str, typer.Option("--alias", help="The name that callers ask for.")]
CanaryOption = Annotated[str, typer.Option("--canary", metavar="SHARE", help="Give it a small share: 10%.")]
ToOption = Annotated[str, typer.Option("--to", metavar="SHARE", help="Give it a share: 100%. The same as --canary.")]
RollbackOption = Annotated[bool, typer.Option("--rollback", help="Take back what was promoted last. Needs no run.")]
ModelOption = Annotated[
    str, typer.Option("--model", help="What its server is asked for.", show_default="the run's model, or its name")
]
UpstreamOption = Annotated[
    str, typer.Option("--upstream", help="The upstream that serves it; with --url the name of a new one.")
]
UrlOption = Annotated[str, typer.Option("--url", help="Where it is served: http://127.0.0.1:8080/v1.")]
ApiKeyOption = Annotated[str, typer.Option("--api-key", help="Of --url: env:NAME or file:PATH.")]
BaseOption = Annotated[
    str, typer.Option("--base-model", help="What answers otherwise.", show_default="the evaluation's baseline")
]
StickyOption = Annotated[str, typer.Option("--sticky", help="session, user, key or none: of an alias that is new.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Whatever the evaluation and the server say.")]
NoReloadOption = Annotated[bool, typer.Option("--no-reload", help="Leave it to somebody else to load the file.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would be changed.")]


def promote(
    run: Annotated[str, typer.Argument(metavar="[RUN]", help="A run, by its name or its folder.")] = "",
    alias: AliasOption = "",
    canary: CanaryOption = "",
    to: ToOption = "",
    rollback: RollbackOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    runs: RunsOption = RUNS,
    model: ModelOption = "",
    upstream: UpstreamOption = "",
    url: UrlOption = "",
    api_key: ApiKeyOption = "",
    base_model: BaseOption = "",
    sticky: StickyOption = "session",
    force: ForceOption = False,
    no_reload: NoReloadOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Give a tuned model a share of an alias's calls in the configuration, and have the running proxy load it."""
    share = _wanted_share(alias, run, canary, to, rollback=rollback)
    with told():
        from finetune.promotions import read_steps

        from .promote_file import Configuration
        from .promote_view import Outcome, show

        file = Configuration.at(config_path(config))
        with file.journal_held() if not dry_run else _nothing():
            if share is None:
                made, step = _taken_back(file, alias, run, read_steps(file.journal))
            else:
                made, step = _given(
                    file, _opened(run, runs), alias, share,
                    model=model, upstream=upstream, url=url, api_key=api_key, base_model=base_model, sticky=sticky,
                    force=force,
                )  # fmt: skip
            step.at, step.who = datetime.now(UTC).isoformat(timespec="seconds"), _who()
            outcome = Outcome(step, str(file.path), file.text, made, file.warnings(made))
            proxy = None if no_reload else file.proxy(data_dir, made)
            if not dry_run and (made != file.text or rollback):
                _put(file, made, step)
            if not dry_run and proxy is not None:
                _have_it_used(file, proxy, made, step)
                outcome.in_use = True
            outcome.dry_run = dry_run
        show(outcome, as_json=as_json)


def _wanted_share(alias: str, run: str, canary: str, to: str, *, rollback: bool) -> float | None:
    """In percent; None for a roll-back. Raises `CommandFailed`."""
    if not alias:
        raise CommandFailed("Say which alias: --alias NAME, what callers ask for.")
    if sum(map(bool, (canary, to, rollback))) != 1:
        raise CommandFailed("Say one of --canary 10%, --to 100% and --rollback.")
    if rollback:
        return None
    if not run:
        raise CommandFailed("Say which run is promoted: penstock promote RUN. Those there are: penstock finetune runs")
    found = _share(canary or to)
    if found is None or not math.isfinite(share := float(found[1])) or share > 100:
        raise CommandFailed(f"{canary or to!r} is not a share. Write 10%, at most 100%.")
    return share


def _opened(name: str, root: Path) -> Run:
    from finetune.run import Run, folder_of

    return Run.open(folder_of(name, root))


def _given(
    file: Configuration, run: Run, alias: str, share: float,
    *, model: str, upstream: str, url: str, api_key: str, base_model: str, sticky: str, force: bool,
) -> tuple[str, Step]:  # fmt: skip
    """Raises `CommandFailed` and `FinetuneError`."""
    from finetune.promote import Promotion, evaluation_of, model_of, objection, promote, shares

    before = shares(file.text, alias)
    against = objection(run) if share > before.get(run.name, 0.0) else ""
    if against and not force:
        raise CommandFailed(f"Not promoted: {against}. Do it all the same: --force")
    evaluation = evaluation_of(run)
    wanted = Promotion(
        alias=alias,
        variant=run.name,
        model=model or model_of(file.text, alias, run.name) or run.file.model or run.name,
        share=share,
        run=str(run.folder.absolute()),
        upstream=upstream or (run.name if url else ""),
        url=url,
        api_key=api_key,
        base_model=base_model or (evaluation.baseline if evaluation is not None else ""),
        sticky=_sticky(sticky),
        prune=run.file.prune,
        prune_user=run.file.prune_user,
    )
    if run.name not in before and not wanted.upstream and run.file.method != "hosted":
        raise CommandFailed(
            f"Say where {run.name} is served: --url http://127.0.0.1:8080/v1 (penstock finetune serve {run.name}), or "
            "--upstream NAME."
        )
    made, step = promote(file.text, wanted, file.default_upstreams())
    file.check(made)
    if url and not force:
        _see_that_it_answers(wanted)
    step.forced = against
    return made, step


def _sticky(text: str) -> Literal["session", "user", "key", "none"]:
    if text not in ("session", "user", "key", "none"):
        raise CommandFailed(f"--sticky {text!r} is not known. Choose session, user, key or none.")
    return cast(Literal["session", "user", "key", "none"], text)


def _see_that_it_answers(wanted: Promotion) -> None:
    """Raises `CommandFailed` when nobody serves the model where it is said to be."""
    from ..settings import Upstream
    from .probe import ask_upstream

    answer = ask_upstream(Upstream(name=wanted.upstream, base_url=wanted.url))
    if not answer.ok:
        raise CommandFailed(
            f"Not promoted: {wanted.url} {answer.said}. Start the model: penstock finetune serve {wanted.variant}. Or "
            "--force"
        )


def _taken_back(file: Configuration, alias: str, run: str, steps: list[Step]) -> tuple[str, Step]:
    from finetune.promote import roll_back

    made, step = roll_back(file.text, alias, steps)
    if run and Path(run).name != step.variant:
        raise CommandFailed(f"The last one that was promoted to {alias} is {step.variant}, not {run}.")
    return made, step


def _put(file: Configuration, made: str, step: Step) -> None:
    """A promotion is in the journal first, a roll-back last: whatever is in force can be taken back."""
    from finetune.promotions import write_step

    if step.action == "rollback":
        file.put(made, over=file.text)
        write_step(file.journal, step)
    else:
        write_step(file.journal, step)
        file.put(made, over=file.text)
    _log(step)


def _have_it_used(file: Configuration, proxy: Proxy, made: str, step: Step) -> None:
    """Raises `CommandFailed` when the running proxy does not take it; what was changed is undone then."""
    from finetune.promotions import write_step

    refusal = proxy.reload(time.time())
    if refusal.undo and made != file.text:
        try:
            file.put(file.text, over=made)
        except CommandFailed as error:
            raise CommandFailed(f"Penstock did not take the new configuration: {refusal.why} {error}") from error
        step.action = "refused"
        step.before, step.after = step.after, step.before
        write_step(file.journal, step)
        _log(step)
        raise CommandFailed(f"Penstock did not take the new configuration, so it was undone: {refusal.why}")
    if refusal.why:
        raise CommandFailed(f"{file.path} is as it should be, but not in use: {refusal.why}")


def _log(step: Step) -> None:
    """In the run's own folder, while there is one."""
    from finetune.promotions import LOG, write_step

    if step.run and Path(step.run).is_dir():
        write_step(Path(step.run) / LOG, step)


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


@contextmanager
def _nothing() -> Iterator[None]:
    yield
