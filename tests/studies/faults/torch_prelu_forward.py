"""PyTorch's forward mode of prelu at 0 has slope 1, and its backward pass the weight."""

import torch

x, weight = torch.zeros(1, 1), torch.tensor([0.25])
_, along = torch.func.jvp(lambda x: torch.nn.functional.prelu(x, weight), (x,), (x + 1,))
back = x.clone().requires_grad_()
(right,) = torch.autograd.grad(torch.nn.functional.prelu(back, weight).sum(), back)
print(f"got {along.item()}  right {right.item()}")
