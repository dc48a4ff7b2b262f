"""K-center-greedy: the few vectors that leave none of the others far away (Gonzalez 1985; the coreset of PatchCore).

The traversal is exact: every vector chosen is the farthest of all from those chosen before. It is made fast by the
triangle inequality. Vectors are kept in groups, each around the center (a chosen vector) nearest to it. When a center
is added, a vector that is no farther from its own center than half the distance between the two centers cannot gain by
it; and of a group whose radius is as small as that, none can.
"""

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from cpr_lightning.kernels import kept, torch_threads
from cpr_lightning.terminal import bar

_PER_THREAD = 50_000  # vectors; a step over fewer is done before a second thread is awake
_STEPS = 64  # centers between two looks at the keyboard
_ROOM = 3  # places for each vector in the pool of members: groups that lose some leave gaps behind
_SLACK = np.float32(4.0004)  # 2², and a little for rounding: what is left out surely cannot gain


class Coreset(NamedTuple):
    """Some of N vectors."""

    rows: NDArray[np.int64]  # (count,) in the order in which they were chosen
    radius: float  # the distance of the vector that is farthest from all of them


class _Groups(NamedTuple):
    """What the traversal knows of each center's group. Distances are squared."""

    center: NDArray[np.int64]  # (count,) row of the center
    vector: NDArray[np.float32]  # (count, D) the center itself
    start: NDArray[np.int64]  # (count,) where its members begin in the pool
    size: NDArray[np.int64]  # (count,)
    lost: NDArray[np.int64]  # (count,) members that it loses in this step; they lie behind those that it keeps
    radius: NDArray[np.float32]  # (count,) largest distance of a member from the center
    farthest: NDArray[np.int64]  # (count,) the member that has it, the first one of several


def k_center(vectors: NDArray[np.float32], count: int, seed: int) -> Coreset:
    """The farthest-point traversal of ``vectors`` from one that the seed chooses.

    No choice of as many vectors has a covering radius of less than half of its.

    Args:
        vectors: (N, D); may be mapped from a file.
        count: vectors to choose, from 1 to N. Fewer are chosen, with radius 0, when all others are copies of them.
        seed: of the first one. Of vectors equally far the first is taken: everything else follows.

    Raises:
        ValueError: there are not as many vectors.
    """
    number, dim = vectors.shape
    if not 1 <= count <= number:
        raise ValueError(f"{count} of {number} vectors cannot be chosen.")
    center, start, size, lost, farthest = (np.zeros(count, np.int64) for _ in range(5))
    vector, radius = np.empty((count, dim), np.float32), np.zeros(count, np.float32)
    groups = _Groups(center, vector, start, size, lost, radius, farthest)
    member, distance = np.empty(_ROOM * number, np.int64), np.empty(_ROOM * number, np.float32)
    groups.farthest[0] = np.random.default_rng(seed).integers(number)
    chosen, reached = 0, np.zeros(2, np.int64)
    with bar() as progress, torch_threads(max(1, number // _PER_THREAD)):
        task = progress.add_task(f"Choosing {count} of {number} feature cells", total=count)
        while chosen < count:
            goal = min(chosen + _STEPS, count)
            _traverse(vectors, groups, member, distance, goal, reached)
            chosen = int(reached[0])
            progress.update(task, completed=chosen)
            if chosen < goal:
                break
    return Coreset(groups.center[:chosen].copy(), float(np.sqrt(groups.radius[:chosen].max())))


@numba.njit(nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
def _squared(one, other):
    """The squared distance of two vectors: of differences, so that copies are at exactly 0."""
    total = np.float32(0)
    for at in range(len(one)):
        apart = one[at] - other[at]
        total += apart * apart
    return total


@numba.njit(nogil=True, error_model="numpy")
def _divide(vectors, groups, member, distance, group, new):
    """Move the members of a group that are nearer to a new center behind the others, with their new distances."""
    groups.lost[group] = 0
    center = groups.vector[new]
    apart = _squared(groups.vector[group], center)
    if apart >= _SLACK * groups.radius[group]:
        return
    at, behind = groups.start[group], groups.start[group] + groups.size[group]
    radius, farthest = np.float32(0), groups.center[group]
    while at < behind:
        known, row = distance[at], member[at]
        if apart < _SLACK * known:
            found = _squared(vectors[row], center)
            if found < known:
                behind -= 1
                member[at], distance[at] = member[behind], distance[behind]
                member[behind], distance[behind] = row, found
                groups.lost[group] += 1
                continue
        if known > radius or (known == radius and row < farthest):
            radius, farthest = known, row
        at += 1
    groups.size[group] -= groups.lost[group]
    groups.radius[group], groups.farthest[group] = radius, farthest


@numba.njit(nogil=True, error_model="numpy")
def _close_gaps(groups, member, distance, count):
    """Move all groups to the front of the pool, in their order; returns where the free room begins."""
    used = 0
    for group in range(count):
        start, size = groups.start[group], groups.size[group]
        for at in range(size):
            member[used + at], distance[used + at] = member[start + at], distance[start + at]
        groups.start[group] = used
        used += size
    return used


@numba.njit(nogil=True, error_model="numpy")
def _gather(groups, member, distance, new, used):
    """What the groups lost becomes the group of the new center; returns where the free room begins."""
    groups.start[new] = used
    radius, farthest = np.float32(0), groups.center[new]
    for group in range(new):
        behind = groups.start[group] + groups.size[group]
        for at in range(behind, behind + groups.lost[group]):
            member[used], distance[used] = member[at], distance[at]
            if distance[at] > radius or (distance[at] == radius and member[at] < farthest):
                radius, farthest = distance[at], member[at]
            used += 1
    groups.size[new] = used - groups.start[new]
    groups.radius[new], groups.farthest[new] = radius, farthest
    return used


@numba.njit(nogil=True, error_model="numpy", parallel=True)
def _begin(vectors, groups, member, distance):
    """All vectors are the group of the first center."""
    center = groups.vector[0]
    for at in numba.prange(len(vectors)):
        member[at] = at
        distance[at] = _squared(vectors[at], center)
    groups.size[0] = len(vectors)
    groups.farthest[0] = np.argmax(distance[: len(vectors)])
    groups.radius[0] = distance[groups.farthest[0]]


@numba.njit(nogil=True, error_model="numpy", parallel=True)
def _divide_all(vectors, groups, member, distance, new):
    """Divide all groups that there are when a new center is added."""
    # Nothing is written to `groups` here: numba forgets what a parallel loop itself writes to the array of a tuple.
    for group in numba.prange(new):
        _divide(vectors, groups, member, distance, group, new)


@numba.njit(nogil=True, error_model="numpy")
def _largest(groups, count):
    """The group of the farthest member of all, and of several as far that with the first of them."""
    largest = 0
    for group in range(1, count):
        radius, most = groups.radius[group], groups.radius[largest]
        if radius > most or (radius == most and groups.farthest[group] < groups.farthest[largest]):
            largest = group
    return largest


def _add_centers(vectors, groups, member, distance, goal, reached):
    """Add centers up to ``goal`` or until all else is a copy; ``reached`` says how many there are, and how much of the
    pool is in use.
    """
    number = len(vectors)
    for new in range(reached[0], goal):
        group = _largest(groups, new)
        if new > 0 and groups.radius[group] == 0:
            return
        groups.center[new] = groups.farthest[group]
        groups.vector[new] = vectors[groups.center[new]]
        if new == 0:
            _begin(vectors, groups, member, distance)
            reached[1] = number
        else:
            if reached[1] + number > len(member):
                reached[1] = _close_gaps(groups, member, distance, new)
            _divide_all(vectors, groups, member, distance, new)
            reached[1] = _gather(groups, member, distance, new, reached[1])
        reached[0] = new + 1


_traverse = kept(_add_centers, parallel=False)  # what it calls is parallel
