"""The categories of the data sets, in the order of their papers' tables, and what each shows.

Objects have a foreground branch and remote pairs, textures have neither. The kinds of MVTec AD, MVTec 3D-AD and BTAD
are those of the CPR paper; ``dataset.kind`` overrules them.
"""

from cpr_lightning.choices import Kind

_OBJECT, _TEXTURE = Kind.object, Kind.texture

MVTEC = {
    "bottle": _OBJECT,
    "cable": _OBJECT,
    "capsule": _OBJECT,
    "hazelnut": _OBJECT,
    "metal_nut": _OBJECT,
    "pill": _OBJECT,
    "screw": _OBJECT,
    "toothbrush": _OBJECT,
    "transistor": _OBJECT,
    "zipper": _OBJECT,
    "carpet": _TEXTURE,
    "grid": _TEXTURE,
    "leather": _TEXTURE,
    "tile": _TEXTURE,
    "wood": _TEXTURE,
}

MVTEC3D = dict.fromkeys(
    ["bagel", "cable_gland", "carrot", "cookie", "dowel", "foam", "peach", "potato", "rope", "tire"], _OBJECT
)

BTAD = {"01": _OBJECT, "02": _TEXTURE, "03": _OBJECT}

# Single parts, several at once, circuit boards: all of them lie on a background that reaches the frame.
VISA = dict.fromkeys(
    [
        "candle",
        "capsules",
        "cashew",
        "chewinggum",
        "fryum",
        "macaroni1",
        "macaroni2",
        "pcb1",
        "pcb2",
        "pcb3",
        "pcb4",
        "pipe_fryum",
    ],
    _OBJECT,
)

# No paper on CPR has them, so the kinds are ours. The foreground branch learns "background" from the frame of the
# image: right for one part before a background, wrong for cloth and for bulk goods that lie anywhere, up to the edge.
MVTEC_AD2 = {
    "can": _OBJECT,
    "fabric": _TEXTURE,
    "fruit_jelly": _OBJECT,
    "rice": _TEXTURE,
    "sheet_metal": _OBJECT,
    "vial": _OBJECT,
    "wallplugs": _TEXTURE,
    "walnuts": _TEXTURE,
}
