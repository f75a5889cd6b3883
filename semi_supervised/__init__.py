"""Unsupervised Data Augmentation (UDA) with KeepRandAugment."""
