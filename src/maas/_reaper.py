"""A program that stops the programs of the tool when the tool itself is gone, in whatever way it ended.

It reads lines from the tool: `+GROUP` when a program starts in a process group of its own, `-GROUP` when it has ended. At
the end of its input it stops the groups that are left. It runs apart from the package, with the standard library alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

_GRACE = 10.0


def alive(group: int) -> bool:
    """Return whether a process group has processes."""
    try:
        os.killpg(group, 0)
    except OSError:
        return False
    return True


def stop(groups: set[int]) -> None:
    """Stop process groups: ask them to end, and kill those that are left after some seconds."""
    for number, seconds in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, 0.0)):
        for group in groups:
            with contextlib.suppress(OSError):
                os.killpg(group, number)
        deadline = time.monotonic() + seconds
        while any(map(alive, groups)) and time.monotonic() < deadline:
            time.sleep(0.1)


def main() -> None:
    """Read from the tool until it is gone, then stop what is left."""
    groups: set[int] = set()
    for line in sys.stdin:
        (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
    stop(groups)


if __name__ == "__main__":
    main()
