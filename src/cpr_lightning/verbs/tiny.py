"""``cpr tiny``: write the small generated data set."""

from pathlib import Path

from cpr_lightning.data.tiny import TINY_CATEGORIES, write_tiny
from cpr_lightning.verbs.arguments import parse, whole_number

_KEYS = {
    "root": "folder to write to",
    "size": "pixels on a side (256)",
    "train": "good images to learn from, per category (24)",
    "test_good": "good images to test with, per category (8)",
    "test_per_defect": "defective images to test with, per sort of defect (4)",
    "seed": "another seed draws other images (0)",
}


def main(words: list[str]) -> int:
    """Run the verb."""
    values = parse("tiny", words, _KEYS, required=("root",))
    if values is None:
        return 0
    root = Path(values.pop("root")).expanduser()
    numbers = {key: whole_number(key, value) for key, value in values.items()}
    write_tiny(root, **numbers)
    print(f"Wrote the categories {', '.join(TINY_CATEGORIES)} to {root}")
    return 0
