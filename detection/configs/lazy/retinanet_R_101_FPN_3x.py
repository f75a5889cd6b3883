"""RetinaNet R101-FPN of Table 11 for lazyconfig_train_net.py; the same as retinanet_R_101_FPN_3x.yaml.

python lazyconfig_train_net.py --config-file retinanet_R_101_FPN_3x.py train.init_checkpoint=CONVERTED.pth
"""

from detection.detectors.lazy import table11

model, dataloader, optimizer, lr_multiplier, train = table11("retinanet", 101)
