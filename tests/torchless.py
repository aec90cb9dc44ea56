"""How processes that tests start go without PyTorch: importing it takes longer than a short run."""

from pathlib import Path

ABSENT = "raise ModuleNotFoundError('no torch', name='torch')\n"


def without_torch(folder: Path) -> str:
    """Return a folder in `folder` that, first on PYTHONPATH, makes PyTorch absent."""
    hidden = folder / "without_torch"
    hidden.mkdir(exist_ok=True)
    (hidden / "torch.py").write_text(ABSENT)
    return str(hidden)
