"""Options that every training command has. Imports nothing heavy, so that ``--help`` is instant."""

from dataclasses import dataclass, field
from typing import Literal

Device = Literal["auto", "cpu", "cuda", "mps"]
WeightChoice = Literal["auto", "ema", "raw"]


@dataclass(frozen=True)
class OptimConfig:
    """Optimizer and learning-rate schedule (timm's).

    Attributes:
        name: name of a timm optimizer; "sgd" uses Nesterov momentum, "momentum" does not.
        lr: peak learning rate.
        momentum: momentum of SGD.
        weight_decay: weight-decay coefficient.
        decay_norm_bias: also decay normalisation weights and biases, as the CIFAR and re-ID recipes do.
        schedule: learning-rate schedule; cosine_7_16 (UDA, FixMatch) ends at a fifth of the peak rate.
        per: whether the learning rate changes at every update or at every epoch.
        milestones: numbers of epochs after which multistep multiplies the rate by gamma, e.g. [150, 225].
        gamma: factor of the multistep schedule.
        warmup_epochs: length of the linear warm-up, in epochs.
        warmup_lr: learning rate at the start of the warm-up.
        min_lr: learning rate at the end of the cosine schedule.
        clip_grad: largest gradient norm; 0 turns clipping off.
        layer_decay: factor of the learning rate from each layer to the one below it, in (0, 1]; 1 turns it off.
        head_lr: factor of the learning rate of the last layer.
    """

    name: str = "sgd"
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    decay_norm_bias: bool = True
    schedule: Literal["cosine", "multistep", "cosine_7_16"] = "cosine"
    per: Literal["update", "epoch"] = "update"
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    warmup_epochs: float = 0.0
    warmup_lr: float = 0.0
    min_lr: float = 0.0
    clip_grad: float = 0.0
    layer_decay: float = 1.0
    head_lr: float = 1.0


@dataclass(frozen=True)
class TrainingConfig:
    """How to train; shared by all training commands.

    Attributes:
        output: run folder, which receives the resolved config, metrics.jsonl, TensorBoard logs and checkpoints.
        epochs: number of passes over the training set.
        seed: seed of everything random.
        resume: continue from last.pth in the run folder.
        auto_resume: continue if there is a last.pth and start otherwise, for jobs that a queue may restart.
        overwrite: start over in a folder that already holds a run.
        device: device to train on; auto uses a GPU if there is one.
        precision: precision of the network; auto uses bf16 on a GPU that has it, and float32 ("no") otherwise.
        channels_last: keep images and weights in the channels-last memory layout.
        compile: compile the network with torch.compile.
        accumulate: number of batches per optimizer update.
        ema_decay: decay of the averaged model; 0 keeps no average.
        ema_buffers: BatchNorm's statistics in the averaged model; average them too, or copy the latest ones.
        sync_bn: compute BatchNorm statistics across all GPUs.
        save_every: steps between checkpoints within an epoch, besides the one after each epoch; 0 disables them.
        eval_every: epochs between evaluations; the last epoch is always evaluated.
        max_steps: stop after this many steps; 0 sets no limit.
        log_every: steps between updates of the displayed loss, which are also when a NaN is detected.
        optim: optimizer and learning-rate schedule.
    """

    output: str = "runs/run"
    epochs: int = 300
    seed: int = 0
    resume: bool = False
    auto_resume: bool = False
    overwrite: bool = False
    device: Device = "auto"
    precision: Literal["auto", "no", "bf16", "fp16"] = "auto"
    channels_last: bool = False
    compile: bool = False
    accumulate: int = 1
    ema_decay: float = 0.0
    ema_buffers: Literal["average", "copy"] = "average"
    sync_bn: bool = False
    save_every: int = 0
    eval_every: int = 1
    max_steps: int = 0
    log_every: int = 10
    optim: OptimConfig = field(default_factory=OptimConfig)
