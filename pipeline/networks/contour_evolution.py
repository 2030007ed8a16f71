r"""Contour evolution: a neural ODE moves a given contour to where the image says that it belongs.

The contour is held as a distance map phi0, positive inside and cut off at twice the narrow band s. It is the first part
of a state whose other part h begins as an embedding of the image I:

    gamma(0) = (phi0 / s, h),   h = lambda(I),   gamma' = f(gamma, t)  for t in [0, 1]                      (1)
    phi = phi0 + s (gamma_phi(1) - gamma_phi(0) + psi(gamma(1))),   segmentation {phi > 0}                  (2)

f is a U-Net (networks/node_unet.py) and psi, the postnet, a 1 x 1 convolution. Both end in a layer that starts at zero:
an untrained evolution returns phi0 bit for bit, and (2) is written as phi0 plus a change, so that the change can be
added to a contour on a finer grid as well.

phi0 is cut off because a contour can only be moved, or born, within the reach of the narrow band's loss: where phi0 is
-100, no gradient arrives. {phi0 > 0} does not depend on the cut. A distance map is smooth, so lambda looks at the
image folded 2 x 2 into channels (space to depth, exact, as in networks/distance_unet.py) and f at a state folded 4 x 4:
every pixel keeps values of its own, and an evaluation of f takes an eighth of lambda's multiply-adds.

Reference: Valle et al., Neural ODEs for Image Segmentation with Level Sets (2019), equation 3 and section 3.3. Not from
the paper: the cut, the folding, and a U-Net as lambda (the paper does not say what lambda is).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Conv
from monai.networks.nets import BasicUNet
from monai.networks.utils import pixelshuffle, pixelunshuffle
from torch import Tensor, nn

from pipeline.networks.distance_unet import DistanceUNet
from pipeline.networks.node_unet import MIDPOINT, NodeUNet
from pipeline.networks.recorded import EDGE, Recorded
from pipeline.ode.solve import Solver
from pipeline.ode.solvers import Counts

IMAGE_FOLD, STATE_FOLD = 2, 4
SMALLEST = 16 * STATE_FOLD  # f halves its grid four times
BANDS = 2.0  # phi0 is cut off at this many bands


class ContourEvolution(nn.Module):
    """Image (B, in_channels, *spatial) and initial distance (B, 1, *spatial) -> distance of the same shape, in pixels.

    embedding_features: widths of lambda, features: widths of f (BasicUNet's six numbers, multiples of 8).
    hidden: channels of h before the state is folded, on the grid of the folded image.
    band: s in (1), in pixels; the same number as the loss's.
    Spatial sizes must be multiples of 4, 64 or more (ValueError): the configuration pads or resizes to such sizes.
    """

    def __init__(
        self,
        *,
        spatial_dims: int = 2,
        in_channels: int = 1,
        embedding_features: Sequence[int] = (24, 48, 96, 192, 192, 24),
        hidden: int = 8,
        features: Sequence[int] = (24, 24, 48, 64, 64, 24),
        band: float = 4.0,
        solver: Solver = MIDPOINT,
    ) -> None:
        super().__init__()
        self.spatial_dims, self.band = spatial_dims, band
        self.cut_px = BANDS * band  # where phi0 is cut off
        self.contour = STATE_FOLD**spatial_dims  # channels that phi fills in the folded state
        state = self.contour + hidden * (STATE_FOLD // IMAGE_FOLD) ** spatial_dims
        self.embedding = BasicUNet(
            spatial_dims=spatial_dims,
            in_channels=IMAGE_FOLD**spatial_dims * in_channels,
            out_channels=hidden,
            features=embedding_features,
            norm=("group", {"num_groups": 8}),
        )
        self.flow = NodeUNet(state, spatial_dims=spatial_dims, features=features, solver=solver)
        self.postnet = Conv["conv", spatial_dims](state, self.contour, kernel_size=1)
        nn.init.zeros_(self.postnet.weight)
        nn.init.zeros_(self.postnet.bias)

    def forward(self, image: Tensor, initial: Tensor, counts: Counts | None = None) -> Tensor:
        """phi of (2); `counts` receives the evaluations of f."""
        return self.cut(initial) + self.change(image, initial, counts)

    def cut(self, distance: Tensor) -> Tensor:
        """phi0: the distance map cut off at twice the band."""
        return distance.clamp(-self.cut_px, self.cut_px)

    def change(self, image: Tensor, initial: Tensor, counts: Counts | None = None) -> Tensor:
        """phi - phi0 of (2), in pixels: exactly 0 when untrained."""
        start = self._start(image, initial)
        return self._moved(start, self.flow(start, counts))

    def trajectory(self, image: Tensor, initial: Tensor) -> tuple[list[float], Tensor]:
        """Times from 0 to 1 and phi(t) - phi0 at them, (times, B, 1, *spatial).

        (2) adds psi at the end of the road; here t psi is added on the way, so that the first is 0 and the last (2).
        """
        start = self._start(image, initial)
        times, states = self.flow.trajectory(start)
        return times, torch.stack([self._moved(start, state, t) for t, state in zip(times, states, strict=True)])

    def _start(self, image: Tensor, initial: Tensor) -> Tensor:
        """gamma(0), folded: (B, channels of phi and h, *spatial / 4)."""
        if image.shape[2:] != initial.shape[2:] or any(n % STATE_FOLD or n < SMALLEST for n in image.shape[2:]):
            raise ValueError(
                f"image {tuple(image.shape)} and initial {tuple(initial.shape)} must be of one size, in multiples of "
                f"{STATE_FOLD} and at least {SMALLEST}: pad them"
            )
        contour = pixelunshuffle(self.cut(initial) / self.band, self.spatial_dims, STATE_FOLD)
        embedded = self.embedding(pixelunshuffle(image, self.spatial_dims, IMAGE_FOLD))
        embedded = pixelunshuffle(embedded, self.spatial_dims, STATE_FOLD // IMAGE_FOLD)
        return torch.cat([contour, embedded.to(contour)], dim=1)

    def _moved(self, start: Tensor, state: Tensor, t: float = 1.0) -> Tensor:
        moved = (state - start)[:, : self.contour] + t * self.postnet(state)
        return self.band * pixelshuffle(moved, self.spatial_dims, STATE_FOLD)


class EvolvedRegression(Recorded):
    """A regressor's contour, or somebody else's, evolved: the whole method of the paper as one network.

    The regressor is no part of what is trained: its weights need no gradient.
    """

    def __init__(self, *, regressor: DistanceUNet, evolution: ContourEvolution) -> None:
        super().__init__()
        self.regressor, self.evolution = regressor.requires_grad_(False), evolution
        self.example_shape = (1, regressor.in_channels, EDGE, EDGE)

    def forward(self, image: Tensor, initial: Tensor | None = None) -> Tensor:
        """(B, 1, H, W) -> evolved distance (B, 1, H, W); `initial` (B, 1, H, W) takes the regressor's place."""
        return self.evolution(image, self.regressor(image) if initial is None else initial)

    def start_from(self, regressor_weights: dict[str, Tensor]) -> EvolvedRegression:
        """Load a trained regressor, and let the embedding begin as its features; the evolution stays the identity.

        The embedding's last layer has channels of its own and keeps its random start.
        """
        self.regressor.load_state_dict(regressor_weights)
        features = {k: v for k, v in self.regressor.unet.state_dict().items() if not k.startswith("final_conv")}
        self.evolution.embedding.load_state_dict(features, strict=False)
        return self
