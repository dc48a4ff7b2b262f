"""Time and peak memory of ``evaluate`` on made-up maps: ``benchmarks/metrics.py --maps 160 --size 320``."""

import argparse
import resource
import time

import numpy as np

from cpr_lightning.evaluation.metrics import evaluate


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print one line: seconds, peak memory of the process, and what it was before the call."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--maps", type=int, default=160, help="number of anomaly maps")
    parser.add_argument("--size", type=int, default=320, help="side of a map in pixels")
    parser.add_argument("--defect", type=float, default=0.25, help="side of a defect as a fraction of the map's")
    args = parser.parse_args()

    rng = np.random.default_rng(0)
    labels = np.arange(args.maps) % 4 > 0
    masks = np.zeros((args.maps, args.size, args.size), bool)
    side = max(1, round(args.size * args.defect))
    masks[labels, :side, :side] = True
    maps = rng.standard_normal(masks.shape, dtype=np.float32)
    maps[masks] += 1.5

    before = _peak_mb()
    start = time.perf_counter()
    metrics = evaluate(maps, masks, maps.max(axis=(1, 2)), labels.astype(int))
    seconds = time.perf_counter() - start
    print(
        f"evaluate: {args.maps} maps of {args.size}²: {seconds:.2f} s, peak {_peak_mb():.0f} MB "
        f"({before:.0f} MB before the call), {metrics.as_dict()}"
    )


if __name__ == "__main__":
    main()
