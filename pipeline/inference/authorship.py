"""What made labels, for the formats that record it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.io.segments import Authorship

if TYPE_CHECKING:
    from pipeline.inference.segmenter import Prompt, Segmenter


def author(segmenter: Segmenter, prompt: Prompt | None) -> Authorship:
    """The bundle with its weights; what somebody has prompted is not automatic."""
    return Authorship(
        algorithm=segmenter.name,
        version=segmenter.version,
        weights_sha256=segmenter.weights_sha256,
        segments=segmenter.segments,
        automatic=prompt is None,
    )
