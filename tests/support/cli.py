"""The command line as an operator's shell sees it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.worker import APP, environment


@dataclass(frozen=True)
class Cli:
    """`cli("queues", "--json")` runs `celeriac -A <app> queues --json` in `folder`."""

    broker: str
    folder: Path
    app: str | None = APP

    def __call__(
        self,
        *args: str,
        app: str | None = "",
        env: Mapping[str, str] | None = None,
        timeout: float = 30,
        text: str = "",
    ) -> subprocess.CompletedProcess[str]:
        chosen = self.app if app == "" else app
        argv = [sys.executable, "-m", "celeriac", *(["-A", chosen] if chosen else []), *args]
        return subprocess.run(
            argv,
            cwd=self.folder,
            env=environment(self.broker, self.broker, env),
            input=text,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
