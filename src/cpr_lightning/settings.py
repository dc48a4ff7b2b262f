"""Every key of a run, its type and its default: the one place where defaults are held.

Hydra checks ``conf/`` and the command line against these classes, so a mistyped key or a value of the wrong type is
refused before anything runs. The YAML files hold only differences from what stands here. Where the paper and the
authors' released code differ, a key takes ``official`` (the code, the default) or ``paper``.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from omegaconf import MISSING


class Kind(Enum):
    """What a category shows. Objects have a foreground branch and remote pairs, textures have neither."""

    object = "object"
    texture = "texture"


class Reading(Enum):
    """Whose reading of the method to follow where the paper and the released code differ."""

    official = "official"
    paper = "paper"


class RemoteWeight(Enum):
    """How a remote pair is weighted in the loss (eq. 11); ``none`` weights all alike."""

    official = "official"
    paper = "paper"
    none = "none"


# What to do with an image that cannot be read: stop, or leave it out and say so. Not a class, for "raise" is a keyword.
OnError = Enum("OnError", {"raise": "raise", "skip": "skip"})


class Codec(Enum):
    """How the bank stores a reference's feature: 4 (flat), 2 (fp16) or 1 (sq8) bytes a number, or a quarter (pq)."""

    flat = "flat"
    fp16 = "fp16"
    sq8 = "sq8"
    pq = "pq"


class Runtime(Enum):
    """What computes the network part; ``auto`` takes the fastest that is installed."""

    eager = "eager"
    compile = "compile"
    openvino = "openvino"
    onnx = "onnx"
    auto = "auto"


class Precision(Enum):
    """In which numbers the network part is computed."""

    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


@dataclass
class DatasetSettings:
    """Where the images are. All data sets share these keys, so that they can be swept over."""

    _target_: str = MISSING  # the layout that reads the folder
    name: str = MISSING
    root: str = MISSING  # the folder that holds the categories
    kind: Kind | None = None  # null: known for the data set's own categories; for others say object or texture
    on_error: OnError = OnError["raise"]
    # dataset=folder only; a path is absolute or relative to dataset.root
    good: str | None = None  # images without defects, to learn from
    test_good: str | None = None  # images without defects, to test with; null: every fifth of `good` is held out
    defective: str | None = None  # images with defects, to test with; sub-folders name the defects
    masks: str | None = None  # defect masks: same relative path as the image, with or without "_mask", any extension


@dataclass
class BackboneSettings:
    """The frozen network that makes raw features: any timm model with features at strides 4 and 8."""

    name: str = "densenet201"
    weights: str = "imagenet"  # imagenet (fetched by timm), random, or a .safetensors file in timm's names
    layers: list[int] = field(default_factory=lambda: [1, 2])  # timm's out_indices: strides 4 and 8
    statistics: Reading = Reading.official  # batch norms after the released code's noise pass; paper: as pretrained


@dataclass
class RetrievalSettings:
    """Targeting (which references to look at) and shooting (how far around a place to look in them)."""

    neighbors: int = 10  # K, nearest references a query is compared with
    blocks: int = 5  # S, the image is divided into S × S blocks
    clusters: int = 12  # codes of the codebook
    ignored_blocks: int = 5  # τ, worst blocks left out of the distance (a defect must not decide the ranking)
    windows: list[int] = field(default_factory=lambda: [3, 1])  # cells, per scale; odd
    divergence: Reading = Reading.official  # KL(query‖reference); paper: KL(reference‖query)
    codebook_vectors: int = 50_000  # random feature vectors the codebook is learned from
    codebook_restarts: int = 10  # k-means runs, the best is kept
    codebook_seed: int = 66  # not the run's seed: runs that differ in that alone share an index


@dataclass
class ForegroundSettings:
    """The branch that tells product from background (objects only)."""

    enabled: bool | None = None  # null: on for objects, off for textures
    method: Reading = Reading.official  # own 2-cluster codebook; paper: the codebook of the global retrieval
    border: float = 3 / 80  # share of each side taken as surround
    centre: float = 0.4  # share of width and height taken as centre
    vectors: int = 15_000  # at most, per class, for the linear discriminant


@dataclass
class BankSettings:
    """The store of reference features."""

    codec: Codec = Codec.fp16
    device: str = (
        "auto"  # where its codes lie: auto (where the cascade computes), cpu (for banks larger than the GPU), cuda
    )


@dataclass
class BranchSettings:
    """The local retrieval branch: the only part that is trained."""

    dim: int = 384  # D, numbers per descriptor
    enabled: bool = True  # false: match raw backbone features (ablation no_local)


@dataclass
class TrainingSettings:
    """How the local branch is trained. Defaults are the released code's."""

    max_steps: int | None = None  # null: 40,000 for objects, 500 for textures
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    anomaly_sources: str | None = None  # a DTD-style folder of textures; null: generated textures
    defect_probability: float = 0.9  # share of queries with a synthetic defect
    defect_scale: int = 2  # defects are drawn at this many times image_size: soft edges and fine textures
    augment_probability: float = 0.3  # of salt-and-pepper, and of a change of lightness, per image
    pairs: int = 300  # pixel pairs of each sort (same, remote, defect) per image
    pair_points: Reading = Reading.official  # image pixels; paper: feature cells
    remote: bool | None = None  # remote pairs; null: on for objects, off for textures
    remote_weight: RemoteWeight = RemoteWeight.official  # squared raw distance / mean; paper: distance / mean
    loss: Reading = Reading.official  # weight inside the power, mean per sign; paper: outside, mean over all
    positive_margin: float = 0.8  # m⁺
    negative_margin: float = -0.2  # m⁻
    power: int = 3  # p of eq. 12
    workers: int | None = None  # loader processes; null: one less than the cores, at most 4
    checkpoint_every: int = 100  # steps; a killed run resumes from the last one


@dataclass
class ScoringSettings:
    """From distances to an anomaly map and an image score (Algorithm 2)."""

    top_pixels: int = 512  # T, largest pixels summed to the image score
    blur_sigma: float = 4.0  # pixels; the kernel spans ±4σ


@dataclass
class CalibrationSettings:
    """The threshold for `is_anomalous`, from good training images scored against the others."""

    images: int = 64  # at most, evenly spread over the training images
    sigmas: float = 3.0  # threshold = mean + sigmas × standard deviation


@dataclass
class Settings:
    """A whole run."""

    dataset: DatasetSettings = field(default_factory=DatasetSettings)
    category: str = MISSING
    variant: str = MISSING
    ablation: str = MISSING
    scenario: str = MISSING
    seed: int = 66
    image_size: int = 320  # pixels; images are resized to a square
    device: str = "auto"  # auto, cpu, cuda, cuda:1
    runtime: Runtime = Runtime.eager  # of the network part when images are scored
    precision: Precision = Precision.fp32  # of the network part when images are scored; fp16 on CUDA only
    onnx_providers: list[str] = field(default_factory=list)  # ONNX Runtime's names, best first; empty: the device's
    index_cache: str = "outputs/index_cache"  # shared by every run with the same images, backbone and settings
    resume: str | None = None  # a run directory to finish
    backbone: BackboneSettings = field(default_factory=BackboneSettings)
    retrieval: RetrievalSettings = field(default_factory=RetrievalSettings)
    foreground: ForegroundSettings = field(default_factory=ForegroundSettings)
    bank: BankSettings = field(default_factory=BankSettings)
    branch: BranchSettings = field(default_factory=BranchSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    scoring: ScoringSettings = field(default_factory=ScoringSettings)
    calibration: CalibrationSettings = field(default_factory=CalibrationSettings)
    trainer: dict[str, Any] = field(default_factory=dict)  # arguments of lightning.Trainer; add one with +trainer.…
    logger: dict[str, Any] = field(default_factory=dict)  # name → a Lightning logger (_target_ and arguments)
