"""The labels of a paired organ that a network finds as one: left and right, on the image's own grid."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.io.orientation import canonical
from pipeline.io.volume import Volume
from pipeline.numerics.sides import left_and_right

SIDE_UNSURE = "SIDE_UNSURE"  # the flag of a result: a part lies near the plane between left and right
NEAR_MM = 10.0


@dataclass(frozen=True, kw_only=True)
class Sides:
    """Tells left from right (numerics/sides.py). body_above: the image's values of the body lie above this."""

    body_above: float

    def __call__(self, image: Volume, labels: Volume) -> tuple[str, ...]:
        """Set the voxels of the only label of `labels` to left or right, in place; the flags of the result.

        Both volumes are on one grid, in any order of axes.
        """
        view = canonical(labels).array  # a view: what is written here is written there
        scan = canonical(image)
        view[...], distance = left_and_right(view > 0, scan.array, body_above=self.body_above)
        return (SIDE_UNSURE,) if distance * scan.spacing_mm[0] < NEAR_MM else ()
