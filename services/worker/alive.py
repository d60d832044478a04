"""Ask from outside whether a worker is alive: `python -m services.worker.alive PATH [--ready]`.

A probe of Kubernetes runs it every few seconds beside the model, so it imports nothing of ours and
nothing that is not Python's own. Exits with 0 or says why not and exits with 1.
"""

import sys
from pathlib import Path
from time import monotonic_ns
from typing import Final

_NANOS: Final = 1_000_000_000


def objection(pulse: str, *, now_nanos: int, must_be_ready: bool) -> str | None:
    """Say why the worker that wrote this is not what it must be; None when it is.

    Its times are of CLOCK_MONOTONIC, which is one clock for all processes of a host.
    """
    until, state = pulse.split()
    if now_nanos > int(until):
        return f"hangs since {(now_nanos - int(until)) // _NANOS} s and more"
    if must_be_ready and state != "ready":
        return "takes no images: it starts or ends"
    return None


def main() -> None:
    """Read the worker's file, which it writes anew each second."""
    path, *wishes = sys.argv[1:]
    try:
        pulse = Path(path).read_text(encoding="ascii")
    except OSError as error:
        sys.exit(f"no pulse yet: {error}")
    sys.exit(objection(pulse, now_nanos=monotonic_ns(), must_be_ready="--ready" in wishes))


if __name__ == "__main__":
    main()
