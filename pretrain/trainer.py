"""Train the backbone of a config."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from engine.errors import UserError, check_ranges
from engine.job import Job, Progress
from engine.loop import Trainer
from engine.parser import dump
from engine.progress import print_remarks
from engine.run_folder import RunFolder
from engine.seed import generator, seed_process
from engine.setup import build_accelerator, build_engine
from imagesets.classification import ImageSet
from imagesets.folders import ImageList, describe_counts, write_split
from imagesets.normalize import Normalize
from keepcore import without_early_head
from keepcore.draws import BatchShard
from pretrain.accuracy import evaluate
from pretrain.config import Config, Data
from pretrain.data import open_source, synthetic_source
from pretrain.guide import check_guide, keep_maps, open_guide
from pretrain.inputs import with_inputs
from pretrain.load_run import load_attention
from pretrain.loaders import build_loader
from pretrain.model import build_model
from pretrain.step import build_step

SPLIT = "split.csv"
OPERATION_NAMES = {"cutout": "Cutout", "cutmix": "CutMix", "erasing": "RandomErasing"}


def train(config: Config) -> dict[str, Any]:
    """Train the backbone of a config.

    Returns:
        The last row of metrics.jsonl.

    Raises:
        UserError: the config is invalid or cannot be run.

    Source: Gong et al., CVPR 2021, Sec. 4.1 and 4.2.
    """
    given, config = config, with_inputs(config)
    accelerator = build_accelerator(config)
    share = BatchShard(accelerator.process_index, accelerator.num_processes)
    data = config.data
    _check(config)
    seed_process(config.seed, share.rank)
    source = _open(config, share.processes)
    config = _prepared(config, source, accelerator)
    data = config.data
    loader = build_loader(config, source.train, accelerator.device, share.rank, share.processes)
    progress, draws = Progress(), generator(config.seed, "augment")
    model = build_model(config, len(source.classes), progress)
    engine = build_engine(config, accelerator, model, len(loader))
    mixing = generator(config.seed, "baseline", share.rank)
    engine.generators |= {"augment": draws, "baseline": mixing}
    normalize, classes = Normalize(source.mean, source.std), len(source.classes)
    average = None if engine.ema is None else engine.ema.module
    kept_maps = keep_maps(config, source.train, accelerator.device)
    step = build_step(
        config,
        engine.model,
        normalize,
        classes,
        (draws, mixing),
        progress,
        share,
        load_attention(config, accelerator.device),
        accelerator.autocast,
        open_guide(config, classes, normalize, accelerator.device, average),
        kept_maps,
    )
    job = Job(
        loader=loader,
        step=step,
        evaluate=partial(evaluate, source=source, data=data, accelerator=accelerator),
        headline="top1",
        export=without_early_head,
        meta=_metadata(config, given, source),
        progress=progress,
        tensors={} if kept_maps is None else {"saliency_maps": kept_maps.cache.maps_NSS},
    )
    folder = RunFolder(Path(config.output), writes=accelerator.is_main_process)
    folder.open(given)
    if source.set_aside and accelerator.is_main_process:
        write_split(source.train, source.val, folder.path / SPLIT)
    return Trainer(engine, job, config, folder).fit()


def _open(config: Config, processes: int) -> ImageSet:
    """Open the data set, or make random images."""
    if config.synthetic:
        return synthetic_source(config.data)
    return open_source(config.data, config.data.batch_size // processes, config.seed)


def _prepared(config: Config, source: ImageSet, accelerator: Accelerator) -> Config:
    """Say what the user should know about the data, and lower a batch that is larger than the training set."""
    if not isinstance(source.train, ImageList):
        return config
    data, count, processes = config.data, len(source.train), accelerator.num_processes
    remarks = [describe_counts(source.train.targets, source.classes)]
    if source.set_aside:
        remarks.append(
            f"no validation part: {len(source.val)} of {count + len(source.val)} images are set aside for it "
            f"(--data.val_share, {SPLIT} in the run folder)"
        )
    if data.batch_size > count:
        data = replace(data, batch_size=max(count // processes, 1) * processes)
        remarks.append(f"data.batch_size is lowered to {data.batch_size}: there are {count} training images")
    if accelerator.is_main_process:
        print_remarks(remarks)
    return replace(config, data=data)


def _check(config: Config) -> None:
    """Refuse numbers out of range."""
    data = config.data
    check_guide(config)
    check_ranges(config, label_smoothing=(0, 1))
    check_ranges(data, "data.", image_size=(0, None), eval_size=(0, None), padding=(0, None), hflip=(0, 1))
    check_ranges(data, "data.", batch_size=(1, None), eval_batch_size=(1, None), workers=(0, None))
    check_ranges(data, "data.", jitter=(0, None), lighting=(0, None), crop_pct=(0, 1), num_classes=(0, None))
    check_ranges(config.model, "model.", early_weight=(0, None), drop_block_size=(1, None))
    check_ranges(config.baseline, "baseline.", keep=(0, 1), prob=(0, 1), ramp=(0, 1))
    if not 0 < data.area[0] <= data.area[1] <= 1:
        raise UserError(f"data.area must be an increasing range in (0, 1], got {list(data.area)}")


def _metadata(config: Config, given: Config, source: ImageSet) -> dict[str, Any]:
    """Collect the metadata of the network for evaluation, export and conversion; the config as it was given."""
    return {
        "arch": config.model.name,
        "num_classes": len(source.classes),
        "options": json.dumps(config.model.options),
        "input": json.dumps(input_of(config.data, source)),
        "classes": json.dumps(source.classes),
        "augment": augmentation_name(config),
        "config": dump(given),
    }


def input_of(data: Data, source: ImageSet) -> dict[str, Any]:
    """Describe how images reach the network in evaluation, with timm's names."""
    inputs = {"mean": source.mean, "std": source.std, "size": data.image_size}
    inputs |= {"crop_pct": data.crop_pct, "interpolation": data.interpolation}
    return inputs | ({"test_size": data.eval_size} if data.eval_size else {})


def augmentation_name(config: Config) -> str:
    """Name a config's augmentation as the tables do, e.g. ``KeepCutMix``, ``Cutout`` or ``plain``."""
    augment, policy = config.augment, config.policy.name
    keep = "Keep" if augment.selective and augment.op != "none" else ""
    if augment.op == "paste":
        return f"{keep}{policy}"
    parts = [OPERATION_NAMES.get(augment.op, augment.op), policy, config.baseline.name]
    return keep + "+".join(part for part in parts if part != "none") or "plain"
