"""torch.compile's gradient of an average pooling with ceil_mode divides by too many taps."""

from fractions import Fraction

import torch


def pool(x):
    return torch.nn.functional.avg_pool2d(x, 2, 2, ceil_mode=True)


x = torch.zeros(1, 1, 3, 3, requires_grad=True)
taps = [2, 2, 1]  # of the window of each row or column that lie on the image
right = [[float(Fraction(1, down * across)) for across in taps] for down in taps]
for name, function in (("eager", pool), ("compiled", torch.compile(pool))):
    (got,) = torch.autograd.grad(function(x).sum(), x)
    print(f"{name}  got {got[0, 0].tolist()}  right {right}")
