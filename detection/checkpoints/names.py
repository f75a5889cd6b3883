"""Names of a ResNet's tensors in timm and torchvision, and in Detectron2."""

import re

# stage, block and conv are numbers, tail is a tensor of a normalisation layer; timm's layer1 is Detectron2's res2
_PAIRS = (
    ("fc.{end}", "linear.{end}"),
    ("conv1.weight", "stem.conv1.weight"),
    ("bn1.{tail}", "stem.conv1.norm.{tail}"),
    ("layer{stage}.{block}.conv{conv}.weight", "res{stage}.{block}.conv{conv}.weight"),
    ("layer{stage}.{block}.bn{conv}.{tail}", "res{stage}.{block}.conv{conv}.norm.{tail}"),
    ("layer{stage}.{block}.downsample.0.weight", "res{stage}.{block}.shortcut.weight"),
    ("layer{stage}.{block}.downsample.1.{tail}", "res{stage}.{block}.shortcut.norm.{tail}"),
)
_FIELDS = {
    "stage": r"(?P<stage>\d)",
    "block": r"(?P<block>\d+)",
    "conv": r"(?P<conv>\d)",
    "tail": r"(?P<tail>weight|bias|running_mean|running_var)",
    "end": r"(?P<end>weight|bias)",
}


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(template.replace(".", r"\.").format(**_FIELDS))


_TO_DETECTRON2 = tuple((_pattern(timm), d2) for timm, d2 in _PAIRS)
_TO_TIMM = tuple((_pattern(d2), timm) for timm, d2 in _PAIRS)


def to_detectron2(name: str) -> str | None:
    """Return the Detectron2 name of a tensor, or None if it has none.

    Example:
        >>> to_detectron2("layer1.0.downsample.1.bias")
        'res2.0.shortcut.norm.bias'

    Source: detectron2/modeling/backbone/resnet.py; names of torchvision's ResNet.
    """
    return _rename(name, _TO_DETECTRON2, 1)


def to_timm(name: str) -> str | None:
    """Return the timm and torchvision name of a tensor, or None if it has none.

    Example:
        >>> to_timm("res2.0.shortcut.norm.bias")
        'layer1.0.downsample.1.bias'

    Source: see :func:`to_detectron2`.
    """
    return _rename(name, _TO_TIMM, -1)


def _rename(name: str, table: tuple[tuple[re.Pattern[str], str], ...], shift: int) -> str | None:
    for pattern, target in table:
        match = pattern.fullmatch(name)
        if match:
            groups: dict[str, str | int] = dict(match.groupdict())
            if "stage" in groups:
                groups["stage"] = int(groups["stage"]) + shift
            return target.format(**groups)
    return None
