import torch

from keepcore.boxes import box_area, box_mask, kept_share, to_xyxy

BOXES = torch.tensor([[0, 0, 0, 0], [1, 2, 3, 5], [0, 0, 4, 6], [3, 5, 4, 6]])


def test_mask_area_and_share_agree_with_a_loop():
    mask = box_mask(BOXES, 4, 6)
    for i, (y0, x0, y1, x1) in enumerate(BOXES.tolist()):
        inside = [[y0 <= y < y1 and x0 <= x < x1 for x in range(6)] for y in range(4)]
        assert mask[i].tolist() == inside
    assert torch.equal(mask.sum((1, 2)), box_area(BOXES))
    assert kept_share(BOXES, 4, 6).tolist() == [1.0, 0.75, 0.0, torch.tensor(23 / 24).item()]


def test_to_xyxy_swaps_axes():
    assert to_xyxy(BOXES)[1].tolist() == [2, 1, 5, 3]
