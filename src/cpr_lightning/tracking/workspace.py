"""A W&B workspace that compares variants and categories: the panels that the default dashboard does not make itself."""

from typing import TYPE_CHECKING, Any

from cpr_lightning.errors import SettingsError, first_line
from cpr_lightning.tracking.opening import has_key

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Workspace

METRICS = {"pixel_ap": "Pixel AP", "pro": "PRO", "pixel_auroc": "Pixel AUROC", "image_auroc": "Image AUROC"}
_CURVES = {
    "pixel_pr": ("recall", "precision"),
    "pro": ("false_positive_rate", "region_overlap"),
    "pixel_roc": ("false_positive_rate", "true_positive_rate"),
    "image_roc": ("false_positive_rate", "true_positive_rate"),
    "image_pr": ("recall", "precision"),
}


def build_workspace(entity: str, project: str, *, name: str, group: str | None = None) -> "Workspace":
    """Finished runs without an ablation, one group for each variant and category; nothing is sent.

    Args:
        entity: the W&B user or team.
        project: of the runs.
        name: of the workspace.
        group: of runs, such as a sweep's; None: all.

    Raises:
        SettingsError: wandb-workspaces is not installed.
    """
    try:
        import wandb_workspaces.reports.v2.interface as panels
        import wandb_workspaces.workspaces as ws
    except ImportError as error:
        raise SettingsError(
            "A workspace needs the package wandb-workspaces: pip install 'cpr-lightning[workspaces]'."
        ) from error
    filters = [ws.Metric("State") == "finished", ws.Config("ablation") == "full"]
    if group is not None:
        filters.append(ws.Metric("Group") == group)
    variant, category = panels.Config("variant"), panels.Config("category")
    speed = panels.SummaryMetric("seconds_per_test_image")

    def bars(by: Any, what: str) -> list[Any]:
        return [
            panels.BarPlot(title=f"{title} by {what}", metrics=[panels.SummaryMetric(metric)], groupby=by)
            for metric, title in METRICS.items()
        ]

    columns = [panels.ParallelCoordinatesPlotColumn(each) for each in (
        variant, category, *(panels.SummaryMetric(metric) for metric in METRICS), speed)]  # fmt: skip
    scatter = [
        panels.ScatterPlot(title=f"{title} against speed", x=speed, y=panels.SummaryMetric(metric), log_x=True)
        for metric, title in METRICS.items()
    ]
    curves: list[Any] = [
        panels.CustomChart(
            query={"summaryTable": {"tableKey": f"curves/{curve}_table"}},
            chart_name="wandb/line/v0",
            chart_fields={"x": x, "y": y},
            chart_strings={"title": curve.replace("_", " ")},
        )
        for curve, (x, y) in _CURVES.items()
    ]
    training: list[Any] = [
        panels.LinePlot(title=loss.replace("_", " "), x="trainer/global_step", y=[loss])
        for loss in ("loss", "loss_same", "loss_different")
    ]
    return ws.Workspace(
        entity=entity,
        project=project,
        name=name,
        sections=[
            ws.Section(name="Variants", panels=bars(variant, "variant"), is_open=True),
            ws.Section(name="Categories", panels=bars(category, "category"), is_open=True),
            ws.Section(
                name="Variants × categories",
                panels=[panels.ParallelCoordinatesPlot(title="Each run", columns=columns), *scatter],
                is_open=True,
            ),
            ws.Section(name="Test images", panels=[panels.WeavePanelSummaryTable(table_name="test_images")]),
            ws.Section(name="Curves", panels=curves),
            ws.Section(name="Training", panels=training),
        ],
        runset_settings=ws.RunsetSettings(
            filters=ws.And(*filters),
            groupby=[ws.Config("variant"), ws.Config("category")],
            order=[ws.Ordering(ws.Summary("pixel_ap"), ascending=False)],
            pinned_columns=[f"summary:{metric}" for metric in METRICS],
        ),
    )


def make_workspace(entity: str | None, project: str, *, name: str, group: str | None = None) -> str:
    """Build the workspace at W&B; returns its address.

    Args:
        entity: the W&B user or team; None: the one that the key belongs to.
        project: of the runs.
        name: of the workspace.
        group: of runs, such as a sweep's; None: all.

    Raises:
        SettingsError: there is no key, a package is missing, or W&B refuses.
    """
    # What is missing here is said before anything is asked of the network.
    build_workspace(entity or "entity", project, name=name, group=group)
    import wandb

    if not has_key():
        raise SettingsError("A workspace lies at W&B, which needs a key: `wandb login`, or set WANDB_API_KEY.")
    try:
        owner = entity or wandb.Api(timeout=20).default_entity
        if not owner:
            raise SettingsError("W&B knows no default entity for this key; say which: entity=USER_OR_TEAM.")
        return build_workspace(owner, project, name=name, group=group).save().url
    except SettingsError:
        raise
    except Exception as error:
        raise SettingsError(
            f"W&B did not take the workspace of project={project} ({first_line(error)}). Check the key, project= and "
            "entity=, and that this machine reaches W&B."
        ) from error
