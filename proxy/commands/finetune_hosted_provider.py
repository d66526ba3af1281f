"""Where a training at a provider is asked for, with which key, and what is known of it here."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from .failure import CommandFailed
from .options import config_path

if TYPE_CHECKING:
    from finetune.hosting.pricing import Rate
    from finetune.hosting.provider import Provider
    from finetune.run import Run

OPENAI: Final = "https://api.openai.com/v1"


@contextlib.contextmanager
def asked_at(run: Run | None, base_url: str, api_key: str) -> Iterator[Provider]:
    """Where a run is, unless somebody says otherwise. Raises `CommandFailed`: there is no key."""
    from finetune.hosting.pace import Pace
    from finetune.hosting.provider import Provider
    from finetune.hosting.state import State

    before = State.open(run.folder).hosted if run is not None else None
    address = base_url or (before.base_url if before else "") or os.environ.get("OPENAI_BASE_URL", "") or OPENAI
    key = _key(api_key or (before.api_key if before else ""), address)
    there = Provider(address, key, Pace(), note=lambda line: typer.echo(line, err=True))
    try:
        yield there
    finally:
        there.close()


def _key(reference: str, address: str) -> str:
    """A proxy that has upstream keys of its own needs none. Raises `CommandFailed`."""
    from ..credentials import SecretMissing, resolve_secret

    if not reference and not os.environ.get("OPENAI_API_KEY") and address != OPENAI:
        return "none"
    try:
        return resolve_secret(reference or "env:OPENAI_API_KEY", os.environ)
    except SecretMissing as error:
        raise CommandFailed(f"--api-key: {error}") from error


def rate_of(model: str, host: str, said: float | None) -> Rate | None:
    """What a million tokens cost there; None where nobody knows."""
    from exporters.datasets.describing.training_prices import PRICES
    from finetune.hosting.eligibility import base_of, is_openai
    from finetune.hosting.pricing import Rate

    if said is not None:
        return Rate(usd_a_million=said, as_of="")
    known = (one for one in PRICES if one.provider == "OpenAI" and one.model == base_of(model))
    listed = next(known, None) if is_openai(model, host) else None
    return None if listed is None else Rate(usd_a_million=listed.usd_a_million, as_of=listed.as_of)


def counter_of(config: Path | None, data_dir: str | None, model: str) -> Callable[[str], int]:
    """Tokens of a text for `model`."""
    from ..metering.tokenizer import Tokenizer
    from .store import settings_of

    settings = settings_of(config_path(config), data_dir)
    return functools.partial(Tokenizer(Path(settings.server.data_dir, "tokenizer")).count, model)
