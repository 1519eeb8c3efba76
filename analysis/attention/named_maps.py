"""The maps of a layer by the names that they have in tables."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from beholder.analysis.results.map_names import head_name
from beholder.shared.errors import WeightsError


def named_maps(
    heads: NDArray[np.float32], rollout: NDArray[np.float32] | None = None
) -> dict[str, NDArray[np.float64]]:
    """The maps of a layer by name: `head-01` and so on, `mean`, and `rollout` where there is one.

    heads: (heads, rows, columns) as the model gave them. Each map is (rows, columns), not negative, and sums to one
    over the patches. `mean` averages the heads' attention before it is divided by its sum, so that a head counts by
    the mass that it gives to patches. Raises WeightsError where a head gives the patches no mass at all.
    """
    raw = {head_name(number): np.asarray(head, np.float64) for number, head in enumerate(heads, start=1)}
    raw["mean"] = np.asarray(heads, np.float64).mean(axis=0)
    if rollout is not None:
        raw["rollout"] = np.asarray(rollout, np.float64)
    for name, values in raw.items():
        if not values.sum() > 0:
            raise WeightsError(f"{name} gives no patch any attention: check the model's weights.")
    return {name: values / values.sum() for name, values in raw.items()}
