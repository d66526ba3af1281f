"""`penstock dataset build` and `rebuild`: options to a dataset."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from exporters.clickhouse.connect import StoreError
from exporters.datasets.flags import FLAGS, options_of
from exporters.datasets.options import Options

from .dataset_run import check_extra, check_name
from .failure import CommandFailed
from .filters import parse_since
from .store import address, settings_of

if TYPE_CHECKING:
    from exporters.datasets.describing.manifest import Manifest

SINCE: Final = "30d"
SETTLED: Final = timedelta(seconds=5)
"""Younger calls may still be on their way to the store."""
_REPEATED: Final = frozenset({"forget", "prune"})
"""What was done to a dataset that its options repeat."""


def asked_for(name: str, given: Mapping[str, Any], now: datetime) -> Options:
    """The options of a build, by flag. Times are fixed here. Raises `CommandFailed`."""
    check_name(name)
    values: dict[str, Any] = {flag.name: given.get(flag.name.replace("-", "_")) for flag in FLAGS}
    from_files = bool(given.get("from_"))
    values["from"] = given.get("from_")
    since = values["since"] or ("" if from_files else SINCE)
    values["since"] = _ns(parse_since(since, now)) if since else 0
    if values["until"]:
        values["until"] = _ns(_until(values["until"], now))
    elif not from_files:
        values["until"] = _ns(now - SETTLED)
    values["pattern"] = [_pair(text) for text in values["pattern"] or ()]
    try:
        options = options_of(name, values)
    except msgspec.ValidationError as error:
        raise CommandFailed(_unusable(str(error))) from error
    _check(options)
    return options


def _until(text: str, now: datetime) -> datetime:
    try:
        return parse_since(text, now)
    except CommandFailed as error:
        raise CommandFailed(str(error).replace("--since", "--until")) from error


def _unusable(said: str) -> str:
    """`Invalid enum value 'x' - at `$.write.formats[0]`` by the name of the option."""
    what, _, where = said.partition(" - at `$.")
    path = where.rstrip("`").partition("[")[0]
    name = next((flag.name for flag in FLAGS if flag.path == path), path)
    return f"--{name} cannot be used: {what}."


def _ns(moment: datetime) -> int:
    """To the second, as the card says it."""
    return int(moment.astimezone(UTC).timestamp()) * 10**9


def _pair(text: str) -> tuple[str, str]:
    kind, equals, pattern = text.partition("=")
    if not equals or not kind or not pattern:
        raise CommandFailed(f"--pattern {text!r} is not KIND=REGEX, such as EMPLOYEE_ID=E[0-9]{{6}}.")
    return kind, pattern


def _check(options: Options) -> None:
    arrange, select = options.arrange, options.select
    if arrange.validation + arrange.test >= 1:
        raise CommandFailed("--validation and --test leave nothing for train: together they must be less than 1.")
    if select.until_ns and select.since_ns >= select.until_ns:
        raise CommandFailed("--since is not before --until.")
    if select.sample and not select.sample_by:
        raise CommandFailed("--sample needs --sample-by: user, session, model, prompt, template, label or key.")


def again(manifest: Manifest, folder: Path) -> Options:
    """The options that make the dataset once more. Raises `CommandFailed` when it is not made by options alone."""
    for deed in manifest.lineage:
        if deed.get("action") not in _REPEATED:
            raise CommandFailed(
                f"{folder.name} was not made by its options alone ({deed.get('action')}): rebuild the dataset that it "
                "was made of, and do that again."
            )
    return msgspec.structs.replace(manifest.options, name=folder.name)


def build(
    options: Options, root: Path, config: Path | None, data_dir: str | None, progress: Any, *, replace: bool
) -> Any:
    """Make the dataset; what trainers noted beside one that it replaces stays. Its manifest.

    Raises `CommandFailed` and `DatasetError`.
    """
    check_extra()
    from exporters.datasets.building import build as building
    from exporters.datasets.describing.manifest import TRAINED, finish, read

    source = _source(options, config, data_dir)

    def finished(outcome: building.Outcome, folder: Path) -> None:
        finish(outcome, folder)
        if (root / options.name / TRAINED).exists():
            shutil.copyfile(root / options.name / TRAINED, folder / TRAINED)

    building.build(options, source, root, finished, replace=replace, progress=progress)
    return read(root / options.name)


def _source(options: Options, config: Path | None, data_dir: str | None) -> Any:
    if options.files:
        from exporters.datasets.selecting.loading import FileSource

        return FileSource(tuple(Path(file) for file in options.files), options)
    from exporters.datasets.selecting.select import ClickHouseSource

    url = address(settings_of(config, data_dir), "reader")
    try:
        return ClickHouseSource(url, options)
    except StoreError as error:
        raise CommandFailed(str(error)) from error
