"""PyTorch's group_norm of channels-last images subtracts large squares: 79 where 1 is right."""

from fractions import Fraction

import torch

EPS = 1e-5
numbers = [3000.5, 3000.0] * 4
images = torch.tensor(numbers).reshape(1, 2, 2, 2)
mean = sum(map(Fraction, numbers)) / len(numbers)
variance = sum((Fraction(one) - mean) ** 2 for one in numbers) / len(numbers)
right = float(Fraction(numbers[0]) - mean) / float(variance + Fraction(EPS)) ** 0.5
for layout in (torch.contiguous_format, torch.channels_last):
    y = torch.nn.functional.group_norm(images.contiguous(memory_format=layout), 1, eps=EPS)
    print(f"{layout}  got {y[0, 0, 0, 0].item()}  right {right}")
