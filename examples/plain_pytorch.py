#!/usr/bin/env python3
"""KeepCutMix in a plain PyTorch loop: one call between the loader and the network.

    python examples/plain_pytorch.py PHOTOS --model resnet18

PHOTOS holds one folder of images per class.
"""

import argparse

import timm
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from keepcore import KeepCutMix, at_scale, feature_gradient

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("photos", help="folder of class folders")
parser.add_argument("--model", default="resnet18", help="name of a timm network")
parser.add_argument("--pretrained", action="store_true", help="start from timm's weights")
parser.add_argument("--size", type=int, default=224, help="side of the images, pixels")
parser.add_argument("--batch", type=int, default=32, help="images per step")
parser.add_argument("--steps", type=int, default=1000, help="number of steps")
options = parser.parse_args()

transform = v2.Compose(
    [
        v2.RandomResizedCrop(options.size),
        v2.RandomHorizontalFlip(),
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ]
)
data = ImageFolder(options.photos, transform)
loader = DataLoader(data, options.batch, shuffle=True, drop_last=True)
device = "cuda" if torch.cuda.is_available() else "cpu"
model = timm.create_model(options.model, pretrained=options.pretrained, num_classes=len(data.classes)).to(device)
optimizer = torch.optim.AdamW(model.parameters(), 1e-3)

keep = KeepCutMix(saliency=at_scale(feature_gradient, 0.5))

step = 0
while step < options.steps:
    for images, labels in loader:
        images, labels = images.to(device), labels.to(device)
        kept = keep(model, images, labels)  # the model comes back as it was: mode, gradients, statistics
        loss = F.cross_entropy(model(kept.images_BCHW), kept.target(labels, len(data.classes)))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        if step % 10 == 0 or step == options.steps:
            print(f"step {step}  loss {loss.item():.3f}")
        if step == options.steps:
            break
