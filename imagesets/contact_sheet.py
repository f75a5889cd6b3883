"""Contact sheets: images, saliency maps and boxes laid out in rows, with titles."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor
from torchvision.utils import draw_bounding_boxes, make_grid

from engine.errors import UserError
from engine.files import replacing

GAP, DPI = 6, 100
Colour = tuple[int, int, int]


def picture(image_CHW: Tensor, size: tuple[int, int]) -> Tensor:
    """Make a cell from an image.

    Args:
        image_CHW: uint8 RGB.
        size: (width, height) of the cell, pixels.

    Returns:
        cell_3HW: uint8 on the CPU, enlarged without interpolation.
    """
    return F.interpolate(image_CHW[None].cpu(), size[::-1], mode="nearest")[0]


def heat(map_HW: Tensor, size: tuple[int, int]) -> Tensor:
    """Make a grey cell from the square root of a map, because saliency spans orders of magnitude.

    Args:
        map_HW: non-negative map.
        size: (width, height) of the cell, pixels.
    """
    root_HW = (map_HW / map_HW.max().clamp_min(1e-12)).sqrt()
    return picture((root_HW * 255).to(torch.uint8)[None].expand(3, -1, -1), size)


def boxed(image_CHW: Tensor, size: tuple[int, int], boxes: Sequence[tuple[Tensor, Colour]]) -> Tensor:
    """Make a cell from an image with boxes drawn on it.

    Args:
        image_CHW: uint8 RGB.
        size: (width, height) of the cell, pixels.
        boxes: (box_4, colour); ``(y0, x0, y1, x1)``, half-open, pixels of the image; empty ones are not drawn.
    """
    cell_3HW, (height, width) = picture(image_CHW, size), image_CHW.shape[-2:]
    scale_4 = torch.tensor([size[1] / height, size[0] / width] * 2)
    for box_4, colour in boxes:
        y0, x0, y1, x1 = (box_4.cpu() * scale_4).int().tolist()
        if y1 > y0 and x1 > x0:
            corners_14 = torch.tensor([[x0, y0, x1 - 1, y1 - 1]])
            cell_3HW = draw_bounding_boxes(cell_3HW, corners_14, colors=[colour], width=3)
    return cell_3HW


def framed(image_CHW: Tensor, colour: Colour, width: int = 4) -> Tensor:
    """Put a frame of one colour around an image.

    Args:
        image_CHW: uint8 RGB.
        colour: RGB, 0 to 255.
        width: width of the frame, pixels.
    """
    height, across = (length + 2 * width for length in image_CHW.shape[-2:])
    frame_3HW = torch.tensor(colour, dtype=torch.uint8).view(3, 1, 1).repeat(1, height, across)
    frame_3HW[:, width:-width, width:-width] = image_CHW
    return frame_3HW


def sheet(rows: Sequence[Sequence[Tensor]], titles: Sequence[str] = ()) -> Image.Image:
    """Lay out cells, one row per list; smaller cells get a white margin.

    Args:
        rows: cells, uint8 3 x H x W.
        titles: titles of the rows, written to their left.
    """
    columns = max(len(row) for row in rows)
    height, width = (max(cell.shape[axis] for row in rows for cell in row) for axis in (1, 2))
    cells = [cell for row in rows for cell in [*row, *[torch.empty(3, 0, 0).byte()] * (columns - len(row))]]
    padded = [F.pad(c, (0, width - c.shape[2], 0, height - c.shape[1]), value=255) for c in cells]
    grid_3HW = make_grid(torch.stack(padded), nrow=columns, padding=GAP, pad_value=255)
    pixels_HW3 = grid_3HW.permute(1, 2, 0).numpy()
    return _with_titles(pixels_HW3, titles) if titles else Image.fromarray(pixels_HW3)


def _with_titles(pixels_HW3: np.ndarray, titles: Sequence[str]) -> Image.Image:
    height, width = pixels_HW3.shape[:2]
    margin = 20 + 8 * max(map(len, titles))
    figure = Figure(figsize=((width + margin) / DPI, height / DPI), dpi=DPI)
    axes = figure.add_axes((margin / (width + margin), 0, width / (width + margin), 1))
    axes.imshow(pixels_HW3, aspect="auto", interpolation="none")
    axes.set_axis_off()
    for index, title in enumerate(titles):
        y = 1 - (index + 0.5) / len(titles)
        figure.text(8 / (width + margin), y, title, va="center", fontsize=9)
    return render(figure)


def render(figure: Figure) -> Image.Image:
    """Turn a matplotlib figure into an RGB image."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def check_picture_name(path: str | Path) -> None:
    """Check that a picture can be written under a name, before it is drawn.

    Raises:
        UserError: no picture format has its suffix.
    """
    suffix = Path(path).suffix
    if Image.registered_extensions().get(suffix.lower()) not in Image.SAVE:  # Pillow reads more than it writes
        raise UserError(f"{path}: no picture format has the suffix {suffix!r}: use .png or .jpg")


def save_picture(image: Image.Image, path: Path) -> None:
    """Write a picture; a failure leaves an existing file intact.

    Args:
        image: picture to write.
        path: file to write; .png, .jpg or another suffix that Pillow can write.

    Raises:
        UserError: the suffix is unknown, or the picture cannot be encoded or written.
    """
    check_picture_name(path)
    with replacing(path) as file:
        image.save(file, Image.registered_extensions()[path.suffix.lower()])
