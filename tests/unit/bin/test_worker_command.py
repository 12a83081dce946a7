"""What becomes of the worker's own arguments when it detaches."""

from __future__ import annotations

import pytest

from celeriac.bin.worker import _daemon_argv


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("-A proj worker -D -c 2", "-A proj worker -c 2"),
        ("-A proj --workdir sub worker --detach --uid=5 --gid g -l INFO", "-A proj worker -l INFO"),
        ("-A proj worker --uid nobody -D -- -D=1 worker_concurrency=2", "-A proj worker -- -D=1 worker_concurrency=2"),
    ],
)
def test_the_daemon_does_not_detach_or_drop_privileges_again(given: str, kept: str) -> None:
    assert _daemon_argv(given.split()) == kept.split()
