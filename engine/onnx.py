"""Exports to ONNX, checked with ONNX Runtime before anything is written."""

import sys
import tempfile
from pathlib import Path

import torch
from torch import nn

from engine.errors import UserError
from engine.files import replacing


def checked_onnx(
    model: nn.Module,
    shape: tuple[int, int, int],
    out: Path,
    *,
    output: str,
    about: dict[str, str],
    largest_difference: float,
) -> None:
    """Export a network with a dynamic batch size; it is not written if its results differ from torch's.

    Args:
        model: images_BCHW -> one tensor; in evaluation mode, on the CPU.
        shape: (C, H, W) of its input, pixels; the input is named ``images``.
        out: .onnx file to write.
        output: name of the output.
        about: metadata of the file.
        largest_difference: largest allowed difference from torch, relative to the largest output.

    Raises:
        UserError: ONNX is not installed, or its results differ too much.

    Source: torch.onnx, dynamo exporter.
    """
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise UserError(f"ONNX export needs {error.name}: run pip install onnx onnxscript onnxruntime") from error
    images_BCHW = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        batch = torch.export.Dim("batch", min=1)
        torch.onnx.export(
            model,
            (images_BCHW,),
            str(path),
            input_names=["images"],
            output_names=[output],
            dynamic_shapes=({0: batch},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        written = onnx.load(str(path))
        onnx.helper.set_model_props(written, about)
        content = written.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    with torch.no_grad():
        ours = model(images_BCHW)
    theirs = torch.from_numpy(session.run(None, {"images": images_BCHW.numpy()})[0])
    difference = float((ours - theirs).abs().max() / ours.abs().max().clamp_min(1e-12))
    if not difference <= largest_difference:
        raise UserError(f"the export differs from the trained network by {difference:.1e}: nothing was written")
    with replacing(out) as file:
        file.write(content)
    print(f"largest relative difference from torch: {difference:.1e}", file=sys.stderr)
