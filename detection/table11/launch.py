"""Finds Detectron2's own, unmodified training scripts and runs them to their end."""

import fcntl
import importlib.metadata
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from engine.errors import UserError
from experiments.processes import signals_to


def train_net(*, lazy: bool = False) -> Path:
    """Return the path of Detectron2's ``tools/train_net.py``.

    Args:
        lazy: return that of ``tools/lazyconfig_train_net.py`` instead.

    Raises:
        UserError: Detectron2 is not installed, or its installation lacks the script.

    Source: the distribution's file list or, for a source checkout, tools/ beside the package.
    """
    name = "lazyconfig_train_net.py" if lazy else "train_net.py"
    try:
        for file in importlib.metadata.files("sal-detectron2") or []:
            if str(file) == f"tools/{name}":
                return Path(str(file.locate()))
    except importlib.metadata.PackageNotFoundError:
        pass
    try:
        import detectron2
    except ImportError as error:
        raise UserError(f"Detectron2 is not installed ({error}): run make install") from error
    path = Path(detectron2.__file__).parents[1] / "tools" / name
    if not path.is_file():
        raise UserError(f"{path} not found: clone Detectron2 and run its tools/{name}")
    return path


@contextmanager
def locked(folder: Path, rank: int = 0) -> Iterator[int]:
    """Hold a folder's lock; a process that inherits the descriptor holds it too, also when this one is killed.

    Args:
        folder: OUTPUT_DIR, created if it does not exist.
        rank: rank of this machine; the machines of one run share the folder, and each has a lock of its own.

    Yields:
        The descriptor.

    Raises:
        UserError: another run holds the lock.

    Source: flock(2).
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / f".lock{rank}", os.O_CREAT | os.O_RDWR, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise UserError(f"{folder} is in use by another run: wait for it, or end its train_net.py") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def run_to_end(command: Sequence[str], environment: Mapping[str, str], inherit: Sequence[int] = ()) -> int:
    """Run a command in its own process group, forward SIGTERM, SIGHUP and SIGINT to the group, and wait for it.

    Two processes must never write to one output folder: this one does not end before the last of the others has.

    Args:
        command: program and arguments.
        environment: environment variables.
        inherit: descriptors that the program inherits.

    Returns:
        The exit code; 128 + n after signal n.
    """
    process: subprocess.Popen[bytes] | None = None
    pending: list[int] = []

    def forward(number: int, frame: FrameType | None) -> None:
        pending.append(number)
        if process is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)

    with signals_to(forward):
        process = subprocess.Popen(command, env=dict(environment), start_new_session=True, pass_fds=inherit)
        for number in pending:  # arrived before there was a process
            os.killpg(process.pid, number)
        code = process.wait()
        if pending:
            _wait_for_group(process.pid)
        return code if code >= 0 else 128 - code


def _wait_for_group(group: int) -> None:
    """Wait up to a minute until no process of a group is left: train_net.py starts one per GPU."""
    with suppress(ProcessLookupError, PermissionError):
        for _ in range(600):  # a container without an init process keeps zombies for ever
            os.killpg(group, 0)
            time.sleep(0.1)
