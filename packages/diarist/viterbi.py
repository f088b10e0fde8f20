"""The best path of speakers through a row of scores."""

from __future__ import annotations

import numpy as np

from diarist.types import Floats, Ints


def smooth(scores: Floats, costs: Floats) -> Ints:
    """The best path of speakers through bins or words, where each change costs something (Viterbi).

    Args:
        scores: similarity of each bin or word to each speaker, `(num_steps, num_speakers)`.
        costs: what changing the speaker costs just before each of them, `(num_steps,)`.

    Returns:
        A speaker for each, `(num_steps,)`.
    """
    if scores.shape[1] == 1:
        return np.zeros(len(scores), np.int64)
    best = scores[0].astype(np.float64)  # over hours, sums in float32 would round off the cost of a change
    came_from = np.zeros(scores.shape, np.int64)
    stay = np.arange(scores.shape[1])
    for step in range(1, len(scores)):
        second, first = np.argsort(best)[-2:]
        other = np.where(stay == first, second, first)  # whom a change would come from
        switched = best[other] - costs[step]
        came_from[step] = np.where(switched > best, other, stay)
        best = np.maximum(best, switched) + scores[step]
    path = np.empty(len(scores), np.int64)
    path[-1] = int(best.argmax())
    for step in range(len(scores) - 1, 0, -1):
        path[step - 1] = came_from[step, path[step]]
    return path
