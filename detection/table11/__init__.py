"""The rows of the paper's Table 11, run with Detectron2's own train_net.py."""
