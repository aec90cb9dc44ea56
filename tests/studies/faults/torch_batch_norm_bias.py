"""PyTorch's gradient of batch_norm by the bias mixes channels where dy has strides of its own."""

import torch

x, bias = torch.zeros(1, 2, 2, 1), torch.zeros(2, requires_grad=True)
y = torch.nn.functional.batch_norm(x, torch.zeros(2), torch.ones(2), None, bias, training=True)
dense = torch.tensor([[[[0.0], [0.0]], [[1.0], [0.0]]]])
across = dense.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)  # the first axis innermost
for dy in (dense, across):
    (got,) = torch.autograd.grad(y, bias, dy, retain_graph=True)
    print(f"strides {dy.stride()}  got {got.tolist()}  right {dy.sum((0, 2, 3)).tolist()}")
