"""Several networks answer as the mean of their answers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pipeline.inference.ensemble import Ensemble


def test_an_ensemble_gives_the_mean_of_its_networks_answers():
    networks = [nn.Linear(3, 2) for _ in range(3)]
    given = torch.randn(5, 3)
    expected = torch.stack([network(given) for network in networks]).mean(dim=0)
    torch.testing.assert_close(Ensemble(networks)(given), expected)


def test_no_network_is_no_ensemble():
    with pytest.raises(ValueError, match="one at least"):
        Ensemble([])
