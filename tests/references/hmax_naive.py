"""HMAX by the conventions of the maxlab code, written as plainly as possible.

Everything is a loop over windows in double precision: slow, and independent of how the package
computes. Arrays are (orientation, row, column).
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

TURNS = (90, -45, 0, 45)


def gabor(size, degrees):
    """One filter by the formula, pixel by pixel."""
    k = (size - 7) // 2
    wavelength = 2 * size / (4 - 0.05 * k)
    sigma = 0.8 * wavelength
    half = size // 2
    theta = np.deg2rad(degrees)
    weights = np.zeros((size, size))
    for y in range(-half, half + 1):
        for x in range(-half, half + 1):
            if np.hypot(x, y) > size / 2:
                continue
            rotated_x = x * np.cos(theta) - y * np.sin(theta)
            rotated_y = x * np.sin(theta) + y * np.cos(theta)
            envelope = np.exp(-(rotated_x**2 + 0.3**2 * rotated_y**2) / (2 * sigma**2))
            weights[y + half, x + half] = envelope * np.cos(2 * np.pi * rotated_x / wavelength)
    weights -= weights.mean()
    return weights / np.sqrt((weights**2).sum())


def s1(grey, size):
    """'Same' filtering, magnitude over the window's norm, asymmetric border set to zero."""
    half = size // 2
    windows = sliding_window_view(np.pad(grey, half), (size, size))
    norm = np.sqrt((windows**2).sum(axis=(2, 3)))
    norm[norm == 0] = 1
    maps = []
    for turn in TURNS:
        response = np.abs(np.einsum("yxab,ab->yx", windows, gabor(size, turn))) / norm
        response[: (size + 1) // 2] = 0
        response[:, : (size + 1) // 2] = 0
        response[response.shape[0] - (size - 1) // 2 :] = 0
        response[:, response.shape[1] - (size - 1) // 2 :] = 0
        maps.append(response)
    return np.stack(maps)


def c1(grey, band):
    """Maximum over two sizes; pooling padded by half a window, shifted by one, last line zero."""
    small, pool = 4 * band + 3, 2 * band + 6
    strongest = np.maximum(s1(grey, small), s1(grey, small + 2))
    step = pool // 2
    padded = np.pad(strongest, ((0, 0), (step, step), (step, step)), constant_values=-np.inf)
    rows = (padded.shape[1] - pool) // step + 1
    columns = (padded.shape[2] - pool) // step + 1
    pooled = np.zeros((len(strongest), rows, columns))
    for row in range(rows):
        for column in range(columns):
            y, x = row * step, column * step
            pooled[:, row, column] = padded[:, y : y + pool, x : x + pool].max(axis=(1, 2))
    pooled = np.roll(pooled, (-1, -1), axis=(1, 2))
    pooled[:, -1] = 0
    pooled[:, :, -1] = 0
    return pooled


def s2(maps, patches):
    """Euclidean distance of every patch (unit, orientation, n, n) to every window, zero padded."""
    size = patches.shape[-1]
    before, after = (size - 1) // 2, size // 2
    padded = np.pad(maps, ((0, 0), (before, after), (before, after)))
    distances = np.zeros((len(patches), *maps.shape[1:]))
    for unit, patch in enumerate(patches):
        for row in range(maps.shape[1]):
            for column in range(maps.shape[2]):
                window = padded[:, row : row + size, column : column + size]
                distances[unit, row, column] = np.sqrt(((window - patch) ** 2).sum())
    return distances


def c2(all_maps, patches):
    """The smallest distance over positions and bands."""
    return np.min([s2(maps, patches).min(axis=(1, 2)) for maps in all_maps], axis=0)
