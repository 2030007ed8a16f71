"""torch.jit.script of our networks: the same answer, for other sizes and batches than those of the example."""

import pytest
import torch
from monai.networks.nets import BasicUNet

from pipeline.errors import InputError
from pipeline.networks.continuous_unet import ContinuousUNet
from pipeline.networks.contour_evolution import ContourEvolution, EvolvedRegression
from pipeline.networks.distance_unet import DistanceUNet
from pipeline.networks.folded import Folded
from pipeline.ode.solve import Solver

NARROW = (16, 16, 16, 16, 16, 16)


def evolved() -> EvolvedRegression:
    evolution = ContourEvolution(embedding_features=NARROW, features=NARROW, hidden=1)
    torch.nn.init.normal_(evolution.postnet.weight)  # an untrained evolution returns its start
    return EvolvedRegression(regressor=DistanceUNet(features=NARROW), evolution=evolution)


def folded() -> Folded:
    network = ContinuousUNet(spatial_dims=3, in_channels=2, out_channels=2, filters=(2, 2))
    return Folded(network, factors=(2, 1, 1))


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: ContinuousUNet(filters=(3, 4, 5)), (2, 3, 9, 14)),
        (folded, (2, 1, 6, 5, 3)),
        (evolved, (2, 1, 72, 104)),  # grids of odd sizes on the way down, which the example has not
        (lambda: DistanceUNet(features=NARROW), (2, 1, 34, 50)),
    ],
)
def test_what_torch_scripts_answers_as_the_network_does(make, shape):
    torch.manual_seed(0)
    network = make().eval()
    image = torch.randn(shape)
    with torch.no_grad():
        wanted = network(image)
        assert wanted.std() > 0
        torch.testing.assert_close(torch.jit.script(network)(image), wanted)


def test_the_network_itself_stays_as_it_was():
    network = evolved()
    torch.jit.script(network)
    assert type(network.regressor.unet) is BasicUNet


def test_steps_chosen_by_the_image_are_refused():
    with pytest.raises(InputError, match="fixed grid"):
        torch.jit.script(ContinuousUNet(filters=(3, 4), solver=Solver(method="dopri5")))
