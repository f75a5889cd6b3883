"""Sets up model, optimizer, schedule and averaged model on the available devices with accelerate and timm."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from timm.optim import create_optimizer_v2, param_groups_layer_decay
from timm.scheduler.scheduler import Scheduler
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from engine.config import OptimConfig, TrainingConfig
from engine.errors import UserError, check_ranges
from engine.schedule import build_scheduler


@dataclass
class Engine:
    """Everything that an optimizer update needs.

    Attributes:
        accelerator: devices, precision, processes.
        model: the module to call in a training step.
        optimizers: optimizers, all stepped at every update; the first one follows the schedule.
        scheduler: timm's scheduler, advanced by the update count.
        ema: averaged copy of the model, or None.
        clip_grad: largest gradient norm; 0 turns clipping off.
        accumulate: batches per optimizer step; the last batch of an epoch always triggers one.
        generators: the run's own random generators, saved in checkpoints.
    """

    accelerator: Accelerator
    model: nn.Module
    optimizers: list[Any]
    scheduler: Scheduler
    ema: ModelEmaV3 | None
    clip_grad: float
    accumulate: int = 1
    generators: dict[str, torch.Generator] = field(default_factory=dict)

    @property
    def bare(self) -> nn.Module:
        """The training module without wrappers."""
        inner: nn.Module = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
        return inner

    @property
    def evaluated(self) -> nn.Module:
        """The module to evaluate: the averaged one if there is one."""
        return self.bare if self.ema is None else self.ema.module

    @property
    def lr(self) -> float:
        """The current learning rate of the first parameter group."""
        rate: float = self.optimizers[0].param_groups[0]["lr"]
        return rate

    def start_epoch(self, epoch: int) -> None:
        """Set the learning rate of a schedule that changes per epoch (counted from 0)."""
        self.scheduler.step(epoch)

    def part(self, updates: bool) -> AbstractContextManager[Any]:
        """Return the context of a step: processes exchange gradients only if the weights are updated."""
        return nullcontext() if updates else self.accelerator.no_sync(self.model)

    def update(self, loss: Tensor, count: int, size: int) -> None:
        """Compute the gradient and, if enough batches have accumulated, take one optimizer step.

        Args:
            loss: scalar with a graph; divided by the number of accumulated batches.
            count: number of updates so far.
            size: number of batches that this update averages, fewer at the end of an epoch; 0 means no update now.
        """
        self.accelerator.backward(loss / self.accumulate if self.accumulate > 1 else loss)
        if not size:
            return
        if size != self.accumulate:
            gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
            torch._foreach_mul_(gradients, self.accumulate / size)
        if self.clip_grad > 0:
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.clip_grad)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.scheduler.step_update(count + 1)
        if self.ema is not None:
            self.ema.update(self.bare, step=count)

    def share_buffers(self) -> None:
        """Copy the buffers (BatchNorm statistics) of the first process, whose model is saved, to all processes."""
        if self.accelerator.num_processes == 1:
            return
        for module in (self.bare, *([] if self.ema is None else [self.ema.module])):
            for buffer in module.buffers():
                torch.distributed.broadcast(buffer, 0)


def build_accelerator(config: TrainingConfig) -> Accelerator:
    """Choose the devices and the precision.

    Raises:
        UserError: the machine lacks the device, or an option is out of range.

    Source: accelerate.
    """
    check_ranges(
        config,
        epochs=(1, None),
        accumulate=(1, None),
        eval_every=(1, None),
        log_every=(1, None),
        save_every=(0, None),
        max_steps=(0, None),
        ema_decay=(0, 1),
    )
    check_ranges(
        config.optim, "optim.", lr=(0, None), momentum=(0, 1), weight_decay=(0, None), clip_grad=(0, None)
    )
    check_ranges(config.optim, "optim.", layer_decay=(0.01, 1), head_lr=(0, None))
    check_ranges(
        config.optim, "optim.", gamma=(0, None), warmup_epochs=(0, None), warmup_lr=(0, None), min_lr=(0, None)
    )
    for name, available in (("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available())):
        if config.device == name and not available:
            raise UserError(f"device: this machine has no {name} device; use --device auto")
    precision = config.precision
    if precision == "auto":
        fast = config.device != "cpu" and torch.cuda.is_available() and torch.cuda.is_bf16_supported()
        precision = "bf16" if fast else "no"
    return Accelerator(
        mixed_precision=precision,
        cpu=config.device == "cpu",
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=True)],
    )


def build_engine(
    config: TrainingConfig,
    accelerator: Accelerator,
    model: nn.Module,
    batches_per_epoch: int,
    more_optimizers: Sequence[torch.optim.Optimizer] = (),
    own_parameters: Sequence[nn.Parameter] | None = None,
) -> Engine:
    """Move a model to its devices and add optimizer, schedule and averaged model.

    Args:
        config: options of the run.
        accelerator: from :func:`build_accelerator`.
        model: the module to train.
        batches_per_epoch: number of batches per epoch in this process.
        more_optimizers: further optimizers, stepped with the main one but without a schedule.
        own_parameters: parameters that the main optimizer updates; None means all of the model's.

    Returns:
        The engine.

    Raises:
        UserError: the optimizer or schedule is unknown.

    Source: timm (optimizers, schedulers, ModelEmaV3), accelerate.
    """
    if config.sync_bn:
        if accelerator.device.type != "cuda":
            raise UserError("sync_bn: torch supports synchronised BatchNorm on GPUs only; use --sync_bn false")
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    model = model.to(accelerator.device)
    if config.channels_last:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    ema = None
    if config.ema_decay > 0:
        ema = ModelEmaV3(model, decay=config.ema_decay, exclude_buffers=config.ema_buffers == "copy")
    optimizer = _optimizer(config.optim, model, own_parameters)
    updates = max(1, -(-batches_per_epoch // config.accumulate))
    scheduler = build_scheduler(config.optim, config.epochs, optimizer, updates)
    if config.compile:
        model = torch.compile(model)  # type: ignore[assignment]
    prepared = accelerator.prepare(model, optimizer, *more_optimizers)
    scheduler.step_update(0)
    return Engine(
        accelerator, prepared[0], list(prepared[1:]), scheduler, ema, config.optim.clip_grad, config.accumulate
    )


def _optimizer(optim: OptimConfig, model: nn.Module, own: Sequence[nn.Parameter] | None) -> torch.optim.Optimizer:
    target: Any = model if own is None else list(own)
    if optim.layer_decay != 1.0 or optim.head_lr != 1.0:
        target = _scaled_groups(optim, model, own)
    elif own is not None and not optim.decay_norm_bias:
        target = [
            {"params": [p for p in own if p.ndim > 1]},
            {"params": [p for p in own if p.ndim <= 1], "weight_decay": 0.0},
        ]
    try:
        optimizer: torch.optim.Optimizer = create_optimizer_v2(
            target,
            opt=optim.name,
            lr=optim.lr,
            weight_decay=optim.weight_decay,
            momentum=optim.momentum,
            filter_bias_and_bn=target is model and not optim.decay_norm_bias,
        )
    except (ValueError, AssertionError, KeyError) as error:
        raise UserError(f"optim.name: {error}") from error
    return optimizer


def _scaled_groups(
    optim: OptimConfig, model: nn.Module, own: Sequence[nn.Parameter] | None
) -> list[dict[str, Any]]:
    """Group the parameters by the factor of their learning rate.

    Source: timm.optim.param_groups_layer_decay.
    """
    inner = model
    while isinstance(getattr(inner, "model", None), nn.Module):  # the network inside an early head's wrapper
        inner = inner.model  # type: ignore[assignment]
    get_classifier = getattr(inner, "get_classifier", None)
    heads = get_classifier() if callable(get_classifier) else []
    head = {id(p) for part in (heads if isinstance(heads, tuple | list) else [heads]) for p in part.parameters()}
    if optim.head_lr != 1.0 and not head:
        raise UserError("optim.head_lr: the network does not say which layer is its last one")
    exempt = getattr(inner, "no_weight_decay", set)()
    decayed = param_groups_layer_decay(inner, optim.weight_decay, tuple(exempt), layer_decay=optim.layer_decay)
    seen = {id(parameter) for group in decayed for parameter in group["params"]}
    others = [p for p in model.parameters() if id(p) not in seen and p.requires_grad]
    allowed = None if own is None else {id(parameter) for parameter in own}
    groups: list[dict[str, Any]] = []
    for group in [*decayed, {"params": others, "lr_scale": 1.0, "weight_decay": optim.weight_decay}]:
        params = [p for p in group["params"] if allowed is None or id(p) in allowed]
        decay = optim.weight_decay if optim.decay_norm_bias else group["weight_decay"]
        for is_head, factor in ((False, 1.0), (True, optim.head_lr)):
            part = [p for p in params if (id(p) in head) == is_head]
            if part:
                groups.append({"params": part, "weight_decay": decay, "lr_scale": group["lr_scale"] * factor})
    return groups
