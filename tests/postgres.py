"""A real PostgreSQL (Debian's) in a process of its own on a free port, for tests of what several machines share."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.ports import held_port

USER = "penstock"
PASSWORD = "a password of the tests"
START_WITHIN_S = 60.0
_FAST = ("fsync=off", "full_page_writes=off", "shared_buffers=16MB", "max_connections=60", "logging_collector=off")


def binary(name: str) -> str:
    """The path of one of PostgreSQL's programs. Fails the test with what to do when there is none."""
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = str(installed[-1]) if installed else shutil.which(name)
    if found is None:
        pytest.fail("PostgreSQL is not installed: apt-get install postgresql", pytrace=False)
    return found


def _as_whom() -> list[str]:
    """PostgreSQL refuses to run as root. And it ends when the test run does, however that ends."""
    prefix = [shutil.which("setpriv") or "setpriv", "--pdeathsig", "QUIT"]
    if os.getuid() != 0:
        return prefix
    return [*prefix, f"--reuid={_nobody().pw_uid}", f"--regid={_nobody().pw_gid}", "--clear-groups"]


def _nobody() -> pwd.struct_passwd:
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    return names.get("postgres") or names["nobody"]


@dataclass
class Postgres:
    """One life after the other of a server in `folder`, on one port."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    made: int = 0
    """Databases that `new` made; the last one is `queue_{made - 1}`."""

    def create(self) -> None:
        """Make an empty cluster."""
        if os.getuid() == 0:
            os.chown(self.folder, _nobody().pw_uid, _nobody().pw_gid)
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        options = ["-U", USER, "-A", "scram-sha-256", "--pwfile", str(secret), "--no-sync", "-E", "UTF8"]
        command = [*_as_whom(), binary("initdb"), "-D", str(self.folder / "data"), *options]
        subprocess.run(command, cwd=self.folder, check=True, capture_output=True, timeout=60)

    def start(self) -> None:
        """Returns when it answers."""
        settings = [*_FAST, f"port={self.port}", "listen_addresses=127.0.0.1", "unix_socket_directories="]
        options = [part for setting in settings for part in ("-c", setting)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*_as_whom(), binary("postgres"), "-D", str(self.folder / "data"), *options],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_WITHIN_S
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise AssertionError((self.folder / "log").read_text(errors="replace"))
            time.sleep(0.02)

    def stop(self) -> None:
        """At once, as a crash would; what was committed is there again afterwards. Safe to call again."""
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(30)
            self.process = None

    def new(self) -> str:
        """The address of a database with nothing in it, password included."""
        name = f"queue_{self.made}"
        self.made += 1
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql://{USER}:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{self.port}/{name}"

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """Beside what is tested. Commits every statement."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=USER,
            password=PASSWORD,
            dbname=database,
            autocommit=True,
            connect_timeout=30,
        )

    def _answers(self) -> bool:
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def postgresql() -> Iterator[Postgres]:
    """A server of one's own, gone at the end with all that was in it. Takes about two seconds."""
    # Not below `tmp_path`, where the user that PostgreSQL runs as may not go.
    folder = Path(tempfile.mkdtemp(prefix="penstock-postgresql-"))
    with held_port() as port:
        server = Postgres(folder, port)
        try:
            server.create()
            server.start()
            yield server
        finally:
            server.stop()
            shutil.rmtree(folder, ignore_errors=True)
