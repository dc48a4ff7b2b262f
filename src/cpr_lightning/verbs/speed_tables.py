"""A benchmark on the terminal."""

from typing import Any

from rich.console import Console
from rich.table import Table

_STAGES = {
    "decode": "decode",
    "network": "network",
    "global_retrieval": "global retrieval",
    "matching": "matching",
    "foreground": "foreground",
    "postprocessing": "post-processing",
}
_LATENCIES = {
    "latency_ms": "median",
    "latency_mean_ms": "mean",
    "latency_p5_ms": "p5",
    "latency_p95_ms": "p95",
    "latency_p99_ms": "p99",
    "latency_min_ms": "least",
}


def print_speed(result: dict[str, Any]) -> None:
    """The content of ``benchmark.json`` as tables: latency, stages, and what was measured where."""
    machine = result["environment"]["gpu"] if result["device"] != "cpu" else result["environment"]["processor"]
    threads = f", {result['threads']} threads" if result["device"] == "cpu" else ""
    console = Console()
    console.print(_latency(result))
    console.print(_stages(result["stages_ms"]))
    beyond = result["query_memory_mb"]
    of_it = "" if beyond is None else f", of it {beyond:.0f} MB for a query beyond network and bank"
    print(f"Memory     {result['peak_memory_mb']:.0f} MB at most{of_it}")
    print(
        f"Network    {result['backbone']}, runtime {result['runtime']}, {result['precision']}, batch {result['batch']}"
    )
    print(f"Bank       {result['references']} references as {result['codec']}, {result['bank_mb']:.0f} MB on disk")
    print(f"Machine    {machine} ({result['device']}{threads})")


def _latency(result: dict[str, Any]) -> Table:
    counted = result["runs"] - result["warmup"]
    table = Table(title=f"{result['variant']}: milliseconds per image, {counted} of {result['runs']} runs counted")
    for name in (*_LATENCIES.values(), "images/s"):
        table.add_column(name, justify="right")
    table.add_row(*(f"{result[key]:.2f}" for key in _LATENCIES), f"{result['images_per_second']:.1f}")
    return table


def _stages(stages: dict[str, float]) -> Table:
    """Shares are of the stages of an inference; decoding comes before it."""
    inference = sum(taken for stage, taken in stages.items() if stage != "decode")
    table = Table("stage", title="where the time goes")
    table.add_column("ms", justify="right")
    table.add_column("share", justify="right")
    for stage, name in _STAGES.items():
        share = "before" if stage == "decode" else f"{stages[stage] / inference:.1%}"
        table.add_row(name, f"{stages[stage]:.2f}", share)
    table.add_section()
    table.add_row("sum without decode", f"{inference:.2f}", "")
    return table
