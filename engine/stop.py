"""Graceful stop: on SIGTERM a run finishes its step, saves and exits with code 0, for a queue to restart it."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

import torch
from accelerate import Accelerator


class StopSignal:
    """Records a SIGTERM while the block runs.

    Args:
        accelerator: accelerator whose processes must agree on when to stop.

    Source: the requeue convention of SLURM and torchrun.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator, self.received = accelerator, False
        self._before: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = True

    def agreed(self, look: bool) -> bool:
        """Return whether all processes should stop now.

        Args:
            look: whether this step waits for the device anyway; several processes communicate only then.

        Returns:
            True if any process has received the signal.
        """
        if self.accelerator.num_processes == 1:
            return self.received
        if not look:
            return False
        flag = torch.tensor(float(self.received), device=self.accelerator.device)
        return bool(self.accelerator.reduce(flag, reduction="sum").item() > 0)
