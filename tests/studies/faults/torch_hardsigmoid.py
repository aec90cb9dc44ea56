"""PyTorch's gradient of hardsigmoid in float64 divides by 6 as float32 has a sixth."""

import torch

z = torch.zeros(1, dtype=torch.float64, requires_grad=True)
(got,) = torch.autograd.grad(torch.nn.functional.hardsigmoid(z).sum(), z)
print(f"got {got.item()}  right {1 / 6}")
