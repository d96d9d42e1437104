"""The DCT matrix against SciPy."""

import pytest
import torch
from scipy.fft import dct

from aef_worldmodel.nn.dct import dct_matrix


@pytest.mark.parametrize("n", [1, 2, 5, 64])
def test_dct_matrix_is_the_orthonormal_dct(n):
    expected = torch.from_numpy(dct(torch.eye(n).double().numpy(), axis=0, norm="ortho"))
    torch.testing.assert_close(dct_matrix(n), expected)
