r"""Soft threshold dynamics: softmax with a short boundary, the minimiser of an energy instead of a formula per pixel.

    E(u) = -<o, u> + eps <u, ln u> + lambda <s u, K(s (1 - u))>,   u(x) in the simplex at every pixel        (1)

o are the logits, K the convolution with a small Gaussian (pipeline/numerics/kernels.py) and s = sqrt(e), where the edge
weight e(x) in [0, 1] is small on the image's edges (1 when none is given). The last term is a length of the boundary.
(1) is minimised by

    u <- softmax((o - p) / eps),   p = lambda s K(s (1 - 2 u))                                              (2)

T times, started from softmax(o / eps): each step replaces the last term by its tangent plane. With d = u+ - u,

    E(u+) - E(u) = -eps KL(u || u+) - lambda <s d, K(s d)>                                                  (3)

exactly, and KL >= |d|^2. So no step raises E when eps >= lambda max(e) max(0, -mu), mu the least eigenvalue of K:
always for kernel="psd", from eps = 0.197 lambda on for the published kernel. Below that a pattern of period 5 raises
it. For eps > lambda the fixed point is unique; else the start decides, and a gradient can grow by lambda / eps a step.

The paper has <e u, K(1 - u)>, which is not concave for every e even where K is psd; the form in (1) is, and the two are
the same for a constant e. Beyond the border 1 - 2 u is taken as 0, "no opinion" (padding="zero"), or mirrored.

Reference: Liu, Wang, Tai, Deep Convolutional Neural Networks with Spatial Regularization, Volume and Star-shape Priori
for Image Segmentation, section 3.3, algorithm 1 (T = 10; lambda, eps = 1, 1 on Cityscapes and 0.75, 0.1 on ISIC).
"""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor, nn

from pipeline.numerics.differences import gradient
from pipeline.numerics.kernels import Padding, Shape, blur, kernel_taps, least_eigenvalue


class SoftThresholdDynamics(nn.Module):
    """Logits (B, C, *spatial), C >= 2, to logits whose softmax is the regularised segmentation u.

    sigma, kernel_size: of K, in pixels; kernel: "gaussian" as published, "psd" where E must fall for every entropy.
    weight: lambda; 0 returns the logits divided by eps. entropy: eps > 0; the smaller, the harder u.
    iterations: T. The result is float32 (float64 from float64) also under autocast.
    ValueError: a setting outside its rule, logits of another rank, of one channel or not finite.
    """

    def __init__(
        self,
        *,
        spatial_dims: int,
        sigma: float = 5.0,
        kernel_size: int = 7,
        kernel: Shape = "gaussian",
        padding: Padding = "zero",
        weight: float = 1.0,
        entropy: float = 1.0,
        iterations: int = 10,
    ) -> None:
        super().__init__()
        if spatial_dims not in (2, 3):
            raise ValueError(f"spatial_dims is {spatial_dims!r}, it must be 2 or 3")
        for name, value, choices in (("kernel", kernel, get_args(Shape)), ("padding", padding, get_args(Padding))):
            if value not in choices:
                raise ValueError(f"{name} is {value!r}, it must be one of {', '.join(choices)}")
        if not (weight >= 0 and entropy > 0):
            raise ValueError(f"weight {weight} must not be negative, and entropy {entropy} must be positive")
        if not isinstance(iterations, int) or iterations < 0:
            raise ValueError(f"iterations is {iterations!r}, it must be a whole number, 0 or more")
        self.spatial_dims, self.padding, self.weight, self.entropy = spatial_dims, padding, weight, entropy
        self.iterations = iterations
        self.taps = kernel_taps(kernel_size, sigma, kernel)

    @property
    def least_entropy(self) -> float:
        """The entropy from which on no step can raise the energy (3), for e <= 1."""
        return self.weight * max(0.0, -least_eigenvalue(self.taps, self.spatial_dims))

    def forward(self, logits: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        """edge_weight: e, (B, 1, *spatial), see the function `edge_weight`."""
        o = self.checked(logits)
        if o.shape[1] == 2:
            return self._two_classes(o, edge_weight)
        scores = o / self.entropy
        for _ in range(self.iterations):
            p = self.tangent(scores.softmax(dim=1), edge_weight)
            scores = (o - p) / self.entropy  # (2)
        return scores

    def tangent(self, u: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        """p of (2), the gradient of the boundary's length: (B, C, *spatial)."""
        return self.weight * self._smoothed(1 - 2 * u, edge_weight)

    def energy(self, u: Tensor, logits: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        """E(u) of (1), (B,), of probabilities u that sum to 1 over the channels."""
        length = u * self._smoothed(1 - u, edge_weight)
        return (-logits * u + self.entropy * torch.xlogy(u, u) + self.weight * length).flatten(1).sum(dim=1)

    def checked(self, logits: Tensor) -> Tensor:
        """The logits in full precision, or the ValueError that the class names."""
        if logits.dim() != self.spatial_dims + 2:
            raise ValueError(
                f"logits {tuple(logits.shape)} are not (B, C, *spatial) of spatial_dims={self.spatial_dims}"
            )
        if logits.shape[1] < 2:
            raise ValueError("logits have one channel, but classes compete for a pixel: add one for the background")
        if not torch.compiler.is_exporting() and not logits.isfinite().all():  # a recorded graph cannot ask
            raise ValueError(
                "logits hold inf or nan, which the boundary would spread: clamp them, or mend the training"
            )
        return logits.to(torch.promote_types(logits.dtype, torch.float32))

    def _two_classes(self, o: Tensor, edge_weight: Tensor | None) -> Tensor:
        # (2) for the difference of the two logits, which is all that softmax sees: half the work.
        difference = o[:, 1:] - o[:, :1]
        scores = difference / self.entropy
        for _ in range(self.iterations):
            w = 2 * scores.sigmoid() - 1  # u_1 - u_0
            scores = (difference + 2 * self.weight * self._smoothed(w, edge_weight)) / self.entropy
        return torch.cat([-scores / 2, scores / 2], dim=1)

    def _smoothed(self, u: Tensor, edge_weight: Tensor | None) -> Tensor:
        """s K(s u)."""
        if edge_weight is None:
            return blur(u, self.taps, self.padding)
        s = edge_weight.to(u).sqrt()
        return s * blur(s * u, self.taps, self.padding)


def edge_weight(image: Tensor, steepness: float = 10.0) -> Tensor:
    """e = 1 / (1 + steepness |grad v|), (B, 1, *spatial), of images v (B, C, *spatial), each scaled to [0, 1].

    steepness: in pixels; with 10, a step over the image's whole range weighs 1 / 11. A constant image gives 1.
    """
    low, high = image.flatten(1).aminmax(dim=1)
    low, spread = (b.view(-1, *[1] * (image.dim() - 1)) for b in (low, high - low))
    scaled = (image - low) / torch.where(spread > 0, spread, 1.0)
    return 1 / (1 + steepness * gradient(scaled).square().sum(dim=(0, 2)).sqrt().unsqueeze(1))
