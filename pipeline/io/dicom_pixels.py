"""The pixels of one DICOM file as values: decoded, rescaled, with what cannot be decoded refused by code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CaseError
from pipeline.io.pixels import rescale
from pipeline.io.refusals import decode_errors, truncated

if TYPE_CHECKING:
    from pydicom import Dataset, FileDataset

    from pipeline.io.dicom_header import Header


def scale_of(header: Header) -> tuple[float, float]:
    """Slope and intercept of the modality transform, 1 and 0 where there are none."""
    slope, intercept = header.get("RescaleSlope"), header.get("RescaleIntercept")
    return float(1 if slope is None else slope), float(0 if intercept is None else intercept)


def scales_to_fractions(header: Header) -> bool:
    """Whether the rescaled values need not be whole numbers: a slope or an intercept has a fraction."""
    return not all(number.is_integer() for number in scale_of(header))


def decode(dataset: FileDataset, path: Path) -> NDArray:
    """Grey values (rows, columns) after the modality transform (in CT: HU)."""
    stored = _stored(dataset, path)
    if "ModalityLUTSequence" in dataset:
        from pydicom.pixels import apply_modality_lut

        return apply_modality_lut(stored, dataset)
    return rescale(stored, *scale_of(dataset))


def decode_frames(dataset: FileDataset, frames: Sequence[Dataset], path: Path) -> NDArray:
    """Grey values (frames, rows, columns) of a multi-frame file, each frame after its own modality transform."""
    stored = _stored(dataset, path).reshape(len(frames), int(dataset.Rows), int(dataset.Columns))
    scales = [scale_of(frame) for frame in frames]
    if len(set(scales)) == 1:
        return rescale(stored, *scales[0])
    return np.stack([rescale(values, *scale) for values, scale in zip(stored, scales, strict=True)])


def decode_picture(dataset: FileDataset, path: Path) -> NDArray:
    """(rows, columns), or (rows, columns, 3) for colour; MONOCHROME1 is turned over, so that brighter is larger."""
    kind = str(dataset.get("PhotometricInterpretation") or "")
    if kind == "PALETTE COLOR":
        return _from_palette(dataset, path)
    if int(dataset.get("SamplesPerPixel") or 1) > 1:
        return _stored(dataset, path)
    values = decode(dataset, path)
    return (values.max() - values) + values.min() if kind == "MONOCHROME1" else values


def with_room_for(stack: NDArray, values: NDArray) -> NDArray:
    """`stack`, widened when its type cannot hold `values`: a header's promise about the bits used is not relied on."""
    if np.can_cast(values.dtype, stack.dtype) or stack.dtype == np.float32:
        return stack
    limits = np.iinfo(stack.dtype)
    if values.dtype.kind in "iu" and limits.min <= values.min() and values.max() <= limits.max:
        return stack
    fits_int32 = values.dtype.kind in "iu" and values.max() <= np.iinfo(np.int32).max
    return stack.astype(np.int32 if fits_int32 else np.float32)


def _from_palette(dataset: FileDataset, path: Path) -> NDArray[np.uint8]:
    from pydicom.pixels import apply_color_lut

    colours = apply_color_lut(_stored(dataset, path), dataset)[..., :3]
    return (colours >> 8).astype(np.uint8) if colours.dtype == np.uint16 else colours


def _stored(dataset: FileDataset, path: Path) -> NDArray:
    """The pixels as stored; colour comes as RGB."""
    from pydicom.pixels import pixel_array

    if "PixelData" not in dataset:
        raise truncated(path, "it has no pixel data")
    _complete_header(dataset)
    plugin = _decoding_plugin(dataset, path)
    try:
        return pixel_array(dataset, decoding_plugin=plugin)
    except decode_errors() as error:
        reason = f"its pixels do not decode: {str(error).splitlines()[0]}"
        if dataset.file_meta.TransferSyntaxUID.is_compressed:
            raise CaseError("UNREADABLE", f"{path}: {reason}: export it uncompressed") from error
        raise truncated(path, reason) from error


def _complete_header(dataset: FileDataset) -> None:
    """Files without a meta header do not name their encoding; pydicom has seen it while reading."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    if "TransferSyntaxUID" in getattr(dataset, "file_meta", {}):
        return
    implicit, little_endian = dataset.original_encoding
    explicit = ExplicitVRLittleEndian if little_endian else ExplicitVRBigEndian
    dataset.file_meta = getattr(dataset, "file_meta", None) or FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit


def _decoding_plugin(dataset: FileDataset, path: Path) -> str:
    """The one decoder of each syntax, "" for what is not compressed. What else is installed must not change the pixels
    of a lossy JPEG, and some decoders (GDCM's) end the whole process over a damaged one.
    """
    from pydicom.pixels import get_decoder
    from pydicom.uid import RLELossless

    syntax = dataset.file_meta.TransferSyntaxUID
    plugin = "pydicom" if syntax == RLELossless else "pylibjpeg"
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        decoder = None
    if decoder is None or not (decoder.is_native or plugin in decoder.available_plugins):
        message = f"{path} is compressed as {syntax.name}, which no installed decoder reads"
        raise CaseError("UNSUPPORTED_SYNTAX", f"{message}: export it uncompressed")
    return "" if decoder.is_native else plugin
