"""``cpr data check``: what a data set holds, and everything that is wrong with it."""

from collections import Counter

from rich.console import Console
from rich.table import Table

from cpr_lightning.build import build_layout
from cpr_lightning.composing import compose_settings, quoted
from cpr_lightning.data.layout import Layout
from cpr_lightning.data.survey import COUNTED, Survey, survey
from cpr_lightning.errors import SettingsError
from cpr_lightning.settings import DatasetSettings
from cpr_lightning.verbs.all_categories import ALL
from cpr_lightning.verbs.arguments import parse

_KEYS = {
    "dataset": "mvtec, mvtec3d, btad, visa, mvtec_ad2, folder, tiny",
    "dataset.root": "the folder that holds the categories",
    "category": "one of them (all)",
    "dataset.kind": "object or texture (as it is known)",
    "dataset.mask_threshold": "a mask's pixel above this is defective (as the data set has it)",
    "dataset.good": "dataset=folder: images without defects, to learn from",
    "dataset.test_good": "dataset=folder: images without defects, to test with",
    "dataset.defective": "dataset=folder: images with defects",
    "dataset.masks": "dataset=folder: their masks",
}
_SIZES = 3  # shown of a category's image sizes


def main(words: list[str]) -> int:
    """Run the verb: 1 if there are problems."""
    if words and words[0] in ("-h", "--help"):
        words = ["check", *words]
    if not words or words[0] != "check":
        said = f"there is no `cpr data {words[0]}`" if words else "`cpr data` needs a word more"
        raise SettingsError(f"{said}; did you mean `cpr data check`?")
    values = parse("data check", words[1:], _KEYS, required=("dataset",))
    if values is None:
        return 0
    category = values.pop("category", ALL)
    words = [f"{key}={_as_override(value)}" for key, value in {**values, "category": category}.items()]
    dataset = compose_settings(words).dataset
    layout = build_layout(dataset)
    names = _names(layout, dataset) if category == ALL else [category]
    found = [survey(layout, name) for name in names]
    missing = [name for name in layout.known if name not in names] if category == ALL else []
    _print(dataset, found)
    problems = [f"{each.category}: {sentence}" for each in found for sentence in each.problems]
    if missing:
        problems.append(f"{dataset.root} holds no {', '.join(missing)}: the data set has these categories too.")
    # Printed plainly: a path must not be wrapped, or it cannot be copied.
    for sentence in problems:
        print(sentence)
    print("1 problem." if len(problems) == 1 else f"{len(problems)} problems.")
    return 1 if problems else 0


def _as_override(value: str) -> str:
    """A value as it was typed: here, unlike in `cpr train`, a path needs no quotes of Hydra's, but may have them."""
    in_quotes = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return value if in_quotes or value == "null" else quoted(value)


def _names(layout: Layout, dataset: DatasetSettings) -> list[str]:
    """All categories; one's own folders are one, whatever it is called."""
    return layout.categories() if layout.known else [dataset.name]


def _print(dataset: DatasetSettings, found: list[Survey]) -> None:
    caption = "train: to learn from; valid.: for thresholds; good, defective: to test with"
    table = Table("category", "kind", title=f"{dataset.name} in {dataset.root}", caption=caption)
    for name in COUNTED:
        table.add_column(name, justify="right")
    table.add_column("sizes")
    for each in found:
        counts = (str(each.counts[name]) for name in COUNTED)
        table.add_row(each.category, each.kind or "?", *counts, _sizes(each.sizes))
    Console().print(table)


def _sizes(sizes: Counter[tuple[int, int]]) -> str:
    """``900×900``, or the most frequent ones with how many images are of each."""
    shown = [f"{width}×{height}" + (f" ({count})" if len(sizes) > 1 else "") for (width, height), count in
             sizes.most_common(_SIZES)]  # fmt: skip
    more = f", {len(sizes) - _SIZES} more" if len(sizes) > _SIZES else ""
    return ", ".join(shown) + more
