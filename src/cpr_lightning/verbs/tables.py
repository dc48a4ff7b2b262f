"""Tables for the terminal."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

_METRICS = {"image_auroc": "image AUROC", "pixel_auroc": "pixel AUROC", "pixel_ap": "pixel AP", "pro": "PRO"}


def print_metrics(metrics: dict[str, Any], folder: Path) -> None:
    """The four numbers of the paper, and where the rest lies."""
    table = Table(title=f"{metrics['dataset']} / {metrics['category']} / {metrics['variant']}")
    for name in _METRICS.values():
        table.add_column(name, justify="right")
    table.add_row(*("–" if metrics[key] is None else f"{metrics[key]:.4f}" for key in _METRICS))
    Console().print(table)
    # Printed plainly: a path must not be wrapped, or it cannot be copied.
    print(f"Run        {folder}")
    if metrics["n_test"]:
        print(f"Heat maps  {folder / 'heatmaps'}")
        print(f"Report     {folder / 'report.html'}")
