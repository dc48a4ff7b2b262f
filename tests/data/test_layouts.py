"""The layouts on disk: what is found, and what is said when something is missing."""

from pathlib import Path

import pytest

from cpr_lightning.choices import Kind
from cpr_lightning.data.folder_layout import FolderLayout
from cpr_lightning.data.layouts import MvtecLayout, TinyLayout
from cpr_lightning.data.samples import Sample
from cpr_lightning.errors import DataError, SettingsError


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def mvtec(root: Path, category: str = "bottle") -> Path:
    touch(
        root / category,
        *(f"train/good/{number:03d}.png" for number in range(3)),
        "test/good/000.png",
        "test/broken/000.png",
        "test/broken/001.png",
        "test/cut/000.png",
        "ground_truth/broken/000_mask.png",
        "ground_truth/broken/001_mask.png",
        "ground_truth/cut/000_mask.png",
        "license.txt",
    )
    return root


def test_a_category_in_the_layout_of_mvtec_is_found(tmp_path: Path):
    samples = MvtecLayout(str(mvtec(tmp_path))).samples("bottle")
    folder = tmp_path / "bottle"
    assert samples.category == "bottle"
    assert samples.kind is Kind.object
    assert samples.references == [
        Sample(folder / "train" / "good" / f"{number:03d}.png", None, 0, "good") for number in range(3)
    ]
    expected = [("broken", "000", 1), ("broken", "001", 1), ("cut", "000", 1), ("good", "000", 0)]
    assert [(each.defect, each.image.stem, each.label) for each in samples.test] == expected
    for each in samples.test:
        mask = folder / "ground_truth" / each.defect / f"{each.image.stem}_mask.png"
        assert each.mask == (mask if each.label else None)
        assert each.name == f"{each.defect}/{each.image.stem}"


@pytest.mark.parametrize(("category", "kind"), [("screw", Kind.object), ("grid", Kind.texture)])
def test_known_categories_know_their_kind_and_dataset_kind_overrules_it(tmp_path: Path, category: str, kind: Kind):
    root = str(mvtec(tmp_path, category))
    assert MvtecLayout(root).samples(category).kind is kind
    assert MvtecLayout(root, Kind.texture).samples(category).kind is Kind.texture


def test_a_category_of_ones_own_needs_its_kind(tmp_path: Path):
    root = str(mvtec(tmp_path, "gear"))
    with pytest.raises(SettingsError, match=r"gear is not a known category.*dataset\.kind=object"):
        MvtecLayout(root).samples("gear")
    assert MvtecLayout(root, Kind.object).samples("gear").kind is Kind.object


def test_hidden_and_other_files_are_left_out_and_upper_case_is_taken(tmp_path: Path):
    mvtec(tmp_path)
    touch(tmp_path / "bottle", "train/good/.x.png", "train/good/Thumbs.db", "train/good/zz.JPG", "test/good/notes.txt")
    samples = MvtecLayout(str(tmp_path)).samples("bottle")
    assert [each.image.name for each in samples.references] == ["000.png", "001.png", "002.png", "zz.JPG"]
    assert len(samples.test) == 4


def test_keys_of_other_layouts_are_ignored(tmp_path: Path):
    layout = MvtecLayout(str(mvtec(tmp_path)), good="x", masks=None, name="mvtec")
    assert len(layout.samples("bottle").references) == 3


def test_a_missing_root_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"dataset\.root=.*nowhere is not a folder"):
        MvtecLayout(str(tmp_path / "nowhere")).samples("bottle")


def test_a_mistyped_category_is_answered_with_what_is_there(tmp_path: Path):
    mvtec(tmp_path, "bottle")
    mvtec(tmp_path, "screw")
    (tmp_path / ".cache").mkdir()
    with pytest.raises(DataError, match=r"no category botle; did you mean bottle\? It holds: bottle, screw\.$"):
        MvtecLayout(str(tmp_path)).samples("botle")
    with pytest.raises(DataError, match=r"no category zipper\. It holds: bottle, screw\.$"):
        MvtecLayout(str(tmp_path)).samples("zipper")


def test_an_empty_root_says_so(tmp_path: Path):
    with pytest.raises(DataError, match="It holds no folder at all"):
        MvtecLayout(str(tmp_path)).samples("bottle")


def test_missing_or_empty_folders_of_a_category_are_named(tmp_path: Path):
    (tmp_path / "bottle").mkdir()
    with pytest.raises(DataError, match=r"bottle/train/good does not exist"):
        MvtecLayout(str(tmp_path)).samples("bottle")
    (tmp_path / "bottle" / "train" / "good").mkdir(parents=True)
    with pytest.raises(DataError, match=r"bottle/train/good holds no image"):
        MvtecLayout(str(tmp_path)).samples("bottle")
    touch(tmp_path / "bottle", "train/good/000.png")
    with pytest.raises(DataError, match=r"bottle/test does not exist"):
        MvtecLayout(str(tmp_path)).samples("bottle")


def test_a_missing_mask_is_named(tmp_path: Path):
    mvtec(tmp_path)
    (tmp_path / "bottle" / "ground_truth" / "cut" / "000_mask.png").unlink()
    with pytest.raises(DataError, match=r"mask of the defective image .*test/cut/000\.png is missing.*000_mask\.png"):
        MvtecLayout(str(tmp_path)).samples("bottle")


@pytest.mark.parametrize("name", ["000.png", "000.bmp", "000_mask.tif"])
def test_a_mask_may_lack_the_suffix_and_have_another_extension(tmp_path: Path, name: str):
    mvtec(tmp_path)
    folder = tmp_path / "bottle" / "ground_truth" / "cut"
    (folder / "000_mask.png").unlink()
    touch(folder, name, "000.txt")
    samples = MvtecLayout(str(tmp_path)).samples("bottle")
    assert [each.mask for each in samples.test if each.defect == "cut"] == [folder / name]


def test_a_mask_with_the_suffix_goes_before_one_without(tmp_path: Path):
    mvtec(tmp_path)
    touch(tmp_path / "bottle" / "ground_truth" / "cut", "000.png")
    (cut,) = (each for each in MvtecLayout(str(tmp_path)).samples("bottle").test if each.defect == "cut")
    assert cut.mask is not None
    assert cut.mask.name == "000_mask.png"


@pytest.mark.parametrize("stem", ["part[1]", "part*", "part 7 (links)", "part.v2"])
def test_any_file_name_finds_its_mask(tmp_path: Path, stem: str):
    mvtec(tmp_path)
    touch(tmp_path / "bottle", f"test/cut/{stem}.png", f"ground_truth/cut/{stem}_mask.png")
    samples = MvtecLayout(str(tmp_path)).samples("bottle")
    masks = {each.image.stem: each.mask for each in samples.test}
    assert masks[stem] == tmp_path / "bottle" / "ground_truth" / "cut" / f"{stem}_mask.png"


def test_a_mask_of_a_longer_name_is_not_taken(tmp_path: Path):
    mvtec(tmp_path)
    folder = tmp_path / "bottle" / "ground_truth" / "cut"
    (folder / "000_mask.png").rename(folder / "000_mask.old.png")
    with pytest.raises(DataError, match="missing"):
        MvtecLayout(str(tmp_path)).samples("bottle")


def test_the_tiny_data_set_is_written_when_it_is_not_there(tmp_path: Path):
    root = tmp_path / "tiny"
    samples = TinyLayout(str(root)).samples("washer")
    assert samples.kind is Kind.object
    assert len(samples.references) == 24
    assert sum(each.label for each in samples.test) == 12
    assert all(each.mask is not None and each.mask.is_file() for each in samples.test if each.label)
    stamps = {path: path.stat().st_mtime_ns for path in root.rglob("*.png")}
    assert TinyLayout(str(root)).samples("weave").kind is Kind.texture
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*.png")} == stamps  # not written again


def test_an_unknown_tiny_category_is_answered_with_what_there_is(tmp_path: Path):
    for category in ("washer", "weave"):
        mvtec(tmp_path, category)
    with pytest.raises(DataError, match=r"did you mean washer\? It holds: washer, weave"):
        TinyLayout(str(tmp_path)).samples("washers")


def folders(root: Path, good: int = 12) -> Path:
    touch(
        root,
        *(f"good/{number:03d}.png" for number in range(good)),
        "bad/scratch/1.png",
        "bad/scratch/deep/2.jpg",
        "bad/3.png",
        "masks/scratch/1.png",
        "masks/scratch/deep/2_mask.png",
        "masks/3.tif",
        "held/9.png",
    )
    return root


def layout(root: Path, **keys: str) -> FolderLayout:
    return FolderLayout(str(root), **keys)  # pyright: ignore[reportArgumentType]


def test_a_folder_of_good_images_is_enough(tmp_path: Path):
    samples = layout(folders(tmp_path), good="good").samples("gear")
    assert samples.category == "gear"
    assert samples.kind is Kind.object
    assert [each.image.stem for each in samples.references] == [f"{number:03d}" for number in range(12)]
    assert samples.test == []


def test_every_fifth_good_image_is_held_out_when_there_are_defective_ones(tmp_path: Path):
    samples = layout(folders(tmp_path), good="good", defective="bad").samples("gear")
    held = [each.image.stem for each in samples.test if not each.label]
    assert held == ["004", "009"]
    assert [each.image.stem for each in samples.references] == [
        f"{number:03d}" for number in range(12) if number not in (4, 9)
    ]


def test_good_images_to_test_with_are_taken_where_they_are_given(tmp_path: Path):
    samples = layout(folders(tmp_path), good="good", test_good="held", defective="bad").samples("gear")
    assert len(samples.references) == 12
    assert [each.image.name for each in samples.test if not each.label] == ["9.png"]
    only_good = layout(tmp_path, good="good", test_good="held").samples("gear")
    assert [each.image.name for each in only_good.test] == ["9.png"]


def test_sub_folders_name_the_defects_and_masks_are_found_in_theirs(tmp_path: Path):
    samples = layout(folders(tmp_path), good="good", defective="bad", masks="masks").samples("gear")
    found = {each.defect: each.mask for each in samples.test if each.label}
    assert found == {
        "defective": tmp_path / "masks" / "3.tif",
        "scratch": tmp_path / "masks" / "scratch" / "1.png",
        "scratch_deep": tmp_path / "masks" / "scratch" / "deep" / "2_mask.png",
    }


def test_without_masks_defective_images_have_none(tmp_path: Path):
    samples = layout(folders(tmp_path), good="good", defective="bad").samples("gear")
    assert [each.mask for each in samples.test if each.label] == [None] * 3


def test_a_missing_mask_of_ones_own_folder_is_named(tmp_path: Path):
    folders(tmp_path)
    (tmp_path / "masks" / "scratch" / "1.png").unlink()
    with pytest.raises(DataError, match=r"bad/scratch/1\.png is missing.*masks/scratch/1_mask\.png"):
        layout(tmp_path, good="good", defective="bad", masks="masks").samples("gear")


def test_absolute_folders_do_not_need_the_root(tmp_path: Path):
    folders(tmp_path / "data")
    samples = layout(tmp_path / "elsewhere", good=str(tmp_path / "data" / "good")).samples("gear")
    assert len(samples.references) == 12


def test_the_kind_of_ones_own_images_can_be_said(tmp_path: Path):
    given = FolderLayout(str(folders(tmp_path)), Kind.texture, good="good")
    assert given.samples("cloth").kind is Kind.texture


@pytest.mark.parametrize(("key", "folder"), [("good", "nil"), ("test_good", "nil"), ("defective", "nil")])
def test_missing_folders_are_named_by_their_key(tmp_path: Path, key: str, folder: str):
    keys = {"good": "good"} | {key: folder}
    with pytest.raises(DataError, match=rf"dataset\.{key}=.*nil is not a folder"):
        layout(folders(tmp_path), **keys).samples("gear")
    (tmp_path / "nil").mkdir()
    with pytest.raises(DataError, match=rf"dataset\.{key}=.*nil holds no image"):
        layout(tmp_path, **keys).samples("gear")


def test_the_folder_of_good_images_must_be_said(tmp_path: Path):
    with pytest.raises(SettingsError, match=r"dataset\.good is not set"):
        layout(tmp_path)
