"""Every data set's layout, on a miniature of it: what is found, and what is said when it is another one's."""

import shutil
from itertools import permutations
from pathlib import Path

import pytest

from cpr_lightning.choices import Kind, OnError
from cpr_lightning.data.categories import BTAD, MVTEC, MVTEC3D, MVTEC_AD2, VISA
from cpr_lightning.data.checking import check
from cpr_lightning.data.layout import Layout
from cpr_lightning.data.layouts import BtadLayout, Mvtec3dLayout, MvtecAd2Layout, MvtecLayout
from cpr_lightning.data.samples import Sample
from cpr_lightning.data.visa_layout import VisaLayout
from cpr_lightning.errors import CategoryError, DataError, SettingsError
from miniatures import WRITERS, btad, mvtec, mvtec3d, mvtec_ad2, picture, visa, write

LAYOUTS: dict[str, type[Layout]] = {
    "mvtec": MvtecLayout,
    "mvtec3d": Mvtec3dLayout,
    "btad": BtadLayout,
    "visa": VisaLayout,
    "mvtec_ad2": MvtecAd2Layout,
}
FIRST = {"mvtec": "bottle", "mvtec3d": "bagel", "btad": "01", "visa": "candle", "mvtec_ad2": "can"}


def layout_of(name: str, root: Path) -> Layout:
    return LAYOUTS[name](str(root))


def listed(samples: list[Sample], folder: Path) -> list[tuple[str, str | None, int, str]]:
    """Paths relative to a category's folder, labels and defects."""
    return [
        (
            each.image.relative_to(folder).as_posix(),
            None if each.mask is None else each.mask.relative_to(folder).as_posix(),
            each.label,
            each.defect,
        )
        for each in samples
    ]


def good(place: str, names: list[str]) -> list[tuple[str, str | None, int, str]]:
    return [(f"{place}/{name}", None, 0, "good") for name in names]


def numbered(first: int, last: int, pattern: str = "{:03d}.png") -> list[str]:
    return [pattern.format(number) for number in range(first, last)]


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_image_and_mask_of_a_miniature_can_be_read(name: str, tmp_path: Path):
    layout = layout_of(name, WRITERS[name](tmp_path))
    for category in layout.categories():
        found = layout.look(category)
        assert (found.problems, found.remarks) == ([], [])
        assert layout.samples(category) == found.samples
        assert check(found.samples, OnError["raise"]).samples == found.samples
        for sample in found.samples.test:
            mask = sample.read_mask()
            assert (mask is not None) == (sample.label == 1)
            assert mask is None or (mask[24:40, 20:44].all() and mask.sum() == 16 * 24)


def test_mvtec(tmp_path: Path):
    samples = MvtecLayout(str(mvtec(tmp_path))).samples("bottle")
    folder = tmp_path / "bottle"
    assert listed(samples.references, folder) == good("train/good", numbered(0, 8))
    assert samples.validation == []
    defects = [
        (f"test/{defect}/{number:03d}.png", f"ground_truth/{defect}/{number:03d}_mask.png", 1, defect)
        for defect in ("broken_large", "contamination")
        for number in range(2)
    ]
    assert listed(samples.test, folder) == [*defects, *good("test/good", numbered(20, 23))]


def test_mvtec3d_takes_the_colour_images_and_the_validation_split(tmp_path: Path):
    samples = Mvtec3dLayout(str(mvtec3d(tmp_path))).samples("bagel")
    folder = tmp_path / "bagel"
    assert listed(samples.references, folder) == good("train/good/rgb", numbered(0, 8))
    assert listed(samples.validation, folder) == good("validation/good/rgb", numbered(10, 13))
    combined, hole = (
        [(f"test/{defect}/rgb/{n:03d}.png", f"test/{defect}/gt/{n:03d}.png", 1, defect) for n in range(2)]
        for defect in ("combined", "hole")
    )
    assert listed(samples.test, folder) == [*combined, *good("test/good/rgb", numbered(20, 23)), *hole]


@pytest.mark.parametrize(
    ("category", "suffix", "masks"), [("01", "bmp", "png"), ("02", "png", "png"), ("03", "bmp", "bmp")]
)
def test_btad_mixes_formats(category: str, suffix: str, masks: str, tmp_path: Path):
    btad(tmp_path)
    folder = tmp_path / "BTech_Dataset_transformed" / category
    for root in (tmp_path, folder.parent):  # the root may be the archive's folder, or the one around it
        samples = BtadLayout(str(root)).samples(category)
        assert listed(samples.references, folder) == good("train/ok", numbered(0, 8, f"{{:04d}}.{suffix}"))
        defects = [(f"test/ko/{n:04d}.{suffix}", f"ground_truth/ko/{n:04d}.{masks}", 1, "ko") for n in range(2)]
        assert listed(samples.test, folder) == [*defects, *good("test/ok", numbered(20, 23, f"{{:04d}}.{suffix}"))]


def test_visa_is_split_as_its_table_says(tmp_path: Path):
    samples = VisaLayout(str(visa(tmp_path))).samples("pcb1")
    normal, anomaly = "pcb1/Data/Images/Normal", "pcb1/Data/Images/Anomaly"
    assert listed(samples.references, tmp_path) == good(normal, numbered(0, 8, "{:04d}.JPG"))
    defects = [(f"{anomaly}/{n:03d}.JPG", f"pcb1/Data/Masks/Anomaly/{n:03d}.png", 1, "anomaly") for n in range(3)]
    assert listed(samples.test, tmp_path) == [*good(normal, numbered(8, 11, "{:04d}.JPG")), *defects]


def test_mvtec_ad2_takes_the_public_test_set(tmp_path: Path):
    samples = MvtecAd2Layout(str(mvtec_ad2(tmp_path))).samples("can")
    folder = tmp_path / "can"
    assert listed(samples.references, folder) == good("train/good", numbered(0, 8, "{:03d}_regular.png"))
    assert listed(samples.validation, folder) == good("validation/good", numbered(10, 13, "{:03d}_regular.png"))
    names = ["000_overexposed", "000_regular", "000_shift_1"]
    masks = "test_public/ground_truth/bad"
    defects = [(f"test_public/bad/{name}.png", f"{masks}/{name}_mask.png", 1, "bad") for name in names]
    assert listed(samples.test, folder) == [*defects, *good("test_public/good", [f"{name}.png" for name in names])]


def test_an_archive_unpacked_into_a_folder_of_its_own_name_is_found(tmp_path: Path):
    mvtec_ad2(tmp_path / "can", ["can"])
    layout = MvtecAd2Layout(str(tmp_path))
    assert layout.categories() == ["can"]
    assert layout.samples("can").references[0].image.parent == tmp_path / "can" / "can" / "train" / "good"


def test_the_known_categories_and_their_kinds():
    def of(known: dict[str, Kind], kind: Kind) -> int:
        return sum(each is kind for each in known.values())

    assert (of(MVTEC, Kind.object), of(MVTEC, Kind.texture)) == (10, 5)
    assert (of(MVTEC3D, Kind.object), of(MVTEC3D, Kind.texture)) == (10, 0)
    assert {"01": Kind.object, "02": Kind.texture, "03": Kind.object} == BTAD
    assert (of(VISA, Kind.object), of(VISA, Kind.texture)) == (12, 0)
    assert len(MVTEC_AD2) == 8
    assert {MVTEC_AD2["can"], MVTEC_AD2["vial"]} == {Kind.object}
    assert {MVTEC_AD2["fabric"], MVTEC_AD2["rice"]} == {Kind.texture}


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_kind_can_be_overruled_and_so_can_what_masks_hold(name: str, tmp_path: Path):
    root = str(WRITERS[name](tmp_path))
    assert LAYOUTS[name](root).samples(FIRST[name]).kind is Kind.object
    samples = LAYOUTS[name](root, Kind.texture, 100).samples(FIRST[name])
    assert samples.kind is Kind.texture
    assert {sample.mask_threshold for sample in samples.test if sample.label} == {100}


@pytest.mark.parametrize("name", LAYOUTS)
def test_categories_are_those_that_are_there_in_the_order_of_the_paper(name: str, tmp_path: Path):
    layout = layout_of(name, WRITERS[name](tmp_path))
    (tmp_path / "notes").mkdir()
    names = layout.categories()
    assert len(names) in (2, 3)
    assert names == [each for each in layout.known if each in names]


def test_where_no_known_category_is_there_those_with_the_layout_are(tmp_path: Path):
    mvtec(tmp_path, ["gear", "bolt"])
    (tmp_path / "notes").mkdir()
    assert MvtecLayout(str(tmp_path)).categories() == ["bolt", "gear"]
    shutil.rmtree(tmp_path / "bolt")
    shutil.rmtree(tmp_path / "gear")
    with pytest.raises(
        CategoryError, match=r"holds no category of MVTec AD \(a folder with train/good, .*holds: notes\."
    ):
        MvtecLayout(str(tmp_path)).categories()


@pytest.mark.parametrize(("name", "written"), list(permutations(LAYOUTS, 2)))
def test_another_data_sets_layout_is_recognised(name: str, written: str, tmp_path: Path):
    layout = layout_of(name, WRITERS[written](tmp_path))
    for ask in (layout.categories, lambda: layout.samples(FIRST[name]), lambda: layout.samples(FIRST[written])):
        with pytest.raises(DataError, match=rf"This looks like .*; use dataset={written}\.$"):
            ask()


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name != "visa"])
def test_a_root_that_is_a_category_is_recognised(name: str, tmp_path: Path):
    layout = layout_of(name, WRITERS[name](tmp_path))
    folder = layout.samples(FIRST[name]).references[0].image.relative_to(tmp_path).parts
    inside = tmp_path.joinpath(*folder[: folder.index(FIRST[name]) + 1])
    with pytest.raises(CategoryError, match=r"is itself a category, .*; give the folder around it\.$"):
        layout_of(name, inside).samples(FIRST[name])


def test_what_was_expected_and_what_was_found_are_said(tmp_path: Path):
    mvtec(tmp_path)
    (tmp_path / "bottle" / "train" / "good").rename(tmp_path / "bottle" / "train" / "gut")
    with pytest.raises(DataError) as caught:
        MvtecLayout(str(tmp_path)).samples("bottle")
    said = str(caught.value)
    assert f"{tmp_path / 'bottle' / 'train' / 'good'} does not exist" in said
    assert "MVTec AD has train/good, test/<defect>, ground_truth/<defect> in a category" in said
    assert "holds ground_truth, test, train." in said
    assert "looks like" not in said, "for grid is as it should be"


@pytest.mark.parametrize("typed", ["Bottle", "BOTTLE", "botle"])
def test_a_category_in_another_case_is_not_taken(typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    mvtec(tmp_path, ["bottle", "grid"])
    real = Path.is_dir
    # As on a file system that does not tell cases apart.
    monkeypatch.setattr(Path, "is_dir", lambda path: real(path) or real(path.parent / path.name.lower()))
    with pytest.raises(CategoryError, match=rf"no category {typed}; did you mean bottle\? It holds: bottle, grid\.$"):
        MvtecLayout(str(tmp_path)).samples(typed)


def test_a_test_folder_without_its_inner_folder_is_a_problem(tmp_path: Path):
    mvtec3d(tmp_path)
    shutil.rmtree(tmp_path / "bagel" / "test" / "hole" / "rgb")
    with pytest.raises(DataError, match=r"test/hole/rgb does not exist; it should hold the images of hole"):
        Mvtec3dLayout(str(tmp_path)).samples("bagel")


def test_all_missing_masks_are_told(tmp_path: Path):
    mvtec(tmp_path)
    for path in (tmp_path / "bottle" / "ground_truth").rglob("*.png"):
        path.unlink()
    layout = MvtecLayout(str(tmp_path))
    assert len(layout.look("bottle").problems) == 4
    with pytest.raises(DataError, match=r"broken_large/000(.|\n)*And 1 more such problems"):
        layout.samples("bottle")


def test_what_is_odd_but_does_no_harm_is_remarked(tmp_path: Path):
    mvtec3d(tmp_path)
    folder = tmp_path / "bagel"
    write(folder / "test" / "hole" / "gt" / "009.png", picture(0))
    (folder / "test" / "crack" / "rgb").mkdir(parents=True)
    shutil.rmtree(folder / "validation")
    found = Mvtec3dLayout(str(tmp_path)).look("bagel")
    assert found.problems == []
    assert [sentence for sentence in found.remarks if "009.png belongs to no defective image" in sentence]
    assert [sentence for sentence in found.remarks if "test/crack/rgb holds no image" in sentence]
    assert [sentence for sentence in found.remarks if "validation/good/rgb does not exist" in sentence]
    assert len(found.remarks) == 3
    assert Mvtec3dLayout(str(tmp_path)).samples("bagel").validation == []


def test_a_category_of_ones_own_needs_its_kind(tmp_path: Path):
    mvtec_ad2(tmp_path, ["gear"])
    with pytest.raises(SettingsError, match=r"gear is not a known category.*dataset\.kind=object"):
        MvtecAd2Layout(str(tmp_path)).samples("gear")
    assert MvtecAd2Layout(str(tmp_path), Kind.texture).samples("gear").kind is Kind.texture
