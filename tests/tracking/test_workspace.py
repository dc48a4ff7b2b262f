"""The workspace: its panels and filters as they would be sent, and what is said where it cannot be made."""

import json
from pathlib import Path
from typing import Any

import pytest

from cpr_lightning.cli import main
from cpr_lightning.tracking.workspace import METRICS, build_workspace

pytest.importorskip("wandb_workspaces", reason="wandb-workspaces is not installed")


def sent(**arguments: Any) -> dict[str, Any]:
    """What W&B would get."""
    model = build_workspace("lab", "cpr", name="Compared", **arguments)._to_model()
    return json.loads(model.model_dump_json(by_alias=True))


def test_it_compares_finished_runs_by_variant_and_category() -> None:
    view = sent(group="mvtec")
    assert (view["entity"], view["project"], view["displayName"]) == ("lab", "cpr", "Compared")
    (runs,) = view["spec"]["section"]["runSets"]
    said = json.dumps(runs["filters"])
    assert all(word in said for word in ("finished", "ablation", "full", "mvtec"))
    assert [each["name"] for each in runs["grouping"]] == ["variant.value", "category.value"]  # as W&B names them
    assert "mvtec" not in json.dumps(sent()["spec"]["section"]["runSets"][0]["filters"])


def test_its_panels_show_what_a_run_logs() -> None:
    sections = view_sections()
    assert list(sections) == ["Variants", "Categories", "Variants × categories", "Test images", "Curves", "Training"]
    for name, key in (("Variants", "variant"), ("Categories", "category")):
        assert len(sections[name]) == len(METRICS)
        for metric, panel in zip(METRICS, sections[name], strict=True):
            assert panel["viewType"] == "Bar Chart"
            assert metric in json.dumps(panel["config"]["metrics"])
            assert key in json.dumps(panel["config"])
    assert all("seconds_per_test_image" in json.dumps(panel) for panel in sections["Variants × categories"])
    assert "test_images" in json.dumps(sections["Test images"])
    curves = json.dumps(sections["Curves"])
    assert all(f"curves/{name}_table" in curves for name in ("pixel_pr", "pro", "pixel_roc", "image_roc", "image_pr"))
    losses = [panel["config"]["metrics"] for panel in sections["Training"]]
    assert losses == [["loss"], ["loss_same"], ["loss_different"]]


def view_sections() -> dict[str, list[dict[str, Any]]]:
    """Panels by section."""
    banks = sent()["spec"]["section"]["panelBankConfig"]["sections"]
    return {each["name"]: each["panels"] for each in banks if each["panels"]}


def test_without_a_key_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cpr_lightning.tracking.workspace.has_key", lambda: False)
    monkeypatch.chdir(tmp_path)
    assert main(["wandb", "workspace", "project=mine"]) == 2
    assert "wandb login" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [([], "cpr wandb workspace"), (["workspce"], "cpr wandb workspace"), (["workspace", "projct=a"], "project")],
)
def test_a_typo_is_answered(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["wandb", *words]) == 2
    assert said in capsys.readouterr().err


def test_without_the_package_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "wandb_workspaces.workspaces", None)
    assert main(["wandb", "workspace"]) == 2
    assert "cpr-lightning[workspaces]" in capsys.readouterr().err
