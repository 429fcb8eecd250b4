"""Patterns standardised by the training stimuli, in as few dimensions as those span."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Values of a block of channels to hold at a time, as float64.
BLOCK_VALUES = 2**24
# Eigenvalues of a Gram matrix below this share of the largest are rounding errors.
RANK_TOLERANCE = 1e-12


@dataclass(frozen=True)
class Coordinates:
    """Training and test patterns in the same coordinates.

    Attributes
    ----------
    train, test : float64 arrays, shape (stimulus, dimension)
    channels : int
        How many channels vary among training stimuli.
    """

    train: np.ndarray
    test: np.ndarray
    channels: int


def coordinates(patterns: np.ndarray, train: np.ndarray, test: np.ndarray) -> Coordinates:
    """Return patterns standardised by the training stimuli, rotated into what these span.

    Channels get mean 0 and variance 1 over training stimuli; those that do not vary there are
    left out; all are divided by the square root of the number of channels left, so that a
    training pattern's squared length is 1 on average. Where channels outnumber training
    stimuli, the principal axes of the training patterns replace them. Whatever depends on inner
    products with training patterns alone, as any linear readout with an L2 penalty, is the same
    in both.

    Parameters
    ----------
    patterns : ndarray, shape (stimulus, channel)
    train, test : int arrays
        Places of stimuli.
    """
    rows = np.concatenate([train, test])
    rotate = patterns.shape[1] > len(train)
    kept, gram, channels = [], np.zeros((len(rows), len(train))), 0
    size = max(1, BLOCK_VALUES // len(rows))
    for start in range(0, patterns.shape[1], size):
        block = patterns[rows, start : start + size].astype(np.float64)
        block = _standardised(block, len(train))
        channels += block.shape[1]
        if rotate:
            gram += block @ block[: len(train)].T
        else:
            kept.append(block)
    if not channels:
        # A readout of a constant says what it would without patterns.
        return Coordinates(np.zeros((len(train), 1)), np.zeros((len(test), 1)), 1)
    if rotate:
        values = _principal_coordinates(gram / channels)
    else:
        values = np.concatenate(kept, axis=1) / np.sqrt(channels)
    return Coordinates(values[: len(train)], values[len(train) :], channels)


def _standardised(block: np.ndarray, training: int) -> np.ndarray:
    mean, deviation = block[:training].mean(axis=0), block[:training].std(axis=0)
    varies = deviation > 1e-12 * np.abs(mean)
    return (block[:, varies] - mean[varies]) / deviation[varies]


def _principal_coordinates(gram: np.ndarray) -> np.ndarray:
    """Return coordinates of all rows on the principal axes of the columns' patterns.

    With G the inner products of training patterns, G = U diag(s) U^T, the axes in pattern space
    are X^T U diag(s)^(-1/2): a pattern with inner products g has the coordinates
    g U diag(s)^(-1/2).
    """
    training = gram.shape[1]
    values, vectors = np.linalg.eigh(gram[:training])
    known = values > RANK_TOLERANCE * values[-1]
    return gram @ (vectors[:, known] / np.sqrt(values[known]))
