"""What a run leaves on disk, and how it is loaded again.

``config.yaml`` every setting · ``model.safetensors`` local branch, foreground and codebook · ``bank/`` what is kept per
reference: FAISS indexes, histograms, foreground maps, names · ``neighbors.csv`` · ``calibration.json`` ·
``environment.json``. Results (metrics, predictions, pictures) are written by :mod:`cpr_lightning.results`.
"""

from dataclasses import dataclass, fields
from pathlib import Path

import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from safetensors import SafetensorError, safe_open
from torch import Tensor
from yaml import YAMLError

from cpr_lightning.assembly import assemble, create_backbone, create_branch, feature_shapes, ready
from cpr_lightning.choices import Precision, Runtime, Search
from cpr_lightning.errors import RunError
from cpr_lightning.evaluation.calibration import Calibration
from cpr_lightning.files import write_csv, write_tensors, write_text
from cpr_lightning.model.cascade import CascadePatchRetrieval
from cpr_lightning.model.index import ReferenceIndex
from cpr_lightning.model.network import LocalFeatures
from cpr_lightning.retrieval.bank import ReferenceBank
from cpr_lightning.retrieval.whole_bank import load_coreset
from cpr_lightning.runtime.choosing import check_runtime
from cpr_lightning.settings import Settings

_LAST_KEY = fields(Settings)[-1].name


@dataclass
class Run:
    """A trained run, ready to score images."""

    folder: Path
    settings: Settings
    cascade: CascadePatchRetrieval
    references: list[str]  # paths of the reference images, in the order of the bank
    calibration: Calibration


def save_settings(folder: Path, settings: Settings) -> None:
    """Write ``config.yaml``: every key, nothing left to defaults that may change."""
    write_text(folder / "config.yaml", OmegaConf.to_yaml(OmegaConf.structured(settings)))


def load_settings(folder: Path) -> Settings:
    """Read ``config.yaml`` of a run.

    Raises:
        RunError: the folder is no run, or was made by a version with other keys.
    """
    path = folder / "config.yaml"
    if not folder.is_dir():
        raise RunError(f"run={folder} is not a folder. Give the folder that `cpr train` printed at its end.")
    if not path.is_file():
        raise RunError(f"{path} is missing: {folder} is not the folder of a run.")
    try:
        held = OmegaConf.load(path)
        # Keys that came after the run was made have their defaults; but every version has written this one last.
        if _LAST_KEY not in held:
            raise ValueError("its end is missing")
        merged = OmegaConf.merge(OmegaConf.structured(Settings), held)
        settings = OmegaConf.to_object(merged)
    except (OmegaConfBaseException, YAMLError, OSError, ValueError, TypeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise RunError(
            f"{path} cannot be used ({reason}). It was damaged, or made by another version of cpr-lightning; see the "
            "version in environment.json and install that one, or train the run again."
        ) from error
    assert isinstance(settings, Settings)
    return settings


def save_model(folder: Path, features: LocalFeatures, index: ReferenceIndex, references: list[str]) -> None:
    """Write ``model.safetensors``, ``neighbors.csv`` and the bank's part of the index."""
    tensors = {"codebook": index.codebook}
    if index.foreground_weight is not None and index.foreground_bias is not None:
        tensors |= {"foreground.weight": index.foreground_weight, "foreground.bias": index.foreground_bias}
    if features.branch is not None:
        tensors |= {f"branch.{name}": value for name, value in features.branch.state_dict().items()}
    write_tensors(folder / "model.safetensors", tensors, {"backbone": features.backbone.fingerprint})
    index.save(folder / "bank" / "references.safetensors")
    write_text(folder / "bank" / "references.txt", "\n".join(references) + "\n")
    rows = [
        [references[row], *(references[other] for other in index.neighbors[row].tolist())] for row in range(len(index))
    ]
    header = ["path", *(f"neighbor_{rank}" for rank in range(1, index.neighbors.shape[1] + 1))]
    write_csv(folder / "neighbors.csv", header, rows)


def load_run(
    folder: Path, device: torch.device, runtime: Runtime | None = None, precision: Precision | None = None
) -> Run:
    """Load a finished run.

    Args:
        folder: the run directory.
        device: to compute on.
        runtime: of the network part; None: the run's own.
        precision: of the network part; None: the run's own.

    Raises:
        SettingsError: the runtime cannot be used here.
        RunError: a file is missing, damaged, or does not go with the others.
        WeightsError: the backbone's weights are not to be had.
    """
    settings = load_settings(folder)
    settings.runtime, settings.precision = runtime or settings.runtime, precision or settings.precision
    check_runtime(settings.runtime, settings.precision, device, settings.onnx_providers)
    path = folder / "model.safetensors"
    if not path.is_file():
        finished = (folder / "metrics.json").is_file()
        remedy = "Train it again." if finished else f"Finish it with `cpr train resume={folder}`, or train it again."
        raise RunError(f"{path} is missing: the run is incomplete. {remedy}")
    try:
        with safe_open(path, framework="pt") as file:
            made_with = (file.metadata() or {}).get("backbone")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    except SafetensorError as error:
        raise RunError(f"{path} is cut short or damaged ({error}). Copy it again, or train the run again.") from error
    backbone = create_backbone(settings)
    if backbone.fingerprint != made_with:
        raise RunError(
            f"The backbone's weights are not those that the run in {folder} was trained with. Its config.yaml says "
            f"backbone.name={settings.backbone.name} backbone.weights={settings.backbone.weights}: put that file back."
        )
    features = LocalFeatures(backbone, create_branch(settings, backbone))
    _load_branch(features, tensors, path)
    index = ReferenceIndex.load(folder / "bank" / "references.safetensors")
    bank = ReferenceBank.load(folder / "bank", feature_shapes(settings, backbone), settings.bank.codec)
    names = folder / "bank" / "references.txt"
    references = names.read_text(encoding="utf-8").splitlines() if names.is_file() else []
    if not len(index) == len(bank) == len(references):
        raise RunError(
            f"The bank in {folder / 'bank'} does not fit together: features of {len(bank)} references, histograms of "
            f"{len(index)}, names of {len(references)}. Copy the run again, or train it again."
        )
    coreset = load_coreset(folder / "bank", bank) if settings.retrieval.search is Search.coreset else None
    calibration = Calibration.load(folder / "calibration.json")
    cascade = ready(assemble(settings, features, index, bank, coreset), settings, device)
    return Run(folder, settings, cascade, references, calibration)


def _load_branch(features: LocalFeatures, tensors: dict[str, Tensor], path: Path) -> None:
    if features.branch is None:
        return
    state = {name.removeprefix("branch."): value for name, value in tensors.items() if name.startswith("branch.")}
    try:
        features.branch.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise RunError(
            f"{path} does not fit the branch of config.yaml ({reason}). The files belong to two runs."
        ) from error
    features.eval()
