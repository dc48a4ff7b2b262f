"""What a bank that is mapped from disk costs: memory against the number of references, and the time to read K of them.

    python benchmarks/bank.py [--output bank.json] [--queries 1000] [--match] [--folder DIR]

Memory: banks of 200 and 5,000 references (descriptors of 384 numbers in fp16, grids of 80 and 40 cells), each queried
in a process of its own for K = 10 random references at a time, once with the limit that a run has and once without one.
The files are sparse: FAISS's header, and codes that were never written. They seem to hold 31 GB and take no room on
disk; the page cache holds zeros for them, which costs the memory that written codes would cost. On a machine with less
than 40 GB the page cache overflows after some 300 queries, and what is timed from then on is its search for free pages.

Time: a bank of random codes that is written out, read by K random references at a time into a buffer, as FAISS maps it
(no read-ahead) and as we do; cold (the page cache was emptied of it), let go (in the page cache, not in the process)
and resident. Least of all repetitions; in CPU time where nothing waits for the disk: other programs disturb it less.

With --match a query is `match_window` with windows 3 and 1; otherwise the codes are copied to a buffer.
"""

import argparse
import ctypes
import json
import mmap
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from cpr_lightning.choices import Codec
from cpr_lightning.retrieval.bank import ReferenceBank
from cpr_lightning.retrieval.resident import RESIDENT_BYTES
from cpr_lightning.retrieval.window import match_window

SHAPES = [(80, 80, 384), (40, 40, 384)]
WINDOWS = [3, 1]
NEIGHBORS = 10
TIMED_REFERENCES = 200
REPETITIONS = 5


def main() -> None:
    """Measure each case in a fresh process, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--match", action="store_true")
    parser.add_argument("--folder", help="where to write the banks for the time being (1.3 GB on disk)")
    parser.add_argument("--case", help=argparse.SUPPRESS)  # set in the measuring process
    options = parser.parse_args()
    if options.case is not None:
        case = json.loads(options.case)
        print(json.dumps(memory(**case) if "queries" in case else read_times(**case)))
        return
    results = []
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        for references in (200, 5000):
            folder = Path(scratch) / str(references)
            write_sparse(folder, references)
            for limit in (RESIDENT_BYTES, 1 << 50):
                case = {"folder": str(folder), "references": references, "limit": limit}
                results.append(_fresh(case | {"queries": options.queries, "match": options.match}))
        folder = Path(scratch) / "written"
        write_random(folder, TIMED_REFERENCES)
        results += [_fresh({"folder": str(folder), "as_faiss": as_faiss}) for as_faiss in (True, False)]
    if options.output is not None:
        options.output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def _fresh(case: dict[str, object]) -> dict[str, object]:
    command = [sys.executable, __file__, "--case", json.dumps(case)]
    result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    print("  ".join(f"{name}={value}" for name, value in result.items()), flush=True)
    return result


def write_sparse(folder: Path, references: int) -> None:
    """A bank of ``references`` images of zeros that takes no room on disk."""
    bank = ReferenceBank(SHAPES, Codec.fp16)
    bank.add([torch.zeros(1, dim, height, width) for height, width, dim in SHAPES])
    bank.save(folder)
    for number, (height, width, dim) in enumerate(SHAPES, start=1):
        size = height * width * dim * 2
        with (folder / f"scale{number}.faiss").open("r+b") as file:
            header = file.seek(0, os.SEEK_END) - size
            # An index begins with its type (4 bytes), D (4) and the number of vectors (8); the codes follow their size.
            for place, value in ((8, references * height * width), (header - 8, references * size)):
                file.seek(place)
                file.write(value.to_bytes(8, "little"))
            file.truncate(header)
            file.truncate(header + references * size)


def write_random(folder: Path, references: int) -> None:
    """A bank of random unit vectors, on the disk and not only in the page cache."""
    bank = ReferenceBank(SHAPES, Codec.fp16, references)
    generator = torch.Generator().manual_seed(0)
    image = [
        F.normalize(torch.randn(1, dim, height, width, generator=generator), dim=1) for height, width, dim in SHAPES
    ]
    for _ in range(references):
        bank.add(image)
    bank.save(folder)
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def memory(folder: str, references: int, limit: int, queries: int, match: bool) -> dict[str, object]:
    """Megabytes that the process and the mapping hold, at most, over all queries."""
    bank = ReferenceBank.load(Path(folder), SHAPES, Codec.fp16, resident_bytes=limit)
    assert len(bank) == references
    ask = matching(bank) if match else copying(bank)
    before = _status("VmRSS")
    started, mapped = time.perf_counter(), 0.0
    chosen = random.Random(0)
    for number in range(queries):
        rows = chosen.sample(range(references), NEIGHBORS)
        bank.touch(rows)
        ask(rows)
        if number % 10 == 9:
            mapped = max(mapped, mapped_mb(folder))
    return {
        "references": references,
        "limited": limit == RESIDENT_BYTES,
        "queries": queries,
        "matched": match,
        "bank_mb": round(sum(scale.codes.nbytes for scale in bank.stored()) / 2**20),
        "process_before_mb": round(before),
        "process_after_mb": round(_status("VmRSS")),
        "process_peak_mb": round(_status("VmHWM")),
        "mapping_peak_mb": round(mapped),
        "ms_per_query": round((time.perf_counter() - started) / queries * 1e3, 2),
    }


def read_times(folder: str, as_faiss: bool) -> dict[str, object]:
    """Milliseconds to read K references: from the disk, from the page cache, and when already in the process."""
    bank = ReferenceBank.load(Path(folder), SHAPES, Codec.fp16)
    if as_faiss:
        for index in bank.indexes:  # FAISS's own advice, which loading has undone
            address = int(index.codes.data()) // mmap.PAGESIZE * mmap.PAGESIZE
            for advice in (mmap.MADV_RANDOM, mmap.MADV_NOHUGEPAGE):
                ctypes.CDLL(None).madvise(ctypes.c_void_p(address), ctypes.c_size_t(index.codes.size()), advice)
    assert bank._resident is not None
    ask = copying(bank)
    cold, let_go, resident = [], [], []
    chosen = random.Random(1)
    for _ in range(REPETITIONS):
        bank._resident.release()
        for path in Path(folder).iterdir():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        rows = chosen.sample(range(TIMED_REFERENCES), NEIGHBORS)
        cold.append(_seconds(ask, rows, time.perf_counter))
        for _ in range(REPETITIONS):
            bank._resident.release()
            let_go.append(_seconds(ask, rows, time.process_time))
            resident.append(_seconds(ask, rows, time.process_time))
    times: dict[str, list[float]] = {"cold_ms": cold, "let_go_cpu_ms": let_go, "resident_cpu_ms": resident}
    result: dict[str, object] = {"as_faiss": as_faiss}
    return result | {name: round(min(values) * 1e3, 2) for name, values in times.items()}


def copying(bank: ReferenceBank) -> Callable[[list[int]], None]:
    """A query that copies the codes of its references to one buffer."""
    scales = [scale.codes.numpy().view(np.uint8) for scale in bank.stored()]
    buffers = [np.zeros(scale.shape[1:], np.uint8) for scale in scales]

    def ask(rows: list[int]) -> None:
        for scale, buffer in zip(scales, buffers, strict=True):
            for row in rows:
                np.copyto(buffer, scale[row])

    return ask


def matching(bank: ReferenceBank) -> Callable[[list[int]], None]:
    """A query that is matched with its references."""
    queries = [F.normalize(torch.randn(1, *shape), dim=3) for shape in SHAPES]

    def ask(rows: list[int]) -> None:
        for query, scale, window in zip(queries, bank.stored(), WINDOWS, strict=True):
            match_window(query, scale, torch.tensor([rows]), window, places=False)

    ask(list(range(NEIGHBORS)))  # compiles
    return ask


def _seconds(ask: Callable[[list[int]], None], rows: list[int], clock: Callable[[], float]) -> float:
    started = clock()
    ask(rows)
    return clock() - started


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def mapped_mb(folder: str) -> float:
    """Megabytes of the folder's files that are in this process's memory."""
    parts = Path("/proc/self/smaps").read_text().split(folder + "/")[1:]
    return sum(int(part.split("Rss:")[1].split()[0]) for part in parts) / 1024


if __name__ == "__main__":
    main()
