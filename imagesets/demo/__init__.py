"""The demo set: real handwritten digits on crops of two real photographs, made on first use.

Four data sets in the layouts of ImageNet (two, one of them easy enough for few labels), COCO and Market-1501,
each with ground-truth object masks.
"""
