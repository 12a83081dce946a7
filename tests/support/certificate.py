"""A certificate for tests of TLS."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support.needs import missing
from tests.support.redis_server import HOST


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key. Skips the test without openssl, in CI it fails."""
    key, crt = folder / "server.key", folder / "server.crt"
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    argv += ["-addext", f"subjectAltName=IP:{HOST}", "-addext", "basicConstraints=critical,CA:FALSE"]
    try:
        subprocess.run([*argv, "-keyout", str(key), "-out", str(crt)], check=True, capture_output=True, timeout=60)
    except FileNotFoundError:
        missing("openssl", "install it")
    return crt, key
