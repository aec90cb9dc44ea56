"""PyTorch's gelu of infinity in float32 is NaN beside another number, and infinity alone."""

import torch

z = torch.tensor([torch.inf, 0.0])
got = torch.nn.functional.gelu(z)[0]
print(f"got {got.item()}  right {torch.inf}; alone {torch.nn.functional.gelu(z[:1]).item()}")
