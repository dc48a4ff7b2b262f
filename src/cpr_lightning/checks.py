"""Settings that are refused before any work, each with a sentence."""

from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from cpr_lightning.choices import Codec
from cpr_lightning.errors import SettingsError
from cpr_lightning.retrieval.codecs import PART
from cpr_lightning.settings import Settings
from cpr_lightning.trainer_checks import trainer_problem

_OPEN = ("trainer", "logger", "launcher", "search")  # their keys are those of what they build
_HINTS = {
    "dataset.root": "the folder that holds the categories",
    "category": "which product, the name of a folder in dataset.root",
}


def check_settings(config: DictConfig) -> Settings:
    """A composed configuration as typed settings.

    Raises:
        SettingsError: a key is not set, or values make no sense, alone or together.
    """
    known = known_keys(Settings)
    for key in _keys(config):
        if key not in known:
            raise SettingsError(unknown_key(key))
    for key in sorted(OmegaConf.missing_keys(config)):
        raise SettingsError(f"{key} is not set ({_HINTS.get(key, 'required')}); add {key}=… to the command.")
    settings = OmegaConf.to_object(config)
    assert isinstance(settings, Settings)
    _make_absolute(settings)
    problem = _problem(settings) or trainer_problem(settings)
    if problem is not None:
        raise SettingsError(problem)
    return settings


def unknown_key(key: str) -> str:
    """The sentence about a key that does not exist."""
    near = get_close_matches(key, sorted(known_keys(Settings)), n=1)
    hint = f"; did you mean {near[0]}?" if near else "."
    return f"There is no key {key}{hint} `cpr train --help` shows all keys."


def known_keys(group: type, prefix: str = "") -> set[str]:
    """Dotted names of all keys of a group of settings and of the groups in it."""
    keys = set()
    for field in fields(group):
        name = prefix + field.name
        keys.add(name)
        if isinstance(field.type, type) and is_dataclass(field.type):
            keys |= known_keys(field.type, f"{name}.")
    return keys


def _keys(config: DictConfig, prefix: str = "") -> list[str]:
    """Dotted names of the keys of a configuration; of the open ones the name alone."""
    keys = []
    for key in config:
        name = f"{prefix}{key}"
        keys.append(name)
        if name not in _OPEN and OmegaConf.is_dict(config._get_node(str(key))):
            keys += _keys(config[key], f"{name}.")
    return keys


def _make_absolute(settings: Settings) -> None:
    """Relative paths mean the folder the command is typed in; a run must be usable from any other."""
    settings.dataset.root = _absolute(settings.dataset.root)
    settings.index_cache = _absolute(settings.index_cache)
    if settings.backbone.weights not in ("imagenet", "random"):
        settings.backbone.weights = _absolute(settings.backbone.weights)
    if settings.training.anomaly_sources is not None:
        settings.training.anomaly_sources = _absolute(settings.training.anomaly_sources)


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())


def _problem(settings: Settings) -> str | None:
    retrieval, training, scoring = settings.retrieval, settings.training, settings.scoring
    supervised = settings.supervised
    at_least_one = {
        "image_size": settings.image_size,
        "retrieval.neighbors": retrieval.neighbors,
        "retrieval.blocks": retrieval.blocks,
        "retrieval.clusters": retrieval.clusters,
        "retrieval.codebook_vectors": retrieval.codebook_vectors,
        "retrieval.codebook_restarts": retrieval.codebook_restarts,
        "branch.dim": settings.branch.dim,
        "training.batch_size": training.batch_size,
        "training.pairs": training.pairs,
        "training.defect_scale": training.defect_scale,
        "training.power": training.power,
        "training.checkpoint_every": training.checkpoint_every,
        "supervised.images": supervised.images,
        "supervised.pasted_most": supervised.pasted_most,
        "scoring.top_pixels": scoring.top_pixels,
        "calibration.images": settings.calibration.images,
        "foreground.vectors": settings.foreground.vectors,
        "experiment.benchmark_runs": settings.experiment.benchmark_runs,
    }
    for key, value in at_least_one.items():
        if not value >= 1:
            return f"{key}={value} must be 1 or more."
    shares = {
        "training.defect_probability": training.defect_probability,
        "training.augment_probability": training.augment_probability,
        "supervised.shown_probability": supervised.shown_probability,
        "supervised.pasted_probability": supervised.pasted_probability,
        "supervised.altered_probability": supervised.altered_probability,
        "supervised.moved_probability": supervised.moved_probability,
        "foreground.border": settings.foreground.border,
        "foreground.centre": settings.foreground.centre,
    }
    for key, value in shares.items():
        if not 0 <= value <= 1:
            return f"{key}={value} must lie in [0, 1]."
    not_negative = {
        "seed": settings.seed,
        "retrieval.codebook_seed": retrieval.codebook_seed,
        "supervised.seed": supervised.seed or 0,
        "training.max_steps": training.max_steps or 0,
        "training.learning_rate": training.learning_rate,
        "training.weight_decay": training.weight_decay,
        "training.workers": training.workers or 0,
        "scoring.blur_sigma": scoring.blur_sigma,
        "calibration.sigmas": settings.calibration.sigmas,
        "validation.images": settings.validation.images,
    }
    for key, value in not_negative.items():
        if not value >= 0:  # so that a nan is refused too
            return f"{key}={value} must not be negative."
    for key, values, most in (("scale", supervised.scale, 10.0), ("opacity", supervised.opacity, 1.0)):
        if len(values) != 2 or not 0 < values[0] <= values[1] <= most:
            return f"supervised.{key}={values} must be [low,high] with 0 < low ≤ high ≤ {most:g}."
    if not 0 <= retrieval.ignored_blocks < retrieval.blocks**2:
        return (
            f"retrieval.ignored_blocks={retrieval.ignored_blocks} must leave at least one of the "
            f"{retrieval.blocks**2} blocks (retrieval.blocks={retrieval.blocks})."
        )
    if retrieval.clusters > retrieval.codebook_vectors:
        return (
            f"retrieval.codebook_vectors={retrieval.codebook_vectors} are too few for "
            f"retrieval.clusters={retrieval.clusters}."
        )
    if not 0 < retrieval.coreset <= 1:
        return f"retrieval.coreset={retrieval.coreset} must be more than 0, and 1 at most."
    if any(window < 1 or window % 2 == 0 for window in retrieval.windows):
        return f"retrieval.windows={retrieval.windows}: a window has an odd number of cells on a side."
    backbone = settings.backbone
    if not backbone.strides or any(one >= other for one, other in pairwise([0, *backbone.strides])):
        return f"backbone.strides={backbone.strides} must be pixels from one cell to the next, finest scale first."
    if backbone.layers is not None and len(backbone.layers) != len(backbone.strides):
        return (
            f"backbone.layers={backbone.layers} and backbone.strides={backbone.strides} must be of one length. Leave "
            "backbone.layers out: layers are found by their strides."
        )
    if len(retrieval.windows) != len(backbone.strides):
        return (
            f"retrieval.windows={retrieval.windows} and backbone.strides={backbone.strides} must be of one length: a "
            "window for each scale."
        )
    if settings.bank.codec is Codec.pq and settings.branch.enabled and settings.branch.dim % PART:
        return (
            f"bank.codec=pq stores {PART} numbers in a byte, so branch.dim={settings.branch.dim} must be a multiple of "
            f"{PART}. Change it, or take bank.codec=sq8."
        )
    if settings.dataset.mask_threshold is not None and not 0 <= settings.dataset.mask_threshold < 255:
        return f"dataset.mask_threshold={settings.dataset.mask_threshold} must lie in [0, 254]."
    if settings.image_size < 32:
        return f"image_size={settings.image_size} is too small; the features would have fewer than 8 cells on a side."
    if not settings.category.strip():
        return "category is empty."
    return None
