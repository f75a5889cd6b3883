"""Features with identities and cameras, from our networks or any other toolbox."""

import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.errors import UserError
from engine.files import replacing

Ints = NDArray[np.int64]
_PARTS = ("query", "gallery")


class Labels(NamedTuple):
    """Identity and camera of each image, for Q queries and G gallery images.

    Attributes:
        query_ids, gallery_ids: int64 identities.
        query_cams, gallery_cams: int64 cameras; if unknown, 0 for all queries and 1 for the whole gallery, so that
            no image is left out.
    """

    query_ids: Ints
    gallery_ids: Ints
    query_cams: Ints
    gallery_cams: Ints


class Features(NamedTuple):
    """Features to be ranked, with their labels.

    Attributes:
        query_QD, gallery_GD: float32.
        labels: identities and cameras of both.
        has_cameras: whether the cameras are known.
        remarks: remarks made when the features were read.
    """

    query_QD: Tensor
    gallery_GD: Tensor
    labels: Labels
    has_cameras: bool = True
    remarks: tuple[str, ...] = ()


def make_features(
    query: Any, gallery: Any, query_ids: Any, gallery_ids: Any, query_cams: Any = None, gallery_cams: Any = None
) -> Features:
    """Check and convert arrays.

    Args:
        query: Q x D floats.
        gallery: G x D floats.
        query_ids: Q integers.
        gallery_ids: G integers.
        query_cams: Q integers, or None if cameras are unknown.
        gallery_cams: G integers, or None if cameras are unknown.

    Raises:
        UserError: shapes do not match, there are no images, labels are not integers, features are NaN or
            infinite, or only one camera list is given.
    """
    remarks: list[str] = []
    query_QD, gallery_GD = (
        _floats(features, name, remarks) for features, name in zip((query, gallery), _PARTS, strict=True)
    )
    if query_QD.shape[1] != gallery_GD.shape[1]:
        raise UserError(f"query features have {query_QD.shape[1]} columns, gallery features {gallery_GD.shape[1]}")
    if (query_cams is None) != (gallery_cams is None):
        raise UserError("cameras must be given for both query and gallery, or for neither")
    has_cameras = query_cams is not None
    cams = (query_cams, gallery_cams) if has_cameras else (np.zeros(len(query_QD)), np.ones(len(gallery_GD)))
    labels = (query_ids, gallery_ids, *cams)
    names = ("query_ids", "gallery_ids", "query_cams", "gallery_cams")
    lengths = (len(query_QD), len(gallery_GD)) * 2
    labels = Labels(*(_integers(a, name, n) for a, name, n in zip(labels, names, lengths, strict=True)))
    junk_G = labels.gallery_ids == -1
    if junk_G.any() and not junk_G.all():
        remarks.append(f"{int(junk_G.sum())} gallery images with id -1 (junk) were left out")
        gallery_GD = gallery_GD[torch.from_numpy(~junk_G)]
        labels = labels._replace(
            gallery_ids=labels.gallery_ids[~junk_G], gallery_cams=labels.gallery_cams[~junk_G]
        )
    return Features(query_QD, gallery_GD, labels, has_cameras, tuple(remarks))


def _floats(values: Any, name: str, remarks: list[str]) -> Tensor:
    try:
        tensor = values if isinstance(values, Tensor) else torch.from_numpy(_native(values))
    except TypeError as error:
        raise UserError(f"{name}_features must be a matrix of floats, got {np.asarray(values).dtype}") from error
    if tensor.ndim != 2 or 0 in tensor.shape or not tensor.is_floating_point():
        raise UserError(f"{name}_features must be a matrix of floats, got {tuple(tensor.shape)} of {tensor.dtype}")
    if tensor.dtype == torch.float64 and bool((tensor.abs() > 3e38).any()):
        raise UserError(f"{name}_features: some values are beyond float32: scale the features down")
    if tensor.dtype in (torch.float16, torch.bfloat16):
        remarks.append(f"{name} features have half precision: ties are resolved by gallery order")
    tensor = tensor.float()
    if not bool(tensor.isfinite().all()):
        bad = int((~tensor.isfinite()).any(1).sum())
        raise UserError(f"{name}_features: {bad} of {len(tensor)} rows are not finite (NaN or infinity)")
    return tensor


def _native(values: Any) -> Any:
    """Convert an array to this machine's byte order and to C order."""
    array = np.ascontiguousarray(values)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _integers(values: Any, name: str, length: int) -> Ints:
    array = values.numpy() if isinstance(values, Tensor) else np.asarray(values)
    if array.ndim != 1 or len(array) != length:
        raise UserError(f"{name} must have one value for each of the {length} images, got shape {array.shape}")
    if array.dtype.kind not in "iuf":
        raise UserError(f"{name} must be integers, got {array.dtype}")
    as_float = array.astype(np.float64)
    whole = np.isfinite(as_float) & (as_float == np.floor(as_float)) & (np.abs(as_float) < 2**62)
    if not whole.all():
        raise UserError(f"{name} must be integers below 2^62, got e.g. {array[~whole][0]}")
    return array.astype(np.int64)


def load_features(path: Path) -> Features:
    """Read the features of any toolbox from an .npz file.

    Args:
        path: file with the arrays ``query_features, query_ids, gallery_features, gallery_ids`` and, if cameras
            are known, ``query_cams, gallery_cams``.

    Raises:
        UserError: the file or an array is missing, the file is damaged, or :func:`make_features` rejects it.

    Source: NumPy's file format; pickled objects are not read.
    """
    if not path.is_file():
        raise UserError(f"{path} not found")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is damaged or not an .npz of plain arrays (numpy.savez)") from error
    names = ("query_features", "gallery_features", "query_ids", "gallery_ids")
    missing = [name for name in names if name not in arrays]
    if missing:
        raise UserError(f"{path} has no array {missing[0]!r}; it has {', '.join(arrays) or 'none'}")
    cams = (arrays.get("query_cams"), arrays.get("gallery_cams"))
    try:
        return make_features(*(arrays[name] for name in names), *cams)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def save_features(features: Features, path: Path) -> None:
    """Write features in the format that :func:`load_features` reads.

    Raises:
        UserError: the file cannot be written.

    Source: NumPy's file format.
    """
    labels = features.labels
    arrays = {"query_features": features.query_QD.numpy(), "gallery_features": features.gallery_GD.numpy()}
    arrays |= {"query_ids": labels.query_ids, "gallery_ids": labels.gallery_ids}
    if features.has_cameras:
        arrays |= {"query_cams": labels.query_cams, "gallery_cams": labels.gallery_cams}
    with replacing(path) as file:
        np.savez(file, **arrays)


def warnings(features: Features) -> list[str]:
    """Report likely mistakes in features before they are evaluated.

    Args:
        features: features to evaluate.

    Returns:
        Remarks; empty if nothing is suspicious.

    Source: the mistakes that users report for torchreid, fast-reid and the strong baseline.
    """
    labels, remarks = features.labels, list(features.remarks)
    absent = np.unique(labels.query_ids[~np.isin(labels.query_ids, labels.gallery_ids)])
    if len(absent):
        remarks.append(f"{len(absent)} query identities are not in the gallery, e.g. {absent[0]}")
    cams = np.union1d(labels.query_cams, labels.gallery_cams)
    if not features.has_cameras:
        remarks.append("no cameras: gallery images from the query's own camera count too")
    elif len(cams) == 1:
        remarks.append("all images are from one camera: no query has a positive from another")
    if (labels.gallery_ids == -1).all():
        remarks.append(f"all {len(labels.gallery_ids)} gallery images have id -1 (junk)")
    for name, part_ND in zip(_PARTS, (features.query_QD, features.gallery_GD), strict=True):
        if len(part_ND) > 1 and bool((part_ND == part_ND[:1]).all()):
            remarks.append(f"all {name} features are the same: the network ignores its input")
        elif bool((part_ND.abs().amax(1) == 0).any()):
            remarks.append(f"{int((part_ND.abs().amax(1) == 0).sum())} {name} features are zero")
    double = duplicate_features(features.query_QD, features.gallery_GD)
    if double and not any("the same: the network" in remark for remark in remarks):
        remarks.append(
            f"{len(double)} query features are also in the gallery, bit for bit (query {double[0][0]} is gallery "
            f"{double[0][1]}): check whether they are the same photograph"
        )
    return remarks


def duplicate_features(query_QD: Tensor, gallery_GD: Tensor) -> list[tuple[int, int]]:
    """Find features that occur bit for bit in both query and gallery.

    Args:
        query_QD: float32.
        gallery_GD: float32.

    Returns:
        (query, gallery) indices, at most one gallery image per query.

    Sixteen values spread over each row select the candidates, whose whole rows are then compared.
    """
    step = max(1, query_QD.shape[1] // 16)
    query, gallery = query_QD.cpu(), gallery_GD.cpu()
    index_of = {row.tobytes(): index for index, row in enumerate(gallery[:, ::step].numpy())}
    rows = enumerate(query[:, ::step].numpy())
    near = [(index, index_of[key]) for index, row in rows if (key := row.tobytes()) in index_of]
    return [(a, b) for a, b in near if bool((query[a] == gallery[b]).all())]
