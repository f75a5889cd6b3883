"""A contact sheet of the views that a semi-supervised run trains on."""

from dataclasses import replace
from pathlib import Path

import torch

from engine.errors import UserError, check_ranges
from engine.files import check_target
from imagesets.contact_sheet import boxed, check_picture_name, heat, picture, save_picture, sheet
from imagesets.normalize import Normalize
from keepcore.draws import BatchShard
from semi_supervised.data import Crops, open_parts
from semi_supervised.load_run import load_trained
from semi_supervised.losses import pseudo_target
from semi_supervised.pictures import PicturesOptions
from semi_supervised.strong import build_strong

CELL = 64
COUNTED, LEFT_OUT = (30, 160, 70), (210, 60, 50)


def draw_views(options: PicturesOptions) -> None:
    """Draw the sheet; implements ``python -m semi_supervised.pictures``.

    Raises:
        UserError: no valid checkpoint or data, or the recipe pastes nothing.

    Source: Gong et al., CVPR 2021, Figure 1 and Sec. 4.3.
    """
    check_ranges(options, columns=(1, 200), seed=(0, 2**62))
    check_picture_name(options.out)
    check_target(Path(options.out))
    trained = load_trained(options.checkpoint)
    recipe, model = trained.config, trained.model
    if recipe.augment.op == "none":
        raise UserError(f"{trained.path}: its recipe pastes no regions to draw (augment.op none)")
    data = replace(recipe.data, root=options.root or recipe.data.root)
    crops = Crops(open_parts(data, recipe.seed).unlabelled, data, 2)
    torch.manual_seed(options.seed)
    indices = [index * len(crops) // options.columns for index in range(options.columns)]
    pairs = [crops[index][0] for index in indices]
    weak_UCHW, base_UCHW = (torch.stack(crops) for crops in zip(*pairs, strict=True))
    normalize = Normalize(data.mean, data.std)
    generators = tuple(torch.Generator().manual_seed(options.seed + i) for i in (0, 1))
    full = replace(recipe, augment=replace(recipe.augment, head="full"), compile=False)
    strong = build_strong(full, lambda: model, normalize, (generators[0], generators[1]), BatchShard())
    views = strong(base_UCHW)
    assert views.kept is not None and strong.operation is not None  # noqa: PT018 - op is not none
    with torch.no_grad():
        target = pseudo_target(model(normalize(weak_UCHW)), "hard", 1.0, recipe.loss.threshold)
    map_UHW = strong.operation.map_of(model, views.clean_UCHW, None)
    size = (CELL, CELL)
    colours = [COUNTED if counted else LEFT_OUT for counted in target.counted_B.tolist()]
    whole = torch.tensor([1, 1, data.image_size - 1, data.image_size - 1])
    boxes_U4 = views.kept.boxes_B4
    rows = [
        [boxed(image, size, [(whole, colour)]) for image, colour in zip(weak_UCHW, colours, strict=True)],
        [boxed(image, size, [(box, COUNTED)]) for image, box in zip(base_UCHW, boxes_U4, strict=True)],
        [heat(map_HW, size) for map_HW in map_UHW],
        [picture(normalize.undo(image), size) for image in views.plain_UCHW],
        [picture(normalize.undo(image), size) for image in views.strong_UCHW],
    ]
    save_picture(sheet(rows, ("weak", "crop, box", "saliency", "strong", "kept")), Path(options.out))
    print(options.out)
