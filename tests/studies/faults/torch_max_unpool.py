"""PyTorch's gradient of max_unpool2d refuses indices that are not dense, which it takes forward."""

import torch

x = torch.zeros(1, 1, 2, 2, requires_grad=True)
dense = torch.tensor([[[[0, 1], [2, 3]]]])
for indices in (dense, dense.transpose(2, 3).contiguous().transpose(2, 3)):
    y = torch.nn.functional.max_unpool2d(x, indices, 1)
    try:
        got = torch.autograd.grad(y, x, torch.ones_like(y))[0].flatten().tolist()
    except RuntimeError as error:
        got = f"RuntimeError: {str(error).partition(' (')[0]}"
    print(f"strides {indices.stride()}  got {got}  right [1.0, 1.0, 1.0, 1.0]")
