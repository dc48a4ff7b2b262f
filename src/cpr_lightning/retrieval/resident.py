"""How much of a bank that is mapped from disk stays in the process's memory."""

import ctypes
import mmap
import sys
from collections.abc import Collection, Sequence

RESIDENT_BYTES = 5 << 28  # 200 references of CPR in fp16 stay below it
_HUGE_PAGE = 2 << 20  # of x86-64, and of AArch64 with pages of 4 kB


class Resident:
    """Lets go of a mapping's pages when too many references were read through it.

    Every page that was ever read through a mapping counts as the process's memory until the system runs short of it: a
    service that has scored enough images seems to hold the whole bank. Letting go costs little, as the page cache keeps
    the data, and what is read again is only entered in the page table again.

    FAISS maps with ``MADV_RANDOM``: the system then reads 4 kB at a time from the disk, and keeps them as such. But
    what is read here are whole references, megabytes in a row. With read-ahead a cold bank is read many times faster,
    and in huge pages (where kernel and file system have them for files) a warm one is entered for a thirtieth of the
    time; ``benchmarks/bank.py`` measures both.

    Args:
        addresses: where the codes begin, per scale. They must lie in a mapping of a file: letting go of any other
            memory destroys what it holds.
        sizes: bytes of one reference, per scale.
        references: how many there are.
        limit: bytes to let go at; a bank that is smaller stays.
    """

    def __init__(
        self, addresses: Sequence[int], sizes: Sequence[int], references: int, limit: int = RESIDENT_BYTES
    ) -> None:
        self._ranges = [(address, size * references) for address, size in zip(addresses, sizes, strict=True)]
        # Both ends of a reference lie in a huge page that is half its neighbor's.
        most = max(1, limit // sum(size + _HUGE_PAGE for size in sizes))
        self._most = references if references * sum(sizes) <= limit else most
        self._touched: set[int] = set()
        if sys.platform == "linux":
            self._advise(mmap.MADV_NORMAL)
            self._advise(mmap.MADV_HUGEPAGE)

    def touch(self, rows: Collection[int]) -> None:
        """References ``rows`` are about to be read."""
        self._touched.update(rows)
        if len(self._touched) > self._most:
            self.release()
            self._touched.update(rows)

    def release(self) -> None:
        """Let go of all pages. What reads them meanwhile, in whatever thread, is not disturbed."""
        self._touched.clear()
        if sys.platform == "linux":
            self._advise(mmap.MADV_DONTNEED)

    def _advise(self, advice: int) -> None:
        # It is advice: a kernel without huge pages, or memory that the user has locked, refuses it and nothing is lost.
        for address, size in self._ranges:
            first = address // mmap.PAGESIZE * mmap.PAGESIZE
            length = address + size - first
            ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(length), ctypes.c_int(advice))
