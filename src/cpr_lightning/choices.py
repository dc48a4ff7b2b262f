"""What keys of the settings can be set to, where that is one of a few names."""

from enum import Enum


class Kind(Enum):
    """What a category shows. Objects have a foreground branch and remote pairs, textures have neither."""

    object = "object"
    texture = "texture"


class Reading(Enum):
    """Whose reading of the method to follow where the paper and the released code differ."""

    official = "official"
    paper = "paper"


class Divergence(Enum):
    """How blocks of words are compared: KL(query‖reference), KL(reference‖query), or the squared Euclidean distance."""

    official = "official"
    paper = "paper"
    l2 = "l2"


class Search(Enum):
    """What a query is matched with: at about the same place on its K nearest references, or on all of them; or, without
    regard to place, a k-center coreset of the whole bank (PatchCore on the same features).
    """

    targeted = "targeted"
    window = "window"
    coreset = "coreset"


class Scenario(Enum):
    """What there is to learn from: good images alone, or a few real defective ones too."""

    unsupervised = "unsupervised"
    supervised = "supervised"


class RemoteWeight(Enum):
    """How a remote pair is weighted in the loss (eq. 11); ``none`` weights all alike."""

    official = "official"
    paper = "paper"
    none = "none"


class Figure(Enum):
    """Pictures of runs: score maps beside the truth, retrieved references, foreground; speed against accuracy."""

    maps = "maps"
    neighbors = "neighbors"
    foreground = "foreground"
    speed = "speed"


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
