"""Saliency maps kept from earlier steps, in the frame of the stored image, so that crops and flips can change.

Shape legend: N images of the data set, B images of a batch, D of them computed anew, S side of the kept maps, H W
pixels of a crop.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

LEVELS = 64.0  # code of a map's mean; codes end at 255, 16 times the mean


class MapCache:
    """One small map per image of a data set: the square root of saliency relative to its mean, as uint8.

    A window says where a crop lies in its stored image: ``(scale_y, offset_y, scale_x, offset_x)``, float32, such
    that the point c of the crop is the point ``scale * c + offset`` of the image. On both, the sides are [0, 1]. A
    mirrored crop has a negative ``scale_x``.

    Args:
        images: N.
        side: S, side of the kept maps.
        device: device of the maps; N x S x S bytes.

    Raises:
        ValueError: a number is not positive.

    Example:
        >>> cache, whole = MapCache(10, side=8), torch.tensor([[1.0, 0.0, 1.0, 0.0]])
        >>> cache.update(torch.tensor([3]), whole, torch.tensor([0]), torch.rand(1, 32, 32))
        >>> cache.read(torch.tensor([3]), whole, 32, 32).shape
        torch.Size([1, 32, 32])

    Source: a choice of this package.
    Differs from the paper: it computes the map anew at every step.
    """

    def __init__(self, images: int, side: int = 16, device: torch.device | str | None = None) -> None:
        if images < 1 or side < 1:
            raise ValueError(f"images and side must be positive, got {images} and {side}")
        self.maps_NSS = torch.zeros(images, side, side, dtype=torch.uint8, device=device)

    def read(self, index_B: Tensor, window_B4: Tensor, height: int, width: int) -> Tensor:
        """Return the maps of crops.

        Args:
            index_B: int64, which images, on the device of the cache.
            window_B4: windows of their crops, see the class.
            height: rows of the crops, pixels.
            width: columns of the crops, pixels.

        Returns:
            map_BHW: float32, in units of the map's mean; 0 outside the stored image, and everywhere if nothing has
            been kept yet, which makes the map flat.
        """
        kept_B1SS = _decode(self.maps_NSS[index_B])[:, None]
        grid_BHW2 = _grid(window_B4, height, width)
        return F.grid_sample(kept_B1SS, grid_BHW2, align_corners=False)[:, 0]

    def update(
        self, index_B: Tensor, window_B4: Tensor, due_D: Tensor, map_DHW: Tensor, *, processes: int = 1
    ) -> None:
        """Keep new maps of some images of a batch.

        What lies outside the crop stays as it was; so does all of it where the new map is zero or not finite.

        Args:
            index_B: int64, the images of the batch.
            window_B4: windows of their crops.
            due_D: int64, positions in the batch that have a new map; may be empty.
            map_DHW: float32 maps of the crops.
            processes: number of processes that train together; all take part in every update.
        """
        kept_BSS = self.maps_NSS[index_B]
        if len(due_D):
            new_DSS = _merge(kept_BSS[due_D], window_B4[due_D], map_DHW)
            kept_BSS = kept_BSS.index_copy(0, due_D, new_DSS)
        if processes > 1:
            index_B, kept_BSS = _from_all(index_B, processes), _from_all(kept_BSS, processes)
        self.maps_NSS.index_copy_(0, index_B, kept_BSS)


def due_positions(index_B: Tensor, epoch: int, every: int) -> Tensor:
    """Choose the images of a batch whose maps are computed anew: all in the first epoch, then one in ``every``.

    Args:
        index_B: int64, which images.
        epoch: number of finished epochs.
        every: epochs between two computations of an image's map.

    Returns:
        due_D: int64, positions in the batch.

    Raises:
        ValueError: every is not positive.

    Example:
        >>> due_positions(torch.tensor([4, 5, 6, 7]), epoch=1, every=4).tolist()
        [3]

    Source: a choice of this package; a steady share of each batch instead of an epoch that is dearer than others.
    """
    if every < 1:
        raise ValueError(f"every must be positive, got {every}")
    due_B = torch.ones_like(index_B, dtype=torch.bool) if epoch == 0 else (index_B + epoch) % every == 0
    return due_B.nonzero()[:, 0]


def _merge(kept_DSS: Tensor, window_D4: Tensor, map_DHW: Tensor) -> Tensor:
    """Write maps of crops into maps of images."""
    side = kept_DSS.shape[-1]
    mean_D11 = map_DHW.mean((1, 2), keepdim=True)
    pooled_D1SS = F.interpolate((map_DHW / mean_D11)[:, None], (side, side), mode="area")
    scale_D2, offset_D2 = window_D4[:, 0::2], window_D4[:, 1::2]
    inverse_D4 = torch.stack([1 / scale_D2, -offset_D2 / scale_D2], 2).flatten(1)
    grid_DSS2 = _grid(inverse_D4, side, side)
    sampled_DSS = F.grid_sample(pooled_D1SS, grid_DSS2, padding_mode="border", align_corners=False)[:, 0]
    inside_DSS = (grid_DSS2.abs() <= 1).all(3)
    usable_D11 = mean_D11.isfinite() & (mean_D11 > 0)
    return torch.where(inside_DSS & usable_D11, _encode(sampled_DSS), kept_DSS)


def _grid(window_B4: Tensor, height: int, width: int) -> Tensor:
    """Return the sampling positions of windows in ``F.grid_sample``'s form: grid_BHW2, (x, y) in [-1, 1]."""
    scale_y, offset_y, scale_x, offset_x = window_B4.float().unbind(1)
    zero = torch.zeros_like(scale_x)
    theta_B23 = torch.stack(
        [
            torch.stack([scale_x, zero, scale_x + 2 * offset_x - 1], 1),
            torch.stack([zero, scale_y, scale_y + 2 * offset_y - 1], 1),
        ],
        1,
    )
    return F.affine_grid(theta_B23, [len(window_B4), 1, height, width], align_corners=False)


def _encode(relative_DSS: Tensor) -> Tensor:
    codes_DSS = (relative_DSS.clamp_min(0).sqrt() * LEVELS).round().clamp_max(255)
    return codes_DSS.nan_to_num().to(torch.uint8)


def _decode(codes_BSS: Tensor) -> Tensor:
    return (codes_BSS.float() / LEVELS).square()


def _from_all(tensor: Tensor, processes: int) -> Tensor:
    """Concatenate the tensors of all processes."""
    parts = tensor.new_empty((processes * len(tensor), *tensor.shape[1:]))
    torch.distributed.all_gather_into_tensor(parts, tensor.contiguous())
    return parts
