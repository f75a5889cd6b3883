"""How the idle threads of a command wait for work; decided before torch, and with it OpenMP, is loaded."""

import os

CHOICES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
SPINS = "1000"


def spin_briefly() -> None:
    """Let idle OpenMP threads spin for microseconds instead of milliseconds, then sleep.

    Beside another busy process, a spinning thread holds the core that the thread it waits for needs, and training
    steps take several times as long as alone. Threads that sleep at once (``OMP_WAIT_POLICY=PASSIVE``) avoid that,
    but cost time on an idle machine. Nothing changes if the user has set one of the environment variables
    ``GOMP_SPINCOUNT`` and ``OMP_WAIT_POLICY``, or where OpenMP is not GNU's.

    Source: GNU libgomp, GOMP_SPINCOUNT; measured by benchmarks/busy_machine.py.
    """
    if not any(name in os.environ for name in CHOICES):
        os.environ["GOMP_SPINCOUNT"] = SPINS
