"""Inverse evolution: amplification mode by mode, the inverse of a backward Euler step, curvature of discs, refusals."""

import logging
import math

import pytest
import torch
from torch.nn import functional as F

from pipeline.layers.inverse_evolution import CurvatureMotion, HeatFlow, InverseEvolution
from pipeline.numerics.differences import laplacian

BOTH = pytest.mark.parametrize("evolution", [HeatFlow(), CurvatureMotion(eps=0.3)], ids=["heat", "curvature"])
LINEAR = pytest.mark.parametrize(
    ("evolution", "shape"),
    [
        (HeatFlow(), (2, 3, 8, 7)),
        (HeatFlow(border="zero"), (2, 3, 8, 7)),
        (HeatFlow(border="periodic"), (2, 3, 8, 7)),
        (HeatFlow(spatial_dims=3, scale="printed"), (1, 2, 5, 4, 6)),
    ],
    ids=["neumann", "zero", "periodic", "3d"],
)


def noise(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def stack(evolution, *, layers=20, step=0.1):
    return InverseEvolution(evolution, layers=layers, step=step).train()


def mode(shape, frequencies, *, phase):
    """The product over the axes of cos(k (x + phase)), (1, 1, *shape)."""
    waves = [
        torch.cos(k * (torch.arange(n, dtype=torch.float64) + phase)) for n, k in zip(shape, frequencies, strict=True)
    ]
    grids = torch.meshgrid(*waves, indexing="ij")
    return torch.stack(grids).prod(0)[None, None]


def closed_form(frequencies, *, scale, layers, step):
    """(1 + dt c sum (2 - 2 cos k))^layers."""
    return (1 + step * scale * sum(2 - 2 * math.cos(k) for k in frequencies)) ** layers


@pytest.mark.parametrize("border", ["neumann", "periodic"])
@pytest.mark.parametrize(("shape", "numbers"), [((8, 10), (0, 0)), ((8, 10), (3, 4)), ((8, 6, 4), (7, 2, 3))])
@pytest.mark.parametrize(("scale", "c"), [("normalised", None), ("printed", 1.0)])
def test_each_cosine_is_amplified_by_its_closed_form(border, shape, numbers, scale, c):
    turn, phase = (math.pi, 0.5) if border == "neumann" else (2 * math.pi, 0.0)
    frequencies = [turn * n / size for n, size in zip(numbers, shape, strict=True)]
    wave = mode(shape, frequencies, phase=phase)
    evolution = HeatFlow(spatial_dims=len(shape), scale=scale, border=border)
    factor = closed_form(frequencies, scale=c or 1 / (2 * len(shape)), layers=5, step=0.2)
    torch.testing.assert_close(stack(evolution, layers=5, step=0.2)(wave), factor * wave, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_gain_is_that_of_a_chessboard(dims):
    board = mode((4,) * dims, (math.pi,) * dims, phase=0.0)
    layers = stack(HeatFlow(spatial_dims=dims, border="periodic"))
    torch.testing.assert_close(layers(board), layers.gain * board, rtol=1e-12, atol=0)
    assert layers.gain == pytest.approx(1.2**20)


def test_the_printed_stencil_is_four_times_the_authors_code():
    u = noise(1, 1, 6, 7)
    code = torch.tensor([[0, 0.25, 0], [0.25, -1, 0.25], [0, 0.25, 0]], dtype=torch.float64)[None, None]
    as_in_code = F.conv2d(u, code, padding=1)
    torch.testing.assert_close(HeatFlow(border="zero")(u), as_in_code)
    torch.testing.assert_close(HeatFlow(border="zero", scale="printed")(u), 4 * as_in_code)


def test_twenty_printed_layers_amplify_by_1e5_and_the_authors_by_38():
    printed = InverseEvolution(HeatFlow(scale="printed"))
    assert printed.gain == pytest.approx(1.8**20) and 1e5 < printed.gain < 2e5
    assert 38 < InverseEvolution(HeatFlow()).gain < 39


def test_zeros_beyond_the_border_amplify_constant_logits_there_and_neumann_leaves_them():
    flat = torch.ones(1, 2, 64, 64, dtype=torch.float64)
    torch.testing.assert_close(stack(HeatFlow())(flat), flat, rtol=0, atol=0)
    assert stack(HeatFlow(scale="printed", border="zero"))(flat).abs().max() > 500


@BOTH
@pytest.mark.parametrize("shape", [(2, 1, 5, 6), (1, 3, 1, 9), (1, 2, 1, 1)], ids=["one class", "a row", "a pixel"])
def test_constant_logits_stay_as_they_are_however_narrow_the_image(evolution, shape):
    flat = torch.full(shape, -3.5, dtype=torch.float64)
    assert torch.equal(stack(evolution)(flat), flat)


@LINEAR
def test_heat_layers_are_linear_and_symmetric(evolution, shape):
    layers, u, v = stack(evolution, layers=4), noise(*shape), noise(*shape, seed=1)
    torch.testing.assert_close(layers(2 * u - 3 * v), 2 * layers(u) - 3 * layers(v))
    torch.testing.assert_close((layers(u) * v).sum(), (u * layers(v)).sum(), rtol=1e-11, atol=1e-11)


@LINEAR
def test_the_gradient_is_the_stack_itself_applied_to_the_incoming_one(evolution, shape):
    layers, u, incoming = stack(evolution, layers=4), noise(*shape).requires_grad_(), noise(*shape, seed=1)
    (gradient,) = torch.autograd.grad(layers(u), u, incoming)
    torch.testing.assert_close(gradient, layers(incoming), rtol=1e-11, atol=1e-11)


@LINEAR
def test_the_gradient_is_that_of_autograd_through_every_layer(evolution, shape):
    layers, weights = stack(evolution, layers=5, step=0.3), noise(*shape, seed=1)
    ours, theirs = (noise(*shape).requires_grad_() for _ in range(2))
    (layers(ours) * weights).sum().backward()
    through = theirs
    for _ in range(5):
        through = through - 0.3 * evolution(through)
    (through * weights).sum().backward()
    torch.testing.assert_close(layers(ours), through)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-12, atol=1e-12)


def test_heat_flow_is_the_laplacian_of_the_differences():
    u = noise(2, 3, 7, 6)
    torch.testing.assert_close(HeatFlow()(u), laplacian(u) / 4)


def test_heat_layers_keep_nothing_for_the_gradient():
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda tensor: tensor):
        stack(HeatFlow())(noise(1, 2, 6, 6).requires_grad_())
    assert not kept


@pytest.mark.parametrize("border", ["neumann", "periodic"])
def test_heat_layers_keep_the_mean_of_each_channel(border):
    u = noise(2, 3, 9, 6)
    after = stack(HeatFlow(border=border))(u)
    torch.testing.assert_close(after.mean((2, 3)), u.mean((2, 3)), rtol=0, atol=1e-11)


def matrix(operator, shape):
    """The columns of a linear operator on one channel of that shape."""
    pixels = math.prod(shape)
    return operator(torch.eye(pixels, dtype=torch.float64).view(pixels, 1, *shape)).reshape(pixels, pixels).T


def test_a_stack_is_the_power_of_one_layer():
    one = matrix(stack(HeatFlow(), layers=1), (8, 8))
    torch.testing.assert_close(matrix(stack(HeatFlow(), layers=6), (8, 8)), torch.linalg.matrix_power(one, 6))


def test_layers_undo_backward_euler_steps_of_the_heat_flow():
    u, step = noise(3, 1, 8, 8), 0.7
    implicit = torch.eye(64, dtype=torch.float64) - step / 4 * matrix(laplacian, (8, 8))
    smoothed = torch.linalg.solve(torch.linalg.matrix_power(implicit, 3), u.view(3, 64).T).T.reshape(u.shape)
    torch.testing.assert_close(stack(HeatFlow(), layers=3, step=step)(smoothed), u, rtol=0, atol=1e-11)


def test_a_layer_undoes_a_forward_step_on_smooth_logits_up_to_the_square_of_the_step():
    wave, rate = mode((32, 32), (2 * math.pi / 32, 0), phase=0.5), (2 - 2 * math.cos(2 * math.pi / 32)) / 4
    forward = wave + 0.1 * HeatFlow()(wave)
    torch.testing.assert_close(stack(HeatFlow(), layers=1)(forward), (1 - (0.1 * rate) ** 2) * wave)


def test_the_length_is_the_standard_deviation_of_what_a_point_becomes():
    layers, size = stack(HeatFlow(), layers=20, step=0.3), 21
    point = torch.zeros(size**2, dtype=torch.float64)
    point[size**2 // 2] = 1
    blob = torch.linalg.solve(matrix(layers, (size, size)), point).view(size, size)
    away = torch.arange(size, dtype=torch.float64) - size // 2
    assert (blob.sum(1) * away**2).sum().sqrt().item() == pytest.approx(layers.length, rel=1e-3)


def cone(dims, radius):
    """Distance from the middle of a grid of 41 pixels a side, and the mask where it is `radius`, give or take 3."""
    axes = torch.meshgrid(*[torch.arange(41, dtype=torch.float64) - 20] * dims, indexing="ij")
    r = torch.stack(axes).norm(dim=0)
    return r[None, None], (r > radius - 3) & (r < radius + 3)


@pytest.mark.parametrize("dims", [2, 3])
def test_curvature_motion_of_a_cone_is_its_curvature(dims):
    r, ring = cone(dims, radius=14)
    speed = CurvatureMotion(spatial_dims=dims, scale="printed", eps=1e-3)(r)[0, 0]
    torch.testing.assert_close(speed[ring], (dims - 1) / r[0, 0][ring], rtol=0.02, atol=0)


def test_curvature_motion_leaves_a_straight_edge_that_heat_flow_changes():
    slanted = torch.tanh((torch.arange(24.0)[:, None] + 2 * torch.arange(24.0) - 36).double() / 12)[None, None]
    inside = (..., slice(4, -4), slice(4, -4))
    curved, heated = (flow(slanted)[inside].abs().max() for flow in (CurvatureMotion(eps=1e-4), HeatFlow()))
    assert heated > 5e-3 and curved < 0.03 * heated


def test_curvature_motion_fades_across_an_edge_where_its_slope_exceeds_eps():
    x = torch.arange(12, dtype=torch.float64) - 5
    parabola = (x**2 / 2).expand(1, 1, 6, 12)  # slope x and second derivative 1, exact by central differences
    expected = (0.7**2 / (x**2 + 0.7**2) / 4).expand(1, 1, 6, 12)
    torch.testing.assert_close(CurvatureMotion(eps=0.7)(parabola)[..., 1:-1], expected[..., 1:-1])


def test_curvature_motion_of_nearly_flat_logits_is_heat_flow():
    u = noise(1, 2, 9, 8)
    torch.testing.assert_close(CurvatureMotion(eps=1e4)(u), HeatFlow()(u), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("eps", [1e-4, 0.3])
def test_curvature_motion_never_exceeds_the_rate_that_its_gain_is_made_of(dims, eps):
    evolution = CurvatureMotion(spatial_dims=dims, eps=eps)
    for seed in range(5):
        u = noise(2, 1, *(7,) * dims, seed=seed).sign()
        assert evolution(u).abs().max() <= evolution.rate * u.abs().max()


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("border", ["neumann", "zero", "periodic"])
@pytest.mark.parametrize("kind", [HeatFlow, CurvatureMotion])
def test_derivatives_are_those_of_finite_differences(kind, dims, border):
    u = noise(1, 2, *(3,) * dims).requires_grad_()
    assert torch.autograd.gradcheck(stack(kind(spatial_dims=dims, border=border), layers=2), (u,))


@BOTH
def test_layers_commute_with_flips_and_with_the_order_of_classes(evolution):
    layers, u = stack(evolution, layers=3), noise(1, 3, 6, 8)
    torch.testing.assert_close(layers(u.flip(2)), layers(u).flip(2))
    torch.testing.assert_close(layers(u.transpose(2, 3)), layers(u).transpose(2, 3))
    torch.testing.assert_close(layers(u[:, [2, 0, 1]]), layers(u)[:, [2, 0, 1]])


@BOTH
def test_in_evaluation_the_logits_pass_untouched_and_nothing_is_learned_or_stored(evolution):
    layers, u = InverseEvolution(evolution), noise(1, 2, 5, 5).half()
    assert layers.eval()(u) is u
    assert layers.train()(u) is not u
    assert not list(layers.parameters()) and not layers.state_dict()


def test_layers_compute_in_float32_where_half_precision_would_overflow():
    layers = stack(HeatFlow(border="periodic"), layers=70)
    board = mode((4, 4), (math.pi, math.pi), phase=0.0).to(torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = layers(board)
    assert out.dtype == torch.float32
    assert out.abs().max().item() == pytest.approx(1.2**70, rel=1e-4) and 1.2**70 > 65504


@pytest.mark.parametrize("active", [0, 3, 20])
def test_only_the_active_layers_work(active):
    layers, u = stack(HeatFlow()), noise(1, 1, 6, 6)
    layers.active = active
    assert torch.equal(layers(u), stack(HeatFlow(), layers=active)(u))


class ThinPlate:
    rate = 64.0
    self_adjoint = True

    def length(self, time):
        return time**0.25

    def __call__(self, u):
        return -laplacian(laplacian(u))


def test_another_evolution_is_a_class_of_four_members():
    frequencies = (3 * math.pi / 8, math.pi / 4)
    wave = mode((8, 8), frequencies, phase=0.5)
    eigenvalue = sum(2 - 2 * math.cos(k) for k in frequencies)
    layers = stack(ThinPlate(), layers=3, step=0.01)
    torch.testing.assert_close(layers(wave), (1 + 0.01 * eigenvalue**2) ** 3 * wave)
    assert layers.gain == pytest.approx(1.64**3) and layers.length == pytest.approx(0.03**0.25)


def test_pixels_without_a_label_get_no_loss_of_their_own_but_a_gradient_by_their_neighbours():
    logits = torch.zeros(1, 2, 6, 6).requires_grad_()
    target = torch.zeros(1, 6, 6, dtype=torch.long)
    target[..., 3:] = 255
    F.cross_entropy(stack(HeatFlow(), layers=1)(logits), target, ignore_index=255).backward()
    assert logits.grad[..., 3].abs().min() > 0 and not logits.grad[..., 4:].any()


def test_a_gain_that_does_not_train_is_logged_and_a_tame_one_is_not(caplog):
    with caplog.at_level(logging.WARNING):
        InverseEvolution(HeatFlow(), layers=37)  # 1.2^37 = 851
        assert not caplog.messages
        InverseEvolution(HeatFlow(), layers=38)  # 1021
    assert len(caplog.messages) == 1 and "1e+03 times" in caplog.messages[0] and "normalised" in caplog.messages[0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: HeatFlow(spatial_dims=1), "spatial_dims is 1, it must be 2 or 3"),
        (lambda: HeatFlow(scale="paper"), "scale is 'paper', it must be one of normalised, printed"),
        (lambda: CurvatureMotion(border="same"), "border is 'same', it must be one of neumann, zero, periodic"),
        (lambda: CurvatureMotion(eps=0.0), "eps is 0.0, it must be positive"),
        (lambda: InverseEvolution(HeatFlow(), layers=-1), "layers is -1, it must be a whole number"),
        (lambda: InverseEvolution(HeatFlow(), layers=2.5), "layers is 2.5, it must be a whole number"),
        (lambda: InverseEvolution(HeatFlow(), step=0.0), "step is 0.0, it must be positive"),
        (lambda: InverseEvolution(HeatFlow(), layers=487), "487 layers of step 0.1 overflow float32"),
        (lambda: stack(HeatFlow())(torch.zeros(1, 2, 4, 4, 4)), r"logits \(1, 2, 4, 4, 4\) are not .* spatial_dims=2"),
        (lambda: stack(CurvatureMotion(spatial_dims=3))(torch.zeros(1, 2, 4, 4)), "spatial_dims=3"),
    ],
)
def test_settings_without_a_meaning_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()


def test_the_representation_states_gain_and_length():
    assert "gain=38.3, length=1)" in repr(InverseEvolution(HeatFlow()))
