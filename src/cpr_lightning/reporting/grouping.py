"""Runs as methods on a data set: what is one method, and how it is called beside the others."""

from collections.abc import Sequence
from dataclasses import dataclass

from cpr_lightning.reporting.compared import CONFIG
from cpr_lightning.reporting.records import Record
from cpr_lightning.reporting.rows import CategoryRow, rows_of

GROUP_KEYS = ("variant", "ablation", "seed")  # may be grouped by, beside settings
_VARIANTS = ("cpr", "fast", "faster")
_ABLATIONS = (
    *("full", "no_global", "no_foreground", "no_local", "no_multiscale", "no_pair_weight", "whole_bank"),
    *(f"table7_{row}" for row in range(1, 8)),
)


@dataclass(frozen=True)
class Method:
    """Runs that differ in category and seed alone.

    Attributes:
        settings: ``key=value`` of the settings in which it differs from others of this variant and ablation.
    """

    variant: str
    ablation: str
    settings: tuple[str, ...]
    records: tuple[Record, ...]

    @property
    def label(self) -> str:
        """As it is shown: ``cpr``, ``fast, no_local``, ``cpr (training.max_steps=150)``."""
        ablation = "" if self.ablation == "full" else f", {self.ablation}"
        return f"{self.variant}{ablation}{self.differing}"

    @property
    def differing(self) -> str:
        """Its settings behind a name."""
        return f" ({', '.join(self.settings)})" if self.settings else ""


@dataclass(frozen=True)
class Group:
    """The methods on one data set in one scenario: what stands in a table together.

    Attributes:
        settings: ``key=value`` of the further keys that were grouped by.
    """

    dataset: str
    scenario: str
    settings: tuple[str, ...]
    rows: list[CategoryRow]
    methods: list[Method]

    @property
    def label(self) -> str:
        """As it is shown: ``mvtec, unsupervised``."""
        return ", ".join((self.dataset, self.scenario, *self.settings))

    def facts(self, method: Method) -> dict[str, str]:
        """What identifies the cells of a method, for the CSV."""
        return {
            "method": method.label,
            "variant": method.variant,
            "ablation": method.ablation,
            "settings": ", ".join((*self.settings, *method.settings)),
        }


def group_records(records: Sequence[Record], keys: Sequence[str] = ()) -> list[Group]:
    """Groups by data set and scenario.

    Args:
        records: each cell once.
        keys: settings to group by besides, or ``GROUP_KEYS``.
    """
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        groups.setdefault((record.dataset, record.scenario, *map(record.value, keys)), []).append(record)
    made = []
    for (dataset, scenario, *values), members in sorted(groups.items()):
        of_data_set = [record for record in records if record.dataset == dataset]
        rows = rows_of(dataset, {record.category: record.kind for record in of_data_set})
        settings = tuple(f"{key}={value}" for key, value in zip(keys, values, strict=True))
        made.append(Group(dataset, scenario, settings, rows, _methods(members)))
    return made


def _methods(records: Sequence[Record]) -> list[Method]:
    """The methods among the runs of a group, in the order of the paper."""
    named: dict[tuple[str, str], dict[frozenset[tuple[str, str]], list[Record]]] = {}
    for record in records:
        of_name = named.setdefault((record.variant, record.ablation), {})
        of_name.setdefault(frozenset(record.settings.items()), []).append(record)
    methods = []
    for variant, ablation in sorted(named, key=_order):
        alike = [dict(settings) for settings in named[variant, ablation]]
        labels = _differences(alike)
        found = zip(labels, named[variant, ablation].values(), strict=True)
        methods += [Method(variant, ablation, label, tuple(runs)) for label, runs in sorted(found, key=lambda f: f[0])]
    return methods


def _order(name: tuple[str, str]) -> tuple[int, str, int, str]:
    variant, ablation = name
    return _place(variant, _VARIANTS), variant, _place(ablation, _ABLATIONS), ablation


def _place(name: str, names: tuple[str, ...]) -> int:
    return names.index(name) if name in names else len(names)


def _differences(alike: list[dict[str, str]]) -> list[tuple[str, ...]]:
    """Where each of several settings differs from another; a run without ``config.yaml`` says little."""
    differing: list[list[str]] = [[] for _ in alike]
    for key in sorted(set().union(*alike) - {CONFIG}):
        values = [settings.get(key, "unset" if settings[CONFIG] == "there" else None) for settings in alike]
        if len({*values} - {None}) > 1:
            for labels, value in zip(differing, values, strict=True):
                labels += [] if value is None else [f"{key}={value}"]
    if len({settings[CONFIG] for settings in alike}) > 1:
        for labels, settings in zip(differing, alike, strict=True):
            labels += [f"no {CONFIG}"] if settings[CONFIG] == "missing" else []
    return [tuple(labels) for labels in differing]
