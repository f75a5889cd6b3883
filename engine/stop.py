"""A polite end: SIGTERM finishes the step, saves, and leaves with exit code 0 for the queue to start again."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

import torch
from accelerate import Accelerator


class StopSignal:
    """Notice SIGTERM while the block runs.

    Args:
        accelerator: processes must agree when to stop.

    Source: the requeue habit of SLURM and torchrun.
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
        """Whether all processes should stop now.

        Args:
            look: this step already waits for the device; several processes ask one another only then.

        Returns:
            True when any process got the signal.
        """
        if self.accelerator.num_processes == 1:
            return self.received
        if not look:
            return False
        flag = torch.tensor(float(self.received), device=self.accelerator.device)
        return bool(self.accelerator.reduce(flag, reduction="sum").item() > 0)
