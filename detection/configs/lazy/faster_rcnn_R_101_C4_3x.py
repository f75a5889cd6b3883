"""Faster R-CNN R101-C4 of Table 11 for lazyconfig_train_net.py; the same as faster_rcnn_R_101_C4_3x.yaml.

python lazyconfig_train_net.py --config-file faster_rcnn_R_101_C4_3x.py train.init_checkpoint=CONVERTED.pth
"""

from detection.detectors.lazy import table11

model, dataloader, optimizer, lr_multiplier, train = table11("c4", 101)
