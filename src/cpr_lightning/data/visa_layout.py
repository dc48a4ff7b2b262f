"""VisA, whose table says which image is what."""

import csv
from pathlib import Path

from cpr_lightning.data import categories
from cpr_lightning.data.finding import did_you_mean, unused_masks
from cpr_lightning.data.layout import Layout
from cpr_lightning.data.samples import Found, Sample, Samples
from cpr_lightning.data.trees import VISA_ARCHIVE, VISA_TABLE, hint, unpacked
from cpr_lightning.errors import CategoryError, DataError

_COLUMNS = ("object", "split", "label", "image", "mask")
_LABELS = {"normal": 0, "anomaly": 1}


class VisaLayout(Layout):
    """VisA: ``<root>/split_csv/1cls.csv`` (``object,split,label,image,mask``) names every image below the root.

    Its masks number the sorts of defects (1, 2, …): every pixel above 0 is defective.
    """

    known = categories.VISA
    mask_threshold = 0

    def categories(self) -> list[str]:
        """The known objects that the table names; where it names none of them, all that it names."""
        named = list(dict.fromkeys(row["object"] for _, row in self._rows()))
        return [name for name in self.known if name in named] or named

    def look(self, category: str) -> Found:
        """See :meth:`Layout.look`."""
        rows = self._rows()
        named = list(dict.fromkeys(row["object"] for _, row in rows))
        if category not in named:
            near = did_you_mean(category, named)
            raise CategoryError(f"{self._table} names no object {category}{near} It names: {', '.join(named)}.")
        kind = self.kind_of(category)
        problems: list[str] = []
        parts: dict[str, list[Sample]] = {"train": [], "test": []}
        for line, row in rows:
            if row["object"] != category:
                continue
            sample, wrong = self._sample(row)
            problems += [f"{self._table}, line {line}: {sentence}" for sentence in wrong]
            if sample is not None:
                parts[row["split"]].append(sample)
        if not parts["train"] and not problems:
            raise DataError(f"{self._table} names no good image of {category} to learn from (split train).")
        folders = {sample.mask.parent for sample in parts["test"] if sample.mask is not None}
        masks = [path for folder in sorted(folders) if folder.is_dir() for path in folder.iterdir()]
        remarks = unused_masks(masks, [sample.mask for sample in parts["test"]])
        return Found(Samples(category, kind, parts["train"], parts["test"]), problems, remarks)

    def _sample(self, row: dict[str, str]) -> tuple[Sample | None, list[str]]:
        """A row as a sample, if it makes sense, and what is wrong with it."""
        label = _LABELS.get(row["label"])
        if row["split"] not in ("train", "test") or label is None:
            return None, [
                f"split={row['split']} label={row['label']} is not understood; a split is train or test, a label "
                f"normal or anomaly."
            ]
        if row["split"] == "train" and label:
            return None, [f"the defective image {row['image']} is in split train, which is for good ones."]
        image, wrong = self._file(row["image"], "image")
        if image is None or not label:
            return None if image is None else Sample(image, None, 0, "good"), wrong
        mask, missing = self._file(row["mask"], f"mask of the defective image {image}")
        return Sample(image, mask, 1, "anomaly", self.mask_threshold), wrong + missing

    def _file(self, name: str, what: str) -> tuple[Path | None, list[str]]:
        """A file that the table names, if it is there, and what is wrong if it is not."""
        if not name:
            return None, [f"the {what} is not named."]
        path = self._base() / name
        return (path, []) if path.is_file() else (None, [f"the {what} is missing: {path} does not exist."])

    def _base(self) -> Path:
        if not self.root.is_dir():
            raise CategoryError(
                f"dataset.root={self.root} is not a folder. Give the folder that holds {VISA_TABLE.as_posix()}."
            )
        return self.root if (self.root / VISA_TABLE).is_file() else unpacked(self.root, VISA_ARCHIVE)

    @property
    def _table(self) -> Path:
        return self._base() / VISA_TABLE

    def _rows(self) -> list[tuple[int, dict[str, str]]]:
        """The table's rows, stripped, with their line numbers."""
        table = self._table
        if not table.is_file():
            there = ", ".join(sorted(path.name for path in self._base().iterdir())) or "nothing"
            raise CategoryError(
                f"{table} does not exist; VisA's table says which image is what (columns {','.join(_COLUMNS)}). "
                f"{self._base()} holds: {there}.{hint(self._base(), 'visa')}"
            )
        try:
            with table.open(encoding="utf-8-sig", newline="") as file:
                reader = csv.DictReader(file, restval="")
                missing = [name for name in _COLUMNS if name not in (reader.fieldnames or [])]
                if missing:
                    found = ",".join(reader.fieldnames or []) or "nothing"
                    raise DataError(
                        f"{table} has no column {', '.join(missing)}; its first line must be {','.join(_COLUMNS)}, "
                        f"and is {found}."
                    )
                return [(reader.line_num, {name: row[name].strip() for name in _COLUMNS}) for row in reader]
        except (UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"{table} is not a table of comma-separated values ({error}). Copy it again.") from error
