"""Time of ranking the references, and recall@10 of the pre-filter, against the number of references.

    python benchmarks/global_retrieval.py --images DIR --queries DIR [--backbone resnet18] [--weights FILE]
        [--references 200 1000 5000 20000 50000 100000] [--divergence official] [--output FILE.json]

The words of real images are described once; references are made from them by shifting two images, pasting a piece of
one into the other and replacing up to 5 % of the cells. Queries are real images, a little shifted, with defects where
``--queries`` has them. Times are of one query, the least of many repetitions of exact and pre-filtered in turn.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cpr_lightning.choices import Divergence
from cpr_lightning.data.images import list_images, read_image
from cpr_lightning.files import write_text
from cpr_lightning.model.backbone import Backbone
from cpr_lightning.model.divergence import query_terms
from cpr_lightning.model.global_retrieval import GlobalRetrieval, assign_codes, block_histograms, fit_codebook, nearest
from cpr_lightning.model.prefilter import Prefilter
from cpr_lightning.model.targeting import trimmed_scan

_NEIGHBORS = 10
_CLUSTERS = 12
_BLOCKS = 5
_QUERY_IMAGES = 60
_SHIFT = 6  # cells


def main() -> None:
    """Print a row per number of references."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder of good images, searched with its folders")
    parser.add_argument("--queries", type=Path, required=True, help="folder of images to query with, likewise")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--weights", default="imagenet", help="imagenet, random, or a .safetensors file")
    parser.add_argument("--references", type=int, nargs="+", default=[200, 1000, 5000, 20_000, 50_000, 100_000])
    parser.add_argument("--divergence", choices=[each.value for each in Divergence], default=Divergence.official.value)
    parser.add_argument("--repetitions", type=int, default=50)
    parser.add_argument("--output", type=Path, help="write the numbers as JSON")
    options = parser.parse_args()
    references, queries = describe(options)
    facts = {
        "threads": torch.get_num_threads(),
        "queries": len(queries),
        "divergence": options.divergence,
        "bins_in_use_of_a_query": round(float((queries > 0).double().sum(2).mean()), 2),
    }
    print(facts, flush=True)
    print(f"{'references':>10} {'exact ms':>9} {'p50':>7} {'filter ms':>9} {'p50':>7} {'recall@10':>9} {'build s':>8}")
    rows = []
    for count in options.references:
        row = measure(references[:count], queries, Divergence(options.divergence), options.repetitions)
        rows.append(row)
        print(
            f"{count:>10} {row['exact_ms']:>9.3f} {row['exact_median_ms']:>7.2f} {row['prefilter_ms']:>9.3f} "
            f"{row['prefilter_median_ms']:>7.2f} {row['recall_at_10']:>9.4f} {row['prefilter_build_s']:>8.2f}",
            flush=True,
        )
    if options.output is not None:
        write_text(options.output, json.dumps({**facts, "rows": rows}, indent=2) + "\n")


def describe(options: argparse.Namespace) -> tuple[Tensor, Tensor]:
    """Histograms of the made-up references and of the queries."""
    backbone = Backbone(options.backbone, options.weights, [1, 2])
    rng = np.random.default_rng(0)
    other = list_images(options.queries)
    features = _features(backbone, list_images(options.images))
    vectors = features.movedim(1, -1).flatten(0, 2)
    chosen = rng.choice(len(vectors), min(50_000, len(vectors)), replace=False)
    codebook = torch.from_numpy(fit_codebook(vectors[chosen].numpy(), _CLUSTERS, 1, 66))
    words = assign_codes(features, codebook).numpy().astype(np.int8)
    picked = [other[row] for row in np.linspace(0, len(other) - 1, min(_QUERY_IMAGES, len(other))).round().astype(int)]
    asked = assign_codes(_features(backbone, picked), codebook).numpy().astype(np.int8)
    words, asked = (np.pad(each, ((0, 0), (_SHIFT, _SHIFT), (_SHIFT, _SHIFT)), mode="edge") for each in (words, asked))
    parts = [
        _histograms([_variation(words, rng) for _ in range(min(1000, max(options.references) - start))])
        for start in range(0, max(options.references), 1000)
    ]
    return torch.cat(parts), _histograms([_shifted(one, _SHIFT // 2, rng) for one in asked])


def measure(references: Tensor, queries: Tensor, reading: Divergence, repetitions: int) -> dict[str, float]:
    """Least and median time of one query, exact and pre-filtered in turn; recall of the pre-filter over all queries."""
    retrieval = GlobalRetrieval(torch.empty(_CLUSTERS, 0), references, divergence=reading)
    start = time.perf_counter()
    prefilter = Prefilter(references, retrieval.terms)
    build = time.perf_counter() - start

    def exact(query: Tensor) -> Tensor:
        return nearest(retrieval.distances(query), _NEIGHBORS)

    def filtered(query: Tensor) -> Tensor:
        ranges, rows = prefilter.candidates(query[0], _NEIGHBORS)
        terms = query_terms(query, reading)
        return nearest(trimmed_scan(*terms, prefilter.terms, retrieval.ignored_blocks, ranges), _NEIGHBORS, rows=rows)

    times: dict[Callable[[Tensor], Tensor], list[float]] = {exact: [], filtered: []}
    hits = []
    for repetition in range(max(repetitions, len(queries))):
        query = queries[repetition % len(queries)][None]
        found = []
        for rank, taken in times.items():
            start = time.perf_counter()
            found.append(rank(query)[0].numpy())
            taken.append(1e3 * (time.perf_counter() - start))
        if repetition < len(queries):
            hits.append(np.isin(*found).mean())
    return {
        "references": len(references),
        "exact_ms": min(times[exact]),
        "exact_median_ms": float(np.median(times[exact])),
        "prefilter_ms": min(times[filtered]),
        "prefilter_median_ms": float(np.median(times[filtered])),
        "recall_at_10": float(np.mean(hits)),
        "prefilter_build_s": build,
    }


@torch.inference_mode()
def _features(backbone: Backbone, paths: list[Path]) -> Tensor:
    return torch.cat([backbone(torch.from_numpy(read_image(path, 320))[None])[0] for path in paths])


def _histograms(words: list[NDArray[np.int8]]) -> Tensor:
    return block_histograms(torch.from_numpy(np.stack(words)).long(), _CLUSTERS, _BLOCKS)


def _variation(words: NDArray[np.int8], rng: np.random.Generator) -> NDArray[np.int8]:
    """Two images, shifted; a piece of one in the other; some cells have a word from elsewhere in the image."""
    image, other = (_shifted(words[rng.integers(len(words))], _SHIFT, rng) for _ in range(2))
    side = len(image)
    height, width = rng.integers(side // 5, 4 * side // 5, 2)
    row, column = rng.integers(side - height), rng.integers(side - width)
    piece = (slice(row, row + height), slice(column, column + width))
    image[piece] = other[piece]
    changed = rng.random(image.shape) < rng.uniform(0, 0.05)
    image[changed] = rng.choice(image.ravel(), int(changed.sum()))
    return image


def _shifted(padded: NDArray[np.int8], most: int, rng: np.random.Generator) -> NDArray[np.int8]:
    row, column = _SHIFT + rng.integers(-most, most + 1, size=2)
    height, width = (side - 2 * _SHIFT for side in padded.shape)
    return padded[row : row + height, column : column + width].copy()


if __name__ == "__main__":
    main()
