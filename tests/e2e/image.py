"""The server image without a container engine: the steps of deploy/Dockerfile, taken in a clean directory.

Whatever a RUN or COPY of the build does, it does here, with paths of the image standing for folders below one
directory. What only an engine can do (users, volumes, layers) is not done.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from tests.unit.deploy.dockerfile import ROOT, command, environment, last, lineage

STEP_WITHIN_S = 300


class Image:
    """The image `server` below `root`, once `build` has run."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def inside(self, text: str) -> str:
        """`text` with the image's paths as they are here."""
        for path in ("/opt/penstock", "/usr/local/lib/penstock", "/etc/penstock", "/data"):
            text = text.replace(path, str(self.root) + path)
        return text

    def environ(self) -> dict[str, str]:
        """What a process of the image sees, and what pip needs of this machine."""
        wanted = {name: self.inside(value) for name, value in environment("server").items()}
        wanted["PATH"] = wanted["PATH"].replace("$PATH", f"{self.root}/usr/local/bin:{os.environ['PATH']}")
        kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "http", "HTTP"))}
        return {**kept, **wanted, "HOME": str(self.root / "data"), "LANG": "C.UTF-8"}

    def build(self) -> None:
        """Raises `AssertionError` with the output of the step that failed."""
        self._base()
        for stage in lineage("build"):
            folder = self.root
            for instruction, value in stage.steps:
                if instruction == "WORKDIR":
                    folder = self.root / value.lstrip("/")
                    folder.mkdir(parents=True)
                elif instruction == "COPY":
                    self._copy(value, folder)
                elif instruction == "RUN":
                    self._run(value, folder)
        for value in (value for stage in lineage("server") for value in stage.values("COPY")):
            if not value.startswith("--from"):
                self._copy(value, self.root)
        shutil.rmtree(self.root / "data", ignore_errors=True)  # the builder's home
        (self.root / "data").mkdir(mode=0o700)

    def _base(self) -> None:
        """Python and pip, where the base image has them."""
        programs = self.root / "usr" / "local" / "bin"
        programs.mkdir(parents=True)
        for name, arguments in (("python", ""), ("pip", " -m pip")):
            (programs / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)}{arguments} "$@"\n')
            (programs / name).chmod(0o755)

    def _copy(self, value: str, folder: Path) -> None:
        *sources, target = value.split()
        there = Path(self.inside(target)) if target.startswith("/") else folder / target
        for source in sources:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, there, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                file = there / Path(source).name if target.endswith("/") else there
                file.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / source, file)

    def _run(self, value: str, folder: Path) -> None:
        done = subprocess.run(
            ["/bin/sh", "-ec", self.inside(value)],
            cwd=folder,
            env=self.environ(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=STEP_WITHIN_S,
            check=False,
        )
        assert done.returncode == 0, f"RUN {value}\n{done.stdout[-4000:]}"

    def entrypoint(self, *arguments: str) -> list[str]:
        """ENTRYPOINT with arguments, or with CMD when there are none."""
        found = shutil.which(command(last("server", "ENTRYPOINT"))[0], path=self.environ()["PATH"])
        assert found is not None
        return [found, *command(last("server", "ENTRYPOINT"))[1:], *(arguments or command(last("server", "CMD")))]

    def healthcheck(self) -> subprocess.CompletedProcess[str]:
        """The command of HEALTHCHECK."""
        words = command(last("server", "HEALTHCHECK").partition("CMD ")[2])
        return subprocess.run(
            [self.inside(word) for word in words],
            env=self.environ(),
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    def files(self) -> set[Path]:
        """What is in the image; it must not become more while it runs, because its root may be read-only."""
        return {path for top in ("opt", "etc", "usr") for path in (self.root / top).rglob("*")}
