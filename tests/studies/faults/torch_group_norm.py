"""PyTorch dies of group_norm's gradient by the weight alone, of channels-last images."""

import subprocess
import sys

PROGRAM = """
import torch
x = torch.ones(1, 4, 8, 8).to(memory_format=torch.{layout})
weight = torch.ones(4, requires_grad=True)
y = torch.nn.functional.group_norm(x, 2, weight)
print(torch.autograd.grad(y.sum(), weight)[0].tolist())
"""
for layout in ("contiguous_format", "channels_last"):
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("{layout}", layout)],
        capture_output=True, check=False, text=True,
    )  # fmt: skip
    got = found.stdout.strip() or f"nothing, exit status {found.returncode}"
    print(f"{layout}  got {got}  right [0.0, 0.0, 0.0, 0.0]")
