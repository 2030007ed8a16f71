import pytest
import torch

from pipeline.io.resample import resize_matrix
from pipeline.numerics.banded import Banded, span

SIZES = [(399, 512), (512, 200), (7, 100), (100, 7), (1, 5), (5, 1), (33, 33)]


def matrix(n_in: int, n_out: int, flip: bool = False) -> torch.Tensor:
    made = torch.from_numpy(resize_matrix(n_in, n_out)).double()
    return made.flip(1) if flip else made


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(("n_in", "n_out"), SIZES)
def test_equals_the_dense_product_along_either_axis(n_in, n_out, flip):
    dense = matrix(n_in, n_out, flip)
    values = torch.randn(2, 3, n_in, n_in, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(Banded(dense).left(values), dense @ values, rtol=0, atol=1e-13)
    torch.testing.assert_close(Banded(dense).right(values), values @ dense.T, rtol=0, atol=1e-13)


def test_takes_values_that_lie_otherwise_in_memory():
    dense = matrix(40, 64)
    lying = torch.randn(3, 40, 5, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    turned = lying.movedim(1, 2)  # (3, 5, 40, 40), not contiguous
    torch.testing.assert_close(Banded(dense).left(turned), dense @ turned, rtol=0, atol=1e-13)
    torch.testing.assert_close(Banded(dense).right(turned), turned @ dense.T, rtol=0, atol=1e-13)


def test_rows_of_which_nothing_is_left_give_zero():
    shown = matrix(100, 100)[:, 80:]
    product = Banded(shown).left(torch.ones(20, 4, dtype=torch.float64))
    assert not product[:80].any()
    assert product[80:].eq(1).all()


def test_a_span_reaches_from_the_first_to_the_last():
    assert span(torch.tensor([False, True, False, True, False])) == slice(1, 4)
    assert span(torch.zeros(3, dtype=torch.bool)) == slice(0, 0)
