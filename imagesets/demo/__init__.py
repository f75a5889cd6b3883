"""The demo set: real handwritten digits on crops of two real photographs, made on first use.

Four data sets in the layouts of ImageNet (twice: an easy one for learning from few labels), COCO and Market-1501,
each with ground-truth object masks.
"""
