"""Registers data sets, then runs Detectron2's own, unmodified train_net.py.

Not a command of its own: detection.run starts it by its path, with the file that names the data sets and the path
of train_net.py in the environment. Imports nothing of this package, so that it runs from any folder. The processes
that train_net.py starts, one per GPU, import this file again and thus register the data sets too.
"""

import importlib
import json
import os
import sys
from pathlib import Path

from detectron2.data.datasets import register_coco_instances
from detectron2.engine import default_argument_parser, launch

for name, part in json.loads(Path(os.environ["KEEPAUGMENT_DATASETS"]).read_text()).items():
    register_coco_instances(name, {}, part["annotations"], part["images"])

if __name__ == "__main__":
    script = Path(os.environ["KEEPAUGMENT_TRAIN_NET"])
    sys.path.insert(0, str(script.parent))
    arguments = default_argument_parser().parse_args()
    launch(
        importlib.import_module(script.stem).main,
        arguments.num_gpus,
        num_machines=arguments.num_machines,
        machine_rank=arguments.machine_rank,
        dist_url=arguments.dist_url,
        args=(arguments,),
    )
