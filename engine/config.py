"""Fields every training command has. Imports nothing heavy: ``--help`` answers at once."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Optim:
    """Optimizer and learning-rate schedule (timm's).

    Attributes:
        name: any timm optimizer; "sgd" has Nesterov momentum, "momentum" has not.
        lr: peak learning rate.
        momentum: of SGD.
        weight_decay: L2 coefficient.
        decay_norm_bias: decay normalisation weights and biases too (the CIFAR and re-ID recipes do).
        schedule: cosine, multistep, or cosine_7_16 (of UDA and FixMatch: ends at a fifth of the rate).
        per: the rate changes with every "update", or with every "epoch".
        milestones: epochs (counted from 1) in which multistep multiplies the rate by gamma.
        gamma: factor of multistep.
        warmup_epochs: linear warm-up.
        warmup_lr: rate at the very start of the warm-up.
        min_lr: where cosine ends.
        clip_grad: largest gradient norm; 0 is off.
    """

    name: str = "sgd"
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    decay_norm_bias: bool = True
    schedule: str = "cosine"
    per: str = "update"
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    warmup_epochs: float = 0.0
    warmup_lr: float = 0.0
    min_lr: float = 0.0
    clip_grad: float = 0.0


@dataclass(frozen=True)
class Run:
    """How to run: shared by all training commands.

    Attributes:
        output: run folder: resolved config, metrics.jsonl, TensorBoard, last.pth, best.pth.
        epochs: number of passes over the training set.
        seed: of everything random.
        resume: go on from last.pth in the run folder.
        auto_resume: resume where there is a last.pth, else start: for jobs that a queue may restart.
        overwrite: start anew in a folder that already holds a run.
        device: auto, cpu, cuda, mps.
        precision: auto (bf16 on a GPU that has it, else float32), no, bf16, fp16.
        channels_last: memory layout of images and weights.
        compile: torch.compile the network.
        accumulate: batches per optimizer step.
        ema_decay: decay of the averaged model, buffers included; 0 is off.
        sync_bn: BatchNorm statistics over all GPUs.
        save_every: steps between saves within an epoch, beside the one after every epoch; 0 is none.
        eval_every: epochs between evaluations; the last epoch is always evaluated.
        max_steps: stop after this many steps; 0 is no limit.
        log_every: steps between looks at the loss; also where a NaN is noticed.
        optim: optimizer and schedule.
    """

    output: str = "runs/run"
    epochs: int = 300
    seed: int = 0
    resume: bool = False
    auto_resume: bool = False
    overwrite: bool = False
    device: str = "auto"
    precision: str = "auto"
    channels_last: bool = False
    compile: bool = False
    accumulate: int = 1
    ema_decay: float = 0.0
    sync_bn: bool = False
    save_every: int = 0
    eval_every: int = 1
    max_steps: int = 0
    log_every: int = 10
    optim: Optim = field(default_factory=Optim)
