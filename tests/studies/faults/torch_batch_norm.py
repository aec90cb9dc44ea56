"""PyTorch's batch_norm, going back by a pixel, reads a weight with strides as if it were dense."""

import torch

x, places = torch.zeros(1, 2, 1, 1, requires_grad=True), torch.tensor([1.0, 2.0, 3.0, 4.0])


def gradient(weight):
    """Return the second channel's, without training: its weight over the root of 1 + eps."""
    y = torch.nn.functional.batch_norm(x, torch.zeros(2), torch.ones(2), weight, eps=0.0)
    return torch.autograd.grad(y, x, torch.ones(1, 2, 1, 1))[0].flatten()[1].item()


print(f"got {gradient(places[::2])}  right {gradient(places[::2].clone())}")
