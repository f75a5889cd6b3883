"""Classification with KeepAugment: train, evaluate and export backbones."""
