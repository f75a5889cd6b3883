#!/usr/bin/env python3
"""Run Detectron2's own tests of the box path, and its instant tests on a backbone that we converted.

    python benchmarks/upstream_acceptance.py DETECTRON2_CLONE --out RESULT.json

The clone's tests are copied and run against the Detectron2 that is installed: check out the commit that belongs to
it (a59f0563 for sal-detectron2 0.7.2). Data is the demo set with a small ``coco_2017_val_100``; the backbone a
random ResNet-50 through tools/convert_to_d2.py. Left out: rotated boxes and deformable convolutions (compiled
operators) and tests that download.
"""

import argparse
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

TESTS = {
    "": "test_checkpoint test_engine test_model_zoo test_solver test_scheduler",
    "data/": "test_coco test_dataset test_sampler",
    "layers/": "test_blocks test_nms test_roi_align",
    "modeling/": "test_anchor_generator test_backbone test_box2box_transform test_fast_rcnn test_matcher "
    "test_model_e2e test_rpn test_roi_heads",
}
DESELECT = (
    "tests/modeling/test_rpn.py::RPNTest::test_rrpn",
    "tests/modeling/test_roi_heads.py::ROIHeadsTest::test_rroi_heads",
)
INSTANT = ("retinanet_R_50_FPN", "mask_rcnn_R_50_C4", "mask_rcnn_R_50_FPN", "rpn_R_50_FPN")
SMALL = """
MODEL.DEVICE cpu MODEL.MASK_ON False INPUT.FORMAT RGB MODEL.PIXEL_MEAN [123.675,116.28,103.53]
MODEL.PIXEL_STD [58.395,57.12,57.375] MODEL.RESNETS.STRIDE_IN_1X1 False SOLVER.MAX_ITER 2 SOLVER.IMS_PER_BATCH 2
DATALOADER.NUM_WORKERS 0 INPUT.MIN_SIZE_TRAIN (128,) INPUT.MAX_SIZE_TRAIN 200 INPUT.MIN_SIZE_TEST 128
INPUT.MAX_SIZE_TEST 200 MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE 16 MODEL.RPN.POST_NMS_TOPK_TRAIN 50
MODEL.RPN.POST_NMS_TOPK_TEST 20 MODEL.RPN.PRE_NMS_TOPK_TRAIN 200 MODEL.RPN.PRE_NMS_TOPK_TEST 100
"""


def prepare(folder: Path) -> tuple[Path, Path]:
    """Make the data and the converted backbone."""
    import timm
    import torch

    from detection.checkpoints.convert_file import Conversion, convert_file
    from detection.coco.subset import subset
    from imagesets.demo.make import ensure

    data, source, weights = folder / "data", folder / "r50_source.pth", folder / "r50.pth"
    root = ensure() / "detection"
    for split, count, name in (("train2017", 16, ""), ("val2017", 8, ""), ("val2017", 8, "val2017_100")):
        subset(root, data, split, count, name=name)
    torch.manual_seed(0)
    torch.save({"arch": "resnet50", "state_dict": timm.create_model("resnet50").state_dict()}, source)
    if convert_file(Conversion(source, weights, verify=True)):
        raise SystemExit("the backbone did not verify")
    return data, weights


def unit_tests(clone: Path, env: dict[str, str]) -> dict:
    """Run the green subset of upstream's tests."""
    start = time.time()
    files = ["tests/config", *(f"tests/{at}{name}.py" for at, names in TESTS.items() for name in names.split())]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files]
    command += [f"--deselect={name}" for name in DESELECT]
    with tempfile.TemporaryDirectory() as folder:  # away from the clone, whose package would be imported instead
        shutil.copytree(clone / "tests", Path(folder) / "tests")
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    summary = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr[-300:]
    counts = {
        word: int(number)
        for number, word in re.findall(r"(\d+) (passed|failed|skipped|deselected|error)", summary)
    }
    failed = sorted(
        line.split(" - ")[0] for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))
    )
    return {"exit_code": done.returncode, "seconds": round(time.time() - start, 1), **counts, "not_green": failed}


def instant_test(name: str, clone: Path, weights: Path, env: dict[str, str]) -> dict:
    """Train one of upstream's instant-test configs for two iterations on the converted backbone."""
    from detection.table11.launch import train_net

    with tempfile.TemporaryDirectory() as out:
        config = clone / "configs" / "quick_schedules" / f"{name}_instant_test.yaml"
        options = [*SMALL.split(), "MODEL.WEIGHTS", str(weights), "OUTPUT_DIR", out]
        options += ["DATASETS.TEST", "('coco_2017_val_100',)", "DATASETS.TRAIN", "('coco_2017_val_100',)"]
        start = time.time()
        command = [sys.executable, str(train_net()), "--num-gpus", "0", "--config-file", str(config), *options]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    matched = len(re.findall("weights matched with submodule", said, re.IGNORECASE))
    error = said.strip().splitlines()[-1][-200:] if done.returncode else ""
    return {
        "exit_code": done.returncode,
        "seconds": round(time.time() - start, 1),
        "matched": matched,
        "error": error,
    }


def main() -> int:
    """Run everything; exit code 1 when something is not green."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clone", type=Path, help="checkout of Detectron2's sources")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    clone = arguments.clone.resolve()
    if not (clone / "tests" / "test_checkpoint.py").is_file():
        print(f"error: {clone} is no checkout of Detectron2: it has no tests/test_checkpoint.py", file=sys.stderr)
        return 2

    from engine.run_folder import provenance

    with tempfile.TemporaryDirectory() as folder:
        data, weights = prepare(Path(folder))
        env = {**os.environ, "DETECTRON2_DATASETS": str(data)}
        result = {"tests": unit_tests(clone, env)}
        print("tests", result["tests"], flush=True)
        for name in INSTANT:
            result[name] = instant_test(name, clone, weights, env)
            print(name, result[name], flush=True)
    about = {key: value for key, value in provenance().items() if key != "command"}
    about["packages"]["detectron2"] = importlib.metadata.version("sal-detectron2")
    arguments.out.write_text(json.dumps({**result, **about}, indent=1) + "\n")
    return int(any(each["exit_code"] for each in result.values()))


if __name__ == "__main__":
    sys.exit(main())
