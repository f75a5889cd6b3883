"""Classification with KeepAugment: trains, evaluates and saves backbones."""
