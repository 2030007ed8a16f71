"""Star-shaped soft threshold dynamics: adjoints, stable steps, convergence of both schemes, objects, other priors."""

import pytest
import torch

from pipeline.layers.soft_threshold_dynamics import SoftThresholdDynamics
from pipeline.layers.star_shape import StarShape, _momentum
from pipeline.layers.volume_preserving import VolumePreserving

SCHEMES = pytest.mark.parametrize("scheme", ["parent", "forward"])
SIDES = pytest.mark.parametrize(("sides", "center"), [((12, 10), (5.0, 4.3)), ((6, 7, 5), (2.0, 3.0, 2.2))])


def noise(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def layer(dims=2, scheme="parent", labels=(1,), **settings):
    return StarShape(SoftThresholdDynamics(spatial_dims=dims, **settings), scheme=scheme, labels=labels)


def pacman(side=32, radius=11.0):
    """Logits of a noisy disc with a bite and a satellite, and its centre."""
    y, x = torch.meshgrid(*[torch.arange(side, dtype=torch.float64)] * 2, indexing="ij")
    c = side // 2
    inside = (((y - c) ** 2 + (x - c) ** 2) < radius**2) & ~(((y - c).abs() < 3) & (x > c + 4) & (x < c + 8))
    inside |= ((y - 3) ** 2 + (x - 3) ** 2) < 6
    foreground = torch.where(inside, 1.0, -1.0) + 0.3 * noise(side, side)
    return torch.stack([torch.zeros_like(foreground), foreground])[None], torch.tensor([[float(c), float(c)]])


@SCHEMES
@SIDES
def test_the_two_halves_of_the_constraint_are_adjoint(scheme, sides, center):
    u, q = noise(2, 1, *sides), noise(2, 1, *sides, seed=1)
    star = layer(len(sides), scheme, labels=(0,))
    rays = star._rays(u, torch.tensor([center, (*center[:-1], 1.0)]))
    torch.testing.assert_close((rays.rise(u) * q).sum(), (u * rays.adjoint(q)).sum())


@SCHEMES
@SIDES
def test_the_step_is_stable(scheme, sides, center):
    # The dual's second derivative is at most A A^T / (4 eps); a plain step must not exceed 2 over it, an accelerated 1.
    star, u = layer(len(sides), scheme, labels=(0,), entropy=0.3), noise(1, 1, *sides)
    rays = star._rays(u, torch.tensor([center]))
    for _ in range(200):
        u = rays.step**0.5 * rays.rise(rays.adjoint(rays.step**0.5 * u))
        norm = u.norm().item()
        u = u / norm
    assert norm / (4 * 0.3) <= (1.0 if scheme == "parent" else 2.0) + 1e-9
    assert norm / (4 * 0.3) > 0.5


def test_the_published_step_is_the_entropy_in_two_dimensions():
    star = layer(2, "forward", labels=(0,), entropy=0.3)
    assert star._rays(noise(1, 1, 9, 9), torch.tensor([[4.0, 4.0]])).step == pytest.approx(0.3)


@SCHEMES
def test_a_star_shaped_input_is_left_as_the_dynamics_leave_it(scheme):
    y, x = torch.meshgrid(*[torch.arange(15, dtype=torch.float64)] * 2, indexing="ij")
    cone = 2 - torch.maximum((y - 7).abs(), (x - 7).abs()) / 3
    logits = torch.stack([torch.zeros_like(cone), cone])[None]
    star = layer(scheme=scheme, weight=0.0, iterations=5)
    torch.testing.assert_close(star(logits, torch.tensor([[7.0, 7.0]])), logits)


def test_the_first_published_iteration_is_as_printed():
    logits, center, eps = noise(1, 2, 8, 8), torch.tensor([[3.0, 4.0]]), 0.4
    star = layer(scheme="forward", entropy=eps, weight=0.7, iterations=1)
    rays, u = star._rays(logits, center), (logits / eps).softmax(dim=1)
    q = (-eps * rays.rise(u[:, 1:])).clamp(min=0)  # max(q - tau s . grad u, 0) from q = 0
    pushed = torch.cat([torch.zeros_like(q), rays.adjoint(q)], dim=1)
    torch.testing.assert_close(star(logits, center), (logits - star.dynamics.tangent(u) + pushed) / eps)


def test_the_tree_reaches_a_star_that_the_published_scheme_is_far_from():
    logits, center = pacman()
    settings = {"entropy": 0.2, "weight": 0.3, "sigma": 2.0}
    violated, slack = {}, {}
    for scheme, iterations in (("parent", 0), ("forward", 50), ("parent", 200)):
        star = layer(scheme=scheme, iterations=iterations, **settings)
        u = star(logits, center).softmax(dim=1)
        violated[scheme, iterations] = star.rays_violated(u, center).item()
        slack[scheme, iterations] = star.slack(u, center).item()
    assert violated["parent", 0] > 0.03 and slack["parent", 0] < -0.5
    assert violated["parent", 200] <= 0.005 and slack["parent", 200] > -5e-3
    assert slack["forward", 50] < -0.02


def test_momentum_grows_by_nesterovs_rule_and_starts_anew_after_a_step_uphill():
    moved, age = torch.ones(2, 1, 3, 3), torch.full((2, 1), 2.0)
    uphill = torch.stack([-moved[0], moved[0]])
    factor, older = _momentum(uphill, moved, age)
    grown = (1 + (1 + 4 * 2.0**2) ** 0.5) / 2
    assert older.flatten().tolist() == pytest.approx([grown, 1.0])
    assert factor.flatten().tolist() == pytest.approx([(2.0 - 1) / grown, 0.0])


def test_at_convergence_the_multiplier_is_complementary_to_the_slope():
    # Without the boundary's length the problem is convex: u is optimal, hence (o - eps ln u) = -A^T q up to a constant.
    logits, center = noise(1, 2, 9, 9), torch.tensor([[4.0, 4.0]])
    star = layer(weight=0.0, entropy=0.7, iterations=2000)
    u = star(logits, center).softmax(dim=1)
    assert star.slack(u, center).item() > -1e-6
    pushed = 0.7 * (u[:, 1] / u[:, 0]).log() - (logits[:, 1] - logits[:, 0])  # A^T q
    torch.testing.assert_close((pushed * u[:, 1]).sum(), torch.zeros((), dtype=torch.float64), rtol=0, atol=1e-5)
    assert pushed.abs().max() > 0.1


@SIDES
@pytest.mark.parametrize("classes", [2, 3])
def test_in_any_dimension_the_slope_becomes_right(sides, center, classes):
    logits, centers = noise(2, classes, *sides), torch.tensor([center, center])
    star = layer(len(sides), entropy=0.5, weight=0.4, iterations=300)
    u = star(logits, centers).softmax(dim=1)
    assert (star.slack((logits / 0.5).softmax(dim=1), centers) < -0.3).all() and (star.slack(u, centers) > -5e-3).all()


def test_two_classes_and_two_objects_have_centres_of_their_own():
    centers = torch.tensor([[[[3.0, 3.0], [9.0, 12.0]], [[9.0, 3.0], [torch.nan, torch.nan]]]])
    star = layer(labels=(1, 2), entropy=0.5, weight=0.2, iterations=300)
    logits = noise(1, 3, 12, 16)
    u = star(logits, centers).softmax(dim=1)
    assert star.slack(u, centers).shape == (1, 2) and (star.slack(u, centers) > -5e-3).all()
    permuted = layer(labels=(2, 0), entropy=0.5, weight=0.2, iterations=300)(logits[:, [2, 0, 1]], centers)
    torch.testing.assert_close(permuted.softmax(dim=1), u[:, [2, 0, 1]])


@SCHEMES
def test_where_there_is_no_object_there_is_no_constraint(scheme):
    logits, centers = noise(2, 2, 9, 9), torch.tensor([[4.0, 4.0], [torch.nan, torch.nan]])
    star = layer(scheme=scheme, entropy=0.3)
    found = star(logits, centers).softmax(dim=1)
    plain = star.dynamics(logits).softmax(dim=1)
    torch.testing.assert_close(found[1], plain[1])
    assert not torch.allclose(found[0], plain[0])


def test_star_volume_and_boundary_act_together():
    logits, center = pacman()
    lo, hi = torch.tensor([0.0, 290.0]), torch.tensor([1024.0, 300.0])
    star = layer(entropy=0.2, weight=0.3, sigma=2.0, iterations=300)
    u = star(logits, center, lo, hi).softmax(dim=1)
    assert VolumePreserving(star.dynamics).volume_error(u, lo, hi).item() < 1e-6
    assert star.slack(u, center).item() > -5e-3
    assert star(logits, center).softmax(dim=1)[:, 1].sum() > 310


def test_a_turned_image_has_the_turned_result():
    logits, star = noise(1, 2, 9, 9), layer(entropy=0.3, iterations=20)
    center = torch.tensor([[4.0, 4.0]])
    torch.testing.assert_close(star(logits.rot90(1, (2, 3)), center), star(logits, center).rot90(1, (2, 3)))


@SCHEMES
def test_the_gradient_is_right(scheme):
    logits, center = noise(1, 2, 6, 6).requires_grad_(), torch.tensor([[2.0, 3.0]])
    star = layer(scheme=scheme, entropy=0.5, weight=0.4, iterations=4)
    assert torch.autograd.gradcheck(lambda o: star(o, center), logits)


def test_under_autocast_it_computes_in_float32():
    logits, center, star = noise(1, 2, 9, 9).float(), torch.tensor([[4.0, 4.0]]), layer(entropy=0.1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = star(logits, center)
    assert found.dtype == torch.float32 and torch.equal(found, star(logits, center))


@pytest.mark.parametrize("shape", [(2, 2), (1, 3), (1, 2, 2), (2,)])
def test_centres_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"must be \(B, n\) for one label"):
        layer()(noise(1, 2, 9, 9), torch.zeros(shape))


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"scheme": "upwind"}, "scheme is 'upwind'"), ({"labels": (1, 1)}, "each once"), ({"labels": ()}, "each once")],
)
def test_a_setting_outside_its_rule_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        layer(**settings)


def test_half_an_interval_is_refused():
    with pytest.raises(ValueError, match="at_most is given without at_least"):
        layer()(noise(1, 2, 9, 9), torch.zeros(1, 2), at_most=torch.tensor([81.0, 9.0]))


def test_a_label_that_is_no_channel_is_refused():
    with pytest.raises(ValueError, match="each label a channel"):
        layer(labels=(2,))(noise(1, 2, 9, 9), torch.zeros(1, 2))
