"""Embeddings of windows -> clusters -> centroids: how many voices there are, and what each sounds like.

Alike windows are grouped first, by average linkage. Groups are then merged while their centroids are alike: in a
centroid, what differs from window to window has averaged out, so one person's groups and two people's lie far apart.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarist.request import Options
from diarist.types import Floats, Ints

CUT = 0.5  # cosine distance at which windows are no longer joined into one group
SAME_SPEAKER = 0.66  # cosine similarity from which the centroids of two long groups are one voice …
DOUBT_SECONDS = 2.0  # … and of groups with this much speech, 0.7 of that: a short group's centroid is uncertain
FLOOR_SECONDS = 1.5  # a cluster with less solo speech than this is no speaker of its own …
FLOOR_SHARE = 0.017  # … nor is one with less than this share of all solo speech
MARGIN = 0.1  # by which a window must prefer its centroid to count when centroids are re-estimated


def cluster(embeddings: Floats, *, solo_seconds: float, options: Options) -> Ints:
    """Which windows are of one voice; clusters below the floor go to the cluster that is most like them.

    Args:
        embeddings: unit vectors of evenly spaced windows, `(num_windows, dimension)`.
        solo_seconds: of solo speech in the recording, which the windows share equally; the floor grows with it.
        options: the number of speakers, or bounds for it, where they are known; a threshold takes the place of
            `CUT`, and then alike groups are not merged.

    Returns:
        A cluster for every window, `(num_windows,)`, numbered from 0 without gaps.
    """
    from scipy.cluster.hierarchy import fcluster, linkage  # noqa: PLC0415 - slow to import

    if len(embeddings) == 1:
        return np.zeros(1, np.int64)
    tree = linkage(embeddings, "average", "cosine")
    seconds = solo_seconds / len(embeddings)  # that a window stands for
    floor = max(FLOOR_SECONDS, FLOOR_SHARE * solo_seconds) / seconds  # in windows
    groups = fcluster(tree, options.threshold or CUT, "distance").astype(np.int64) - 1
    partitions, stop = merged(embeddings, groups, seconds)
    if options.threshold:
        stop = 0  # as asked for: these groups are the voices
    found = len(_above(partitions[stop], floor))
    wanted = _wanted(found, options)
    if wanted > found:
        return _dissolve(embeddings, *_split(partitions[stop::-1], wanted, floor, tree))
    # Merging ends with one speaker, and passes every number on its way.
    groups = next(groups for groups in partitions[stop:] if len(_above(groups, floor)) == wanted)
    return _dissolve(embeddings, groups, _above(groups, floor))


def _wanted(found: int, options: Options) -> int:
    if options.num_speakers:
        return options.num_speakers
    return max(options.min_speakers or 1, min(found, options.max_speakers or found))


def count_notes(found: int, options: Options) -> tuple[str, ...]:
    """What the reader should know where as many speakers as were asked for could not be found.

    >>> count_notes(2, Options(max_speakers=4)), count_notes(3, Options(num_speakers=3))
    ((), ())
    """
    least = options.num_speakers or options.min_speakers or 0
    most = options.num_speakers or options.max_speakers or found
    if least <= found <= most:
        return ()
    name = "num_speakers" if options.num_speakers else "min_speakers" if found < least else "max_speakers"
    heard = f"{found} {'speaker was' if found == 1 else 'speakers were'} found"
    if found > most:
        return (f"{name} is {most}, and {heard}: the diarizer would not take them for fewer",)
    why = "the rest say too little alone, or sound too alike, to be told apart" if found else "nobody is heard speaking"
    return (f"{name} is {least}, and {heard}: {why}",)


def merged(embeddings: Floats, groups: Ints, seconds: float) -> tuple[list[Ints], int]:
    """Merge groups of windows two by two until one is left, those first that are most clearly one voice.

    Args:
        embeddings: unit vectors, `(num_windows, dimension)`.
        groups: the group of every window, `(num_windows,)`, numbered from 0 without gaps.
        seconds: of speech that a window stands for.

    Returns:
        The groups of every window before any merge, after one, after two …, and after how many the groups that are
        left are different voices.
    """
    lengths = np.bincount(groups).astype(np.float64) * seconds  # (num_groups,)
    sums = np.zeros((len(lengths), embeddings.shape[1]), np.float32)
    np.add.at(sums, groups, embeddings)
    left = np.ones(len(lengths), bool)
    excess = np.stack([_excess(sums, lengths, left, group) for group in range(len(lengths))])
    partitions, highest = [groups], []
    while len(partitions) < len(lengths):
        kept, gone = divmod(int(excess.argmax()), len(lengths))
        highest.append(excess[kept, gone])
        partitions.append(np.where(partitions[-1] == gone, kept, partitions[-1]))
        sums[kept] += sums[gone]
        lengths[kept] += lengths[gone]
        left[gone] = False
        excess[gone] = excess[:, gone] = -np.inf
        excess[kept] = excess[:, kept] = _excess(sums, lengths, left, kept)
    return partitions, next((done for done, value in enumerate(highest) if value < 0), len(highest))


def _excess(sums: Floats, lengths: NDArray[np.floating[Any]], left: NDArray[np.bool_], group: int) -> Floats:
    """By how much each group is more like this one than two voices may be; -inf for itself and those merged away."""
    shorter = np.minimum(lengths, lengths[group])
    norms = np.maximum(np.linalg.norm(sums, axis=1), 1e-9)
    cosine = sums @ sums[group] / (norms * norms[group])
    excess = cosine - SAME_SPEAKER * np.sqrt(shorter / (shorter + DOUBT_SECONDS))
    other = left & (np.arange(len(left)) != group)
    return np.where(other, excess, -np.inf).astype(np.float32)


def _above(clusters: Ints, floor: float) -> Ints:
    """The clusters that hold enough windows; the largest one always does."""
    names, sizes = np.unique(clusters, return_counts=True)
    kept = names[sizes >= floor]
    return kept if len(kept) else names[[int(sizes.argmax())]]


def _split(partitions: list[Ints], wanted: int, floor: float, tree: NDArray[np.float64]) -> tuple[Ints, Ints]:
    """More speakers than were found: the largest groups of the first partition that has enough of them.

    Groups may be half as large as the floor; where there are not enough of them, the largest of any size are taken,
    so that a quiet person goes before a stray window. Where no partition has enough groups, they are cut finer.
    """
    from scipy.cluster.hierarchy import fcluster  # noqa: PLC0415 - slow to import

    for least, groups in product((floor / 2, 0.0), partitions):
        largest = _largest(groups, wanted, least)
        if len(largest) == wanted:
            return groups, largest
    groups = fcluster(tree, wanted, "maxclust").astype(np.int64)
    return groups, np.unique(groups)


def _largest(groups: Ints, number: int, floor: float) -> Ints:
    """The largest groups, no more than `number` and none below the floor, in the order of their names."""
    names, sizes = np.unique(groups, return_counts=True)
    order = np.argsort(-sizes, kind="stable")[:number]
    return np.sort(names[order[sizes[order] >= floor]])


def _dissolve(embeddings: Floats, clusters: Ints, speakers: Ints) -> Ints:
    """Number the speakers' clusters from 0 and give every other window to the nearest of them."""
    nearest = (embeddings @ _centroids(embeddings, clusters, speakers).T).argmax(1)
    own = np.minimum(np.searchsorted(speakers, clusters), len(speakers) - 1)
    return np.where(speakers[own] == clusters, own, nearest).astype(np.int64)


def _centroids(embeddings: Floats, clusters: Ints, names: Ints) -> Floats:
    return np.stack([_unit(embeddings[clusters == name].mean(0)) for name in names])


def centroids_of(embeddings: Floats, clusters: Ints) -> Floats:
    """Re-estimate centroids twice from the windows that clearly prefer one; `(num_speakers, dimension)`."""
    centroids = _centroids(embeddings, clusters, np.arange(clusters.max() + 1))
    for _ in range(2 if len(centroids) > 1 else 0):
        scores = embeddings @ centroids.T  # (num_windows, num_speakers)
        ordered = np.sort(scores, axis=1)
        clear = ordered[:, -1] - ordered[:, -2] > MARGIN
        best = np.where(clear, scores.argmax(1), -1)
        found = np.intersect1d(best, np.arange(len(centroids)))
        if not len(found):  # more speakers were asked for than can be told apart: no window prefers one
            break
        centroids[found] = _centroids(embeddings, best, found)
    return centroids


def _unit(vector: Floats) -> Floats:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9), np.float32)
