"""The neocognitron written down as slowly and as plainly as its equations, in float64."""

import math

import numpy as np


def gaussian_disc(radius: float, spread: float) -> dict[tuple[int, int], float]:
    """Return the weight of each (row, column) offset within a circle."""
    reach = math.floor(radius)
    weights = {}
    for row in range(-reach, reach + 1):
        for column in range(-reach, reach + 1):
            if math.hypot(row, column) <= radius:
                weights[row, column] = math.exp(-(row**2 + column**2) / (2 * spread**2))
    total = sum(weights.values())
    return {offset: weight / total for offset, weight in weights.items()}


def at(plane: np.ndarray, row: int, column: int) -> float:
    """Return a cell's response; beyond the border there are only silent cells."""
    inside = 0 <= row < plane.shape[0] and 0 <= column < plane.shape[1]
    return float(plane[row, column]) if inside else 0.0


def contrast(image: np.ndarray, radius: float, centre: float, surround: float) -> np.ndarray:
    """Return (2, height, width) on- and off-centre responses to (height, width)."""
    inner, outer = gaussian_disc(radius, centre), gaussian_disc(radius, surround)
    weights = {offset: inner[offset] - outer[offset] for offset in inner}
    positive = sum(weight for weight in weights.values() if weight > 0)
    height, width = image.shape
    found = np.zeros((2, height, width))
    for row in range(height):
        for column in range(width):
            total = 0.0
            for (down, right), weight in weights.items():
                near = min(max(row + down, 0), height - 1), min(max(column + right, 0), width - 1)
                total += weight / positive * image[near]
            found[:, row, column] = max(total, 0), max(-total, 0)
    return found


def v_cell(inputs: np.ndarray, row: int, column: int, window: dict) -> float:
    """Return v at a place of (plane, height, width)."""
    energy = 0.0
    for (down, right), weight in window.items():
        for plane in inputs:
            energy += weight * at(plane, row + down, column + right) ** 2
    return math.sqrt(energy)


def s_cell(
    inputs: np.ndarray,
    stored: np.ndarray,
    row: int,
    column: int,
    window: dict,
    gain: float,
    theta: float,
) -> float:
    """Return one S-cell's response (2003) to (plane, height, width); stored as one feature."""
    reach = stored.shape[-1] // 2
    excitation, norm = 0.0, 0.0
    for (down, right), weight in window.items():
        for plane, kept in zip(inputs, stored, strict=True):
            a = gain * weight * kept[reach + down, reach + right]
            excitation += a * at(plane, row + down, column + right)
            norm += a**2 / weight
    inhibition = math.sqrt(norm) * v_cell(inputs, row, column, window)
    ratio = (1 + excitation) / (1 + theta * inhibition)
    return theta / (1 - theta) * max(ratio - 1, 0)


def c_cell_input(plane: np.ndarray, row: int, column: int, window: dict) -> float:
    """Return what a C-cell sums from its S-plane (height, width)."""
    return sum(
        w * at(plane, 2 * row + down, 2 * column + right) for (down, right), w in window.items()
    )


def c_layer_2003(responses: np.ndarray, window: dict) -> np.ndarray:
    """Return the C-planes of S-planes (plane, height, width), half as many rows and columns."""
    planes, height, width = responses.shape
    found = np.zeros((planes, -(-height // 2), -(-width // 2)))
    for place in np.ndindex(found.shape):
        found[place] = math.sqrt(max(c_cell_input(responses[place[0]], *place[1:], window), 0))
    return found


def c_layer_1980(responses: np.ndarray, window: dict, alpha: float = 0.5) -> np.ndarray:
    """Likewise, with inhibition by the mean over the planes and saturation."""
    planes, height, width = responses.shape
    found = np.zeros((planes, -(-height // 2), -(-width // 2)))
    for row in range(found.shape[1]):
        for column in range(found.shape[2]):
            sums = [c_cell_input(plane, row, column, window) for plane in responses]
            mean = sum(sums) / planes
            for number, total in enumerate(sums):
                x = max((1 + total) / (1 + mean) - 1, 0)
                found[number, row, column] = x / (alpha + x)
    return found


def seed_cells(responses: np.ndarray, reach: int) -> list[tuple[int, int, int]]:
    """Return the seeds among S-cells (plane, height, width): at most one a plane, by plane."""
    planes, height, width = responses.shape
    chosen = {}
    for plane in range(planes):
        for row in range(height):
            for column in range(width):
                value = responses[plane, row, column]
                column_of_cells = responses[
                    :,
                    max(row - reach, 0) : row + reach + 1,
                    max(column - reach, 0) : column + reach + 1,
                ]
                if value > 0 and value == column_of_cells.max():
                    best = chosen.get(plane)
                    if best is None or value > responses[(plane, *best)]:
                        chosen[plane] = (row, column)
    return [(plane, *place) for plane, place in sorted(chosen.items())]
