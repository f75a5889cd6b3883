"""Faster R-CNN with FPN on any timm backbone, for lazyconfig_train_net.py.

    python lazyconfig_train_net.py --config-file faster_rcnn_timm_FPN_3x.py model.backbone.bottom_up.checkpoint=RUN

Add ``model.backbone.bottom_up.name=convnext_tiny`` to use another network. Swin expects one image size unless told
otherwise: ``model.backbone.bottom_up.options.strict_img_size=False``.

The schedule and SGD are those of the ResNet rows. ConvNeXt and strongly regularised ResNets are usually fine-tuned
with AdamW and a smaller learning rate; for these, take AdamW from detectron2/configs/common/optim.py.
"""

from detection.detectors.lazy import timm_fpn

model, dataloader, optimizer, lr_multiplier, train = timm_fpn("resnet50d")
