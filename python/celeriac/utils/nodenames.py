"""Node names (`name@host`) and the `%` codes that options and file names may hold.

Codes of `-n`: `%h` host with domain, `%n` its first part, `%d` its domain. Codes of file names: `%p` whole node name,
`%n` its first part, `%h` its host, `%d` that host's domain, `%i` index of the pool's process (0 in the main one),
`%I` the same with a dash in front (empty in the main one). `%%` is a percent sign; unknown codes stay as they are.
"""

from __future__ import annotations

import re
import socket
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

NODENAME_DEFAULT = "celery"
NODENAME_SEP = "@"

_CODE = re.compile(r"%(.)", re.DOTALL)


@lru_cache(maxsize=1)
def gethostname() -> str:
    """This host's name, asked for once."""
    return socket.gethostname()


def nodename(name: str, hostname: str) -> str:
    """`name@hostname`."""
    return f"{name}{NODENAME_SEP}{hostname}"


def anon_nodename(hostname: str | None = None, prefix: str = "gen") -> str:
    """Name of a process that is no worker: `gen<pid>@<host>`."""
    import os

    return nodename(f"{prefix}{os.getpid()}", hostname or gethostname())


def nodesplit(name: str) -> tuple[str | None, str]:
    """`(name, host)`; the name is None if there is no `@`."""
    head, found, tail = name.partition(NODENAME_SEP)
    return (head, tail) if found else (None, head)


def default_nodename(hostname: str | None) -> str:
    """A whole node name from what `-n` says: nothing, a host, a name followed by `@`, or both."""
    name, host = nodesplit(hostname or "")
    return nodename(name or NODENAME_DEFAULT, host or gethostname())


def simple_format(text: str, codes: Mapping[str, str]) -> str:
    """`text` with its `%` codes replaced."""
    return _CODE.sub(lambda found: codes.get(found[1], "%" if found[1] == "%" else found[0]), text)


def host_format(text: str, host: str | None = None, name: str | None = None, **extra: str) -> str:
    """Expands the codes of a node name; `name` stands for `%n` if given."""
    host = host or gethostname()
    short, _, domain = host.partition(".")
    return simple_format(text, {"h": host, "n": name or short, "d": domain, "i": "%i", "I": "%I", **extra})


def node_format(text: str, node: str, index: int | None = None) -> str:
    """Expands the codes of a file name for node `node`; `index` is the pool process, None in the main one."""
    short, host = nodesplit(node)
    codes = {"p": node, "i": str(index or 0), "I": f"-{index}" if index else ""}
    return host_format(text, host, short or NODENAME_DEFAULT, **codes)
