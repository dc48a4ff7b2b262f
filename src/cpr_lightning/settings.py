"""Every key of a run, its type and its default: the one place where defaults are held.

Hydra checks ``conf/`` and the command line against these classes, so a mistyped key or a value of the wrong type is
refused before anything runs. The YAML files hold only differences from what stands here. Where the paper and the
authors' released code differ, a key takes ``official`` (the code, the default) or ``paper``.
"""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from cpr_lightning.choices import (
    Codec,
    Divergence,
    Figure,
    Kind,
    OnError,
    Precision,
    Reading,
    RemoteWeight,
    Runtime,
    Scenario,
    Search,
)


@dataclass
class DatasetSettings:
    """Where the images are. All data sets share these keys, so that they can be swept over."""

    _target_: str = MISSING  # the layout that reads the folder
    name: str = MISSING
    root: str = MISSING  # the folder that holds the categories
    kind: Kind | None = None  # null: known for the data set's own categories; for others say object or texture
    # A mask's pixel above this is defective. null: as the data set has it (BTAD and VisA: 0); the others' masks hold 0
    # and 255, and one with anything else is refused
    mask_threshold: int | None = None
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
    strides: list[int] = field(default_factory=lambda: [4, 8])  # pixels from one cell to the next, per scale
    layers: list[int] | None = None  # timm's out_indices; null: those at `strides`, whatever their numbers
    statistics: Reading = Reading.official  # batch norms after the released code's noise pass; paper: as pretrained


@dataclass
class RetrievalSettings:
    """Targeting (which references to look at) and shooting (how far around a place to look in them)."""

    search: Search = Search.targeted  # K nearest references; window: all references; coreset: the bank without places
    coreset: float = 0.01  # share of the bank's vectors that search=coreset keeps; 1: all
    neighbors: int = 10  # K, nearest references a query is compared with
    blocks: int = 5  # S, the image is divided into S × S blocks
    clusters: int = 12  # codes of the codebook
    ignored_blocks: int = 5  # τ, worst blocks left out of the distance (a defect must not decide the ranking)
    windows: list[int] = field(default_factory=lambda: [3, 1])  # cells, per scale; odd
    divergence: Divergence = Divergence.official  # KL(query‖reference); paper: KL(reference‖query); l2: no KL
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
    # Where its codes lie: auto (where the cascade computes), cpu (for banks larger than the GPU), cuda
    device: str = "auto"


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
class SupervisedSettings:
    """What scenario=supervised does with real defective images; without effect when unsupervised."""

    images: int = 10  # defective test images to learn from; they leave the test set
    seed: int | None = None  # which ones; null: the run's seed. 42 chooses those of the released code
    shown_probability: float = 0.025  # share of queries that are one of them, as it is
    pasted_probability: float = 0.2  # share of queries that real defects are pasted on, over what they show already
    pasted_most: int = 5  # of these defects at once: one to so many
    altered_probability: float = 0.5  # of three photometric operations on a defect before it is pasted
    moved_probability: float = 0.9  # of another place, angle and size for it; else it stays where it was
    scale: list[float] = field(default_factory=lambda: [0.5, 1.5])  # range of the size of a moved defect
    opacity: list[float] = field(default_factory=lambda: [0.5, 1.0])  # range of the opacity of a pasted defect


@dataclass
class ScoringSettings:
    """From distances to an anomaly map and an image score (Algorithm 2)."""

    top_pixels: int = 512  # T, largest pixels summed to the image score
    blur_sigma: float = 4.0  # pixels; the kernel spans ±4σ


@dataclass
class CalibrationSettings:
    """The threshold for `is_anomalous`, from good images: those of a validation split, else training images."""

    images: int = 64  # at most, evenly spread over them
    sigmas: float = 3.0  # threshold = mean + sigmas × standard deviation


@dataclass
class ValidationSettings:
    """A score to choose settings by without the test set: ``validation_score`` in metrics.json."""

    # Good images that synthetic defects are drawn on: of the validation split where there is one, then training images,
    # which are not learned from. 0: no score
    images: int = 0


@dataclass
class ExperimentSettings:
    """What follows when all runs of the command are done; ``conf/experiment`` holds the paper's tables and figures."""

    name: str | None = None
    report: bool = False  # the numbers beside the published ones, as `cpr report` does
    benchmark: bool = False  # the speed of every run, as `cpr benchmark run=…` does
    benchmark_runs: int = 2000  # inferences; the first half is not counted
    figures: list[Figure] = field(default_factory=list)  # as `cpr figure` does


@dataclass
class SweepSettings:
    """How many runs with one command (``-m``) are gone through."""

    resume: bool = False  # run only what is missing or failed in the sweep that the same command made
    dry: bool = False  # list the cells, run none


@dataclass
class Settings:
    """A whole run."""

    dataset: DatasetSettings = field(default_factory=DatasetSettings)
    category: str = MISSING
    variant: str = MISSING
    ablation: str = MISSING
    scenario: Scenario = MISSING
    seed: int = 66
    image_size: int = 320  # pixels; images are resized to a square
    device: str = "auto"  # auto, cpu, cuda, cuda:1
    runtime: Runtime = Runtime.eager  # of the network part when images are scored
    precision: Precision = Precision.fp32  # of the network part when images are scored; fp16 on CUDA only
    onnx_providers: list[str] = field(default_factory=list)  # ONNX Runtime's names, best first; empty: the device's
    index_cache: str = "outputs/index_cache"  # shared by every run with the same images, backbone and settings
    resume: str | None = None  # a run directory to finish
    fast: bool = False  # the group `fast`: generated data and a minute network, to see an experiment work in seconds
    experiment: ExperimentSettings = field(default_factory=ExperimentSettings)
    backbone: BackboneSettings = field(default_factory=BackboneSettings)
    retrieval: RetrievalSettings = field(default_factory=RetrievalSettings)
    foreground: ForegroundSettings = field(default_factory=ForegroundSettings)
    bank: BankSettings = field(default_factory=BankSettings)
    branch: BranchSettings = field(default_factory=BranchSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    supervised: SupervisedSettings = field(default_factory=SupervisedSettings)
    scoring: ScoringSettings = field(default_factory=ScoringSettings)
    calibration: CalibrationSettings = field(default_factory=CalibrationSettings)
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    search: dict[str, Any] = field(default_factory=dict)  # what chooses the cells of a sweep, if not all are run
    sweep: SweepSettings = field(default_factory=SweepSettings)
    launcher: dict[str, Any] = field(default_factory=dict)  # what runs the cells of a sweep (_target_ and arguments)
    trainer: dict[str, Any] = field(default_factory=dict)  # arguments of lightning.Trainer; add one with +trainer.…
    logger: dict[str, Any] = field(default_factory=dict)  # name → a Lightning logger (_target_ and arguments)
