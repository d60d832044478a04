"""Ask from outside whether a process is alive: `python -m services.liveness.alive [--ready]`.

A probe of Kubernetes runs it every few seconds beside a model, with the process' own variables, so
it imports nothing of ours and nothing that is not Python's own. Exits with 0, or says why not and
exits with 1.
"""

import os
import sys
from pathlib import Path
from time import monotonic_ns
from typing import Final

_NANOS: Final = 1_000_000_000


def objection(pulse: str, *, now_nanos: int, must_be_ready: bool) -> str | None:
    """Say why the process that wrote this is not what it must be; None when it is.

    Its times are of CLOCK_MONOTONIC, which is one clock for all processes of a host.
    """
    until, state = pulse.split()
    if now_nanos > int(until):
        return f"hangs since {(now_nanos - int(until)) // _NANOS} s and more"
    if must_be_ready and state != "ready":
        return "takes no work: it starts or ends"
    return None


def main() -> None:
    """Read the file that the process writes anew each second."""
    try:
        pulse = Path(os.environ["ATELIER_PULSE_PATH"]).read_text(encoding="ascii")
    except (KeyError, OSError) as error:
        sys.exit(f"no pulse: {error!r}")
    sys.exit(objection(pulse, now_nanos=monotonic_ns(), must_be_ready="--ready" in sys.argv))


if __name__ == "__main__":
    main()
