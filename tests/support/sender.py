"""A producer to be killed: `python -m tests.support.sender JOURNAL SENT NAME [BULK]`.

Sends for ever, one by one or BULK at once.
Appends `try <line>` to SENT before each call of delay() and `sent <line>` after it has returned.
"""

from __future__ import annotations

import sys
from itertools import count

from tests.support.apps.main import app
from tests.support.journal import note


def main() -> None:
    journal, sent, name = sys.argv[1:4]
    bulk = int(sys.argv[4]) if len(sys.argv) > 4 else 0
    task = app.tasks["t.note"]
    for number in count():
        line = f"{name}-{number}"
        note(sent, f"try {line}")
        if bulk:
            task.apply_many([(journal, line)] * bulk)
        else:
            task.delay(journal, line)
        note(sent, f"sent {line}")


if __name__ == "__main__":
    main()
