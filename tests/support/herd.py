"""Workers by the dozen: forks them from one imported application, and kills each with SIGKILL at a random moment.

`python -m tests.support.herd CYCLES SEED MEAN_LIFE_S`, environment as for `tests.support.apps.main`. Two are alive
at any time. A fork costs milliseconds where a new interpreter costs a third of a second: a bounded test sees hundreds
of deaths.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time


def _start(number: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        from tests.support.apps.main import app

        name = f"herd{number}@test"
        app.worker_main(["worker", "-P", "threads", "-c", "2", "-l", "ERROR", "-n", name])
        status = 0
    finally:
        os._exit(status)


def main() -> None:
    cycles, seed, life = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    # Imported before the first fork, so that children share it; nothing is opened, no thread is started.
    import celeriac.apps.worker  # noqa: F401
    import tests.support.apps.main  # noqa: F401

    chance = random.Random(seed)
    alive = [_start(0), _start(1)]
    for cycle in range(cycles):
        time.sleep(chance.uniform(0, 2 * life))  # the moment of death is the experiment
        os.kill(alive[0], signal.SIGKILL)
        _, status = os.waitpid(alive.pop(0), 0)
        if not os.WIFSIGNALED(status):
            raise SystemExit(f"worker of cycle {cycle} had ended by itself: {status}")
        alive.append(_start(cycle + 2))
    for pid in alive:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    print(f"{cycles + 2} workers killed")


if __name__ == "__main__":
    main()
