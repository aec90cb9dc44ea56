"""torch.nn.functional, gradients by autograd."""

import torch

from gradoracle import adapt

backend = adapt.torch(torch.nn.functional)
