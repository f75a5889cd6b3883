#!/usr/bin/env python3
"""KeepCutout in the place of torchvision's batch transforms, and KeepRandAugment from two views of each image.

    python examples/torchvision_transforms.py PHOTOS

PHOTOS holds one folder of images per class.
"""

import argparse

import torch
import torch.nn.functional as F
import torchvision
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from keepcore import KeepCutout, KeepPaste, TwoViews

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("photos", help="folder of class folders")
parser.add_argument("--size", type=int, default=224, help="side of the images, pixels")
parser.add_argument("--batch", type=int, default=32, help="images per step")
parser.add_argument("--steps", type=int, default=100, help="number of steps")
options = parser.parse_args()

views = TwoViews(
    shared=v2.Compose([v2.RandomResizedCrop(options.size), v2.RandomHorizontalFlip()]),
    policy=v2.RandAugment(2, 9),
    finish=v2.Compose(
        [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize((0.5,) * 3, (0.25,) * 3)]
    ),
)
data = ImageFolder(options.photos, views)
loader = DataLoader(data, options.batch, shuffle=True, drop_last=True)
model = torchvision.models.resnet18(num_classes=len(data.classes))
optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)

cutout = KeepCutout(0.25).bind(model, len(data.classes))  # (images, labels) -> (images, labels), like v2.CutMix
paste = KeepPaste(0.25)  # pastes the important region of the clean view back on the augmented one

for step, ((clean, augmented), labels) in zip(range(1, options.steps + 1), loader, strict=False):
    if step % 2:
        images, targets = cutout(clean, labels)
    else:
        images, targets = paste(model, clean, labels, augmented).images_BCHW, labels
    loss = F.cross_entropy(model(images), targets)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    print(f"step {step}  loss {loss.item():.3f}")
