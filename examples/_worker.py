"""A worker for the length of a `with` block, as `celeriac -A MODULE worker` in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

# One file for this process and the workers it starts: both find it in the environment.
if "EXAMPLE_BROKER" not in os.environ:
    _folder = tempfile.TemporaryDirectory(prefix="celeriac-example-")
    os.environ["EXAMPLE_BROKER"] = f"sqlite:///{_folder.name}/celeriac.db"
BROKER = os.environ["EXAMPLE_BROKER"]


@contextmanager
def worker(module: str, *arguments: str) -> Iterator[None]:
    """Starts it at once and stops it warmly: what runs may end."""
    argv = [
        sys.executable,
        "-m",
        "celeriac",
        "-A",
        module,
        "worker",
        "-P",
        "threads",
        "-c",
        "4",
        "-l",
        "ERROR",
        *arguments,
    ]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)
