"""Networks for 32 px images that timm lacks, registered with it: ``timm.create_model("cifar_resnet18")``."""

from networks import pyramid, resnet_cifar, shake_shake, wide_resnet

__all__ = ["pyramid", "resnet_cifar", "shake_shake", "wide_resnet"]
