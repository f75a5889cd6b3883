"""Networks for 32 px images that timm lacks, registered with it: ``timm.create_model("cifar_resnet18")``."""

from networks import resnet_cifar, wide_resnet

__all__ = ["resnet_cifar", "wide_resnet"]
