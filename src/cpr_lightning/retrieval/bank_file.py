"""One scale of a bank and its file."""

from pathlib import Path

import faiss

from cpr_lightning.choices import Codec
from cpr_lightning.errors import RunError
from cpr_lightning.retrieval.codecs import codec_of

# Bytes. When FAISS maps a file that ends in its head (with pq's codebook: D kB), it may read beyond the end and die;
# when it reads it whole, it says so.
_SMALL = 1 << 24


def write_scale(index: "faiss.IndexFlatCodes", temporary: Path, path: Path) -> None:
    """Write an index to ``temporary``, which will be ``path``.

    Raises:
        OSError: the disk is full, or what else FAISS may have met.
    """
    try:
        faiss.write_index(index, str(temporary))
    except RuntimeError as error:  # FAISS's own exception for every failed write
        raise OSError(f"{path} could not be written; the disk may have no space left") from error


def read_scale(path: Path, shape: tuple[int, int, int], codec: Codec, writable: bool) -> "faiss.IndexFlatCodes":
    """A scale's index from its file, mapped unless ``writable``.

    Args:
        path: of the file.
        shape: (H, W, D) of the scale.
        codec: that it was written with.
        writable: read it whole, so that it can grow.

    Raises:
        RunError: the file is missing, cut short, or holds something else.
    """
    height, width, dim = shape
    if not path.is_file():
        raise RunError(f"{path} is missing: the run is incomplete. Train it again, or finish it with resume=.")
    try:
        if path.stat().st_size < _SMALL:
            faiss.read_index(str(path))
        index = faiss.read_index(str(path), 0 if writable else faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        raise RunError(
            f"{path} cannot be read as a FAISS index; it may have been cut short. Copy it again, or train the run "
            "again."
        ) from error
    found = codec_of(index)
    if index.d != dim or found is not codec:
        kind = found.value if found is not None else type(index).__name__
        raise RunError(
            f"{path} holds {index.d} numbers a vector as {kind}, but the run's config.yaml says {dim} as {codec.value}."
            " The file belongs to another run."
        )
    assert isinstance(index, faiss.IndexFlatCodes)
    if index.ntotal % (height * width) or index.codes.size() != index.ntotal * index.code_size:
        raise RunError(f"{path} does not hold whole images of {height} × {width} cells; train the run again.")
    return index
