"""PyTorch's max_pool3d of channels-last volumes names a wrong pixel where all are -infinity."""

import torch

volume = torch.full((1, 2, 2, 1, 1), float("-inf"))
for layout in (torch.contiguous_format, torch.channels_last_3d):
    x = volume.to(memory_format=layout)
    _, indices = torch.nn.functional.max_pool3d(x, 1, return_indices=True)
    print(f"{layout}  got {indices.flatten().tolist()}  right {[0, 1, 0, 1]}")
