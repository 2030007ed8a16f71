"""Fixed grids leave Python: traced, exported and written to ONNX, with the answer of the code."""

import pytest
import torch
from torch import nn

from pipeline.ode.solve import Solver, integrate
from tests.ode.problems import FIXED, SmallNet, small_state

every_fixed = pytest.mark.parametrize("method", FIXED)


class Evolution(nn.Module):
    """The end state of a small learned equation."""

    def __init__(self, **settings):
        super().__init__()
        self.field, self.solver = SmallNet(), Solver(**settings)

    def forward(self, y0):
        return integrate(self.field, y0, self.solver)


def assert_same(a, b):
    torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


@every_fixed
@torch.no_grad()
def test_a_trace_holds_for_other_sizes(method):
    module = Evolution(method=method, steps=3)  # a tracer warning of ours would be an error here
    traced = torch.jit.trace(module, small_state())
    for size in (6, 9):
        assert_same(traced(small_state(size=size)), module(small_state(size=size)))


@every_fixed
@torch.no_grad()
def test_it_exports_with_a_free_height_and_width(method):
    module = Evolution(method=method, steps=3)
    free = {2: torch.export.Dim("height", min=2), 3: torch.export.Dim("width", min=2)}
    program = torch.export.export(module, (small_state(),), dynamic_shapes=({**free},)).module()
    for size in (6, 9):
        assert_same(program(small_state(size=size)), module(small_state(size=size)))


@every_fixed
def test_it_compiles_without_a_break(method):
    module = Evolution(method=method, steps=2)
    assert_same(torch.compile(module, backend="eager", fullgraph=True)(small_state()), module(small_state()))


@pytest.mark.parametrize("gradient", ["checkpoint", "adjoint"])
@torch.no_grad()
def test_a_network_trained_with_another_gradient_exports_as_well(gradient):
    module = Evolution(steps=8, gradient=gradient)
    assert_same(torch.export.export(module, (small_state(),)).module()(small_state()), module(small_state()))
    assert_same(torch.jit.trace(module, small_state())(small_state()), module(small_state()))


@every_fixed
@torch.no_grad()
def test_onnx_gives_the_same_answer(method, tmp_path):
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    module = Evolution(method=method, steps=2).eval()
    torch.onnx.export(module, (small_state(),), tmp_path / "net.onnx", dynamo=True, input_names=["y0"], verbose=False)
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"y0": small_state().numpy()})
    assert_same(torch.from_numpy(found), module(small_state()))
