"""PyTorch's cross_entropy takes a negative label_smoothing for 0, and refuses one above 1."""

import torch

RIGHT = "RuntimeError: label_smoothing must be between 0.0 and 1.0"
logits, target = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([1])
for smoothing in (-1.0, 2.0):
    try:
        got = str(torch.nn.functional.cross_entropy(logits, target, label_smoothing=smoothing))
    except RuntimeError as error:
        got = f"RuntimeError: {error}"
    print(f"{smoothing}  got {got}  right {RIGHT}")
