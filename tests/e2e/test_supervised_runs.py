"""`scenario=supervised`: real defective images are learned from, and none of them is ever tested."""

import shutil
from pathlib import Path

import pytest
from e2e_helpers import Trained, call_cpr, metrics_of, numbers_of, rows_of, same_model, small

SUPERVISED = [
    "scenario=supervised",
    "supervised.images=3",
    "supervised.shown_probability=0.3",
    "supervised.pasted_probability=0.5",
]


@pytest.fixture(scope="session")
def supervised(tiny: Path, bench: Path) -> Path:
    """A run that learned from three of six defective images; read-only by agreement."""
    folder = bench / "supervised"
    done = call_cpr(*small(tiny, folder, *SUPERVISED), cwd=bench)
    assert done.status == 0, done.out + done.err
    assert "Learning from 3 real defective images; 7 images are left to test with" in done.out
    return folder


def learned(run: Path) -> set[str]:
    return {row["path"] for row in rows_of(run / "supervised.csv")}


def in_test(run: Path) -> set[str]:
    return {row["path"] for row in rows_of(run / "predictions.csv")}


def test_what_is_learned_from_is_not_tested_and_the_metrics_say_so(supervised: Path, trained: Trained):
    metrics = metrics_of(supervised)
    assert (metrics["scenario"], metrics["n_test"], metrics["n_defective"]) == ("supervised", 7, 3)
    assert len(learned(supervised)) == 3
    assert not learned(supervised) & in_test(supervised)
    assert learned(supervised) | in_test(supervised) == in_test(trained.folder)
    assert not any("/good/" in path for path in learned(supervised))
    assert metrics_of(trained.folder)["n_defective"] == 0
    assert not (trained.folder / "supervised.csv").exists()


def test_learning_from_real_defects_changes_the_branch_and_nothing_else(
    supervised: Path, trained: Trained, tiny: Path, bench: Path, tmp_path: Path
):
    assert not same_model(supervised, trained.folder)
    never = ["supervised.shown_probability=0", "supervised.pasted_probability=0"]
    cache = bench / "index_cache"
    before = set(cache.iterdir())
    done = call_cpr(*small(tiny, tmp_path / "never", *SUPERVISED, *never, f"index_cache={cache}"), cwd=tmp_path)
    assert done.status == 0, done.err
    assert set(cache.iterdir()) == before, "one index serves both scenarios"
    assert same_model(tmp_path / "never", trained.folder)
    assert learned(tmp_path / "never") == learned(supervised), "the seed chooses, and it is the same"


def test_the_unsupervised_scenario_takes_no_notice_of_the_keys(trained: Trained, tiny: Path, tmp_path: Path):
    cache = f"index_cache={trained.folder.parent / 'index_cache'}"
    done = call_cpr(*small(tiny, tmp_path / "run", *SUPERVISED[1:], cache), cwd=tmp_path)
    assert done.status == 0, done.err
    assert numbers_of(tmp_path / "run") == numbers_of(trained.folder)
    assert same_model(tmp_path / "run", trained.folder)


def test_evaluate_leaves_the_same_images_out_after_the_data_changed(
    supervised: Path, data_copy: Path, tiny: Path, tmp_path: Path
):
    again = call_cpr("evaluate", f"run={supervised}", "output=again", cwd=tmp_path)
    assert again.status == 0, again.err
    assert numbers_of(tmp_path / "again") == numbers_of(supervised)

    part, gone = data_copy / "washer", Path(min(in_test(supervised))).relative_to(tiny)
    (data_copy / gone).unlink()
    for number in range(3):  # sorts before the others: a choice that was only drawn again would be another
        shutil.copy(part / "train" / "good" / f"{number:03d}.png", part / "test" / "good" / f"a{number}.png")
    first = Path(min(learned(supervised))).relative_to(tiny)
    (data_copy / first).rename((data_copy / first).with_stem("renamed"))
    truth = part / "ground_truth" / first.parent.name
    (truth / f"{first.stem}_mask.png").rename(truth / "renamed_mask.png")
    done = call_cpr("evaluate", f"run={supervised}", f"dataset.root={data_copy}", "output=e", cwd=tmp_path)
    assert done.status == 0, done.err
    expected = {Path(path).relative_to(tiny) for path in in_test(supervised)} - {gone}
    expected |= {Path("washer/test/good") / f"a{number}.png" for number in range(3)}
    assert {Path(path).relative_to(data_copy) for path in in_test(tmp_path / "e")} == expected
    metrics = metrics_of(tmp_path / "e")
    assert (metrics["n_test"], metrics["n_defective"]) == (7 - 1 + 3, 3)


def test_a_resumed_run_ends_where_an_unbroken_one_does(supervised: Path, tiny: Path, bench: Path, tmp_path: Path):
    cache = f"index_cache={bench / 'index_cache'}"
    more = [*SUPERVISED, "training.max_steps=12", cache]
    assert call_cpr(*small(tiny, tmp_path / "unbroken", *more), cwd=tmp_path).status == 0
    broken = Path(shutil.copytree(supervised, tmp_path / "broken"))
    (broken / "metrics.json").unlink()
    done = call_cpr("train", f"resume={broken}", "training.max_steps=12", cwd=tmp_path)
    assert done.status == 0, done.out + done.err
    assert same_model(broken, tmp_path / "unbroken")
    assert numbers_of(broken) == numbers_of(tmp_path / "unbroken")
    assert learned(broken) == learned(supervised)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("scenario=unsupervised", "started with scenario=supervised"),
        ("supervised.images=2", "supervised.images=2, but"),
    ],
)
def test_a_run_is_resumed_as_it_was_started(word: str, said: str, supervised: Path, tmp_path: Path):
    broken = Path(shutil.copytree(supervised, tmp_path / "broken"))
    (broken / "metrics.json").unlink()
    assert said in call_cpr("train", f"resume={broken}", word, cwd=tmp_path).sentence()
    assert learned(broken) == learned(supervised)


def test_without_the_record_of_what_it_learned_from_a_run_is_not_tested(supervised: Path, tmp_path: Path):
    copy = Path(shutil.copytree(supervised, tmp_path / "copy"))
    (copy / "supervised.csv").unlink()
    said = call_cpr("evaluate", f"run={copy}", "output=e", cwd=tmp_path).sentence()
    assert "supervised.csv is missing" in said
    assert not (tmp_path / "e").exists()


def test_too_few_defective_images_are_refused_before_any_work(tiny: Path, tmp_path: Path):
    said = call_cpr(*small(tiny, tmp_path / "run", "scenario=supervised"), cwd=tmp_path).sentence()
    assert "supervised.images=10" in said
    assert f"{tiny / 'washer' / 'test'} holds 6" in said
    assert "Lower supervised.images" in said
    assert not (tmp_path / "index_cache").exists()


def test_own_images_need_masks_to_be_learned_from(tiny: Path, tmp_path: Path):
    words = [word for word in small(tiny, tmp_path / "run") if not word.startswith(("dataset", "category"))]
    own = ["dataset=folder", f"dataset.root={tiny / 'washer'}", "dataset.good=train/good", "category=bolt"]
    bad = ["dataset.defective=test/scratch", "scenario=supervised", "supervised.images=1"]
    said = call_cpr(*words, *own, *bad, cwd=tmp_path).sentence()
    assert "holds 0 (2 more are copies or have no mask)" in said
    masks = ["dataset.masks=ground_truth/scratch", "training.max_steps=2"]
    done = call_cpr(*words, *own, *bad, *masks, cwd=tmp_path)
    assert done.status == 0, done.err
    assert metrics_of(tmp_path / "run")["n_defective"] == 1
