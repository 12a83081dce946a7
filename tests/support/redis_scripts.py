"""The scripts that celeriac runs inside Redis, as it sends them."""

from __future__ import annotations

import re

import redis

from tests.support.worker import ROOT

_REDIS = ROOT / "rust" / "celeriac-transport" / "src" / "redis"
_SCRIPT = re.compile(r"static (\w+): Script = Script::new\((.*?)\);", re.DOTALL)
_PART = re.compile(r'include_str!\("(.*?)"\)')


def load_scripts(server: redis.Redis) -> dict[str, str]:
    """Makes every script known to `server`; returns the names (SHA-1) by which it knows them, by ours ("claim").

    Some are made of several files: `script.rs` says of which.
    """
    texts = {
        name.lower(): "".join((_REDIS / part).read_text() for part in _PART.findall(parts))
        for name, parts in _SCRIPT.findall((_REDIS / "script.rs").read_text())
    }
    assert {"claim", "ends"} <= set(texts), "script.rs is written in another way now: mend this function"
    return {name: str(server.script_load(text)) for name, text in texts.items()}
