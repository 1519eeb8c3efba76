"""Are heads closer to people than chance? A test by permuted pictures, over all heads of a model at once.

Chance is what the same gaze and the same attention reach when they belong to different pictures. If gaze has nothing
to do with which picture was shown, any assignment of the pictures of attention to the pictures of gaze is as likely as
the true one, whatever people's common habits (the centre, say) and whatever the maps have in common. So the pictures
of attention are permuted, and all participants, heads and layers go through the same permutation: what they share is
left as it is. Head labels are not permuted: heads are not units that were sampled.

A gain is the mean over pictures of the match less the mean over all pictures that do not match, participants averaged
first. It is standardised by its own SD over all permutations, sqrt(sum d^2 / (S - 1)) / S with d the scores (S, S) less
their row and column means and plus their mean: a number that permuting does not change. A t over pictures would hold
its level as well; but with few pictures its own error is rough, and the largest of many t is decided by small errors
rather than by large gains (in a simulation of 8 pictures and 48 maps, one of them with a gain, the t found it in 18 %
of studies, this in 48 %). The largest standardised gain over the maps is what chance has to exceed, which corrects for
having looked at all of them (Westfall and Young 1993, one step).

Nothing here reads tables or draws; scores at one sigma fixed beforehand come in, p values go out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations as all_orders
from math import factorial

import numpy as np
from numpy.typing import NDArray

from beholder.shared.arrays import FloatArray

# Permutations at a time: what bounds the memory, at some 8 bytes x this x maps.
PER_BLOCK = 256
# Two standardised gains are equal where they differ by no more than this, which may be rounding.
TIE = 1e-9


@dataclass(frozen=True)
class AboveChance:
    """The test over all maps, and each map's result; maps in the order they came in.

    `gain` is in the unit of the measure and positive towards people, `z` the gain in SDs over permutations, `p_map`
    one-sided for that map alone, `p_adjusted` for it among all maps; None where a map has no score on some picture and,
    but for `gain`, where it cannot vary. `p` is that of the largest `z`, None where no map can be tested.
    `permutations` were drawn, or are all there are (`exact`), the true order included; no p can be below `smallest_p`.
    `missing` is the share of participants x pictures without a score: the mean is over those present.
    """

    p: float | None
    largest_z: float | None
    gain: tuple[float | None, ...]
    z: tuple[float | None, ...]
    p_map: tuple[float | None, ...]
    p_adjusted: tuple[float | None, ...]
    pictures: int
    participants: int
    permutations: int
    exact: bool
    smallest_p: float
    missing: float


def above_chance(
    scores: FloatArray,
    sign: int,
    rng: np.random.Generator,
    permutations: int = 2000,
    blocks: Sequence[Sequence[int]] | None = None,
) -> AboveChance:
    """Whether any map is closer to people on the picture they saw than on other pictures, and which.

    scores: (participants, pictures of gaze, pictures of attention, maps), pictures in the same order in both; the
    diagonal is the match. sign: 1 where higher scores are closer to people, -1 where lower ones are. blocks: the
    pictures that were compared with each other, where not all were; they are permuted within their block, and one alone
    in its block is left out.
    A participant who did not see a picture is NaN in all its cells and has no part in that picture's mean; a picture
    that nobody saw is left out; a map without a score in any of the remaining cells is not tested.
    p = (1 + permutations that reach the true one) / (1 + permutations). Where one block has no more orders than
    `permutations`, each is taken once, the true one among them, and p is the share of orders that reach the true one.
    Raises ValueError where shapes disagree, or fewer than two pictures were seen.
    Source: Westfall and Young 1993, ISBN 978-0-471-55761-6.
    """
    if scores.ndim != 4 or scores.shape[1] != scores.shape[2]:
        raise ValueError(f"scores must be (participants, pictures, pictures, maps); {scores.shape} is invalid")
    seen: NDArray[np.bool_] = np.any(np.isfinite(scores), axis=(2, 3))
    there: NDArray[np.bool_] = np.any(seen, axis=0)
    groups = [np.array([s for s in block if there[s]], dtype=np.intp) for block in blocks or [range(scores.shape[1])]]
    groups = [group for group in groups if len(group) > 1]
    if not groups:
        raise ValueError(f"pictures can be permuted where two or more were seen; {int(there.sum())} is invalid")
    centred, sizes = [], []
    for group in groups:
        matrix = sign * _over_participants(scores[:, group][:, :, group], seen[:, group])
        sizes.append(np.abs(matrix).max(axis=(0, 1)))
        centred.append(matrix - matrix.mean(axis=0) - matrix.mean(axis=1, keepdims=True) + matrix.mean(axis=(0, 1)))
    kept = np.concatenate(groups)
    n = len(kept)
    # The SD of a sum of matches over all permutations.
    sd = np.sqrt(np.sum([(c**2).sum(axis=(0, 1)) / (len(c) - 1) for c in centred], axis=0))
    tested = np.flatnonzero(sd > 1e-12 * n * np.max(sizes, axis=0))
    # The mean over what does not match is (sum - match) / (n (n - 1)), which turns the centred match into the gain.
    gain = np.sum([np.einsum("iim->m", c) * len(c) / (len(c) - 1) for c in centred], axis=0) / n
    z = np.full(len(sd), np.nan)
    standard = [c[:, :, tested] / sd[tested] for c in centred]
    z[tested] = np.sum([np.einsum("iim->m", part) for part in standard], axis=0)
    exact = len(groups) == 1 and factorial(n) <= permutations
    orders = _orders([len(group) for group in groups], permutations, exact, rng)
    single, largest, count = _reached(standard, z[tested], orders)
    drawn = 0 if exact else 1
    p_map, p_adjusted = np.full(len(sd), np.nan), np.full(len(sd), np.nan)
    p_map[tested] = (single + drawn) / (count + drawn)
    p_adjusted[tested] = (largest + drawn) / (count + drawn)
    return AboveChance(
        p=float(np.nanmin(p_adjusted)) if len(tested) else None,
        largest_z=float(np.nanmax(z)) if len(tested) else None,
        gain=_known(gain),
        z=_known(z),
        p_map=_known(p_map),
        p_adjusted=_known(p_adjusted),
        pictures=n,
        participants=int(seen.any(axis=1).sum()),
        permutations=count,
        exact=exact,
        smallest_p=1 / (count + drawn),
        missing=float(1 - seen[seen.any(axis=1)][:, kept].mean()),
    )


def _reached(
    standard: Sequence[FloatArray], z: FloatArray, orders: Iterator[list[NDArray[np.intp]]]
) -> tuple[FloatArray, FloatArray, int]:
    """How many permutations reach each map's true match by its own, how many by their largest; how many there are.

    standard: of each block of pictures the scores (pictures, pictures, maps) in SDs of their sum; z: (maps,).
    """
    single, largest, count = np.zeros(len(z)), np.zeros(len(z)), 0
    for of_blocks in orders:
        found = np.zeros((len(of_blocks[0]), len(z)))
        for part, order in zip(standard, of_blocks, strict=True):
            for s in range(len(part)):
                found += part[s, order[:, s]]
        single += (found >= z - TIE).sum(axis=0)
        if len(z):
            largest += (found.max(axis=1)[:, None] >= z - TIE).sum(axis=0)
        count += len(found)
    return single, largest, count


def _over_participants(scores: FloatArray, seen: NDArray[np.bool_]) -> FloatArray:
    """The mean over those who saw a picture, (gaze, attention, maps); NaN where one of them lacks a score."""
    total = np.zeros(scores.shape[1:])
    for person, present in zip(scores, seen, strict=True):
        total[present] += person[present]
    mean: FloatArray = total / seen.sum(axis=0)[:, None, None]
    return mean


def _orders(
    sizes: Sequence[int], permutations: int, exact: bool, rng: np.random.Generator
) -> Iterator[list[NDArray[np.intp]]]:
    """Orders of each block's pictures, (orders, size) each, some at a time: all if `exact`, else drawn ones."""
    if exact:
        every = np.array(list(all_orders(range(sizes[0]))), dtype=np.intp)
        for first in range(0, len(every), PER_BLOCK):
            yield [every[first : first + PER_BLOCK]]
        return
    for first in range(0, permutations, PER_BLOCK):
        some = min(PER_BLOCK, permutations - first)
        yield [rng.permuted(np.tile(np.arange(size), (some, 1)), axis=1) for size in sizes]


def _known(values: FloatArray) -> tuple[float | None, ...]:
    return tuple(float(v) if np.isfinite(v) else None for v in values)
