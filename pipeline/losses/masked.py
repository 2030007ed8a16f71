"""A loss over the pixels that count: those of the picture, not those that a crop larger than it was padded with.

    L(p, [q, m]) = L(p, q) over the pixels where m is 1                                                     (1)

The mask m travels as the last channel of the target, since a trainer hands a loss two tensors and no more.
"""

from __future__ import annotations

from torch import Tensor, nn


class Masked(nn.Module):
    """(1): prediction (B, C, *spatial) against target (B, C + 1, *spatial), the mask last.

    loss: takes prediction, target and mask (losses/narrow_band.py).
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """ValueError: the target does not have one channel more than the prediction."""
        if target.shape[1] != prediction.shape[1] + 1:
            raise ValueError(
                f"target {tuple(target.shape)} must have one channel more than prediction {tuple(prediction.shape)}, "
                "the mask of the pixels that count"
            )
        return self.loss(prediction, target[:, :-1], target[:, -1:])
