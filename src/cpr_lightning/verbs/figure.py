"""``cpr figure``: pictures of finished runs, for a paper or a talk."""

from difflib import get_close_matches
from pathlib import Path

from cpr_lightning.choices import Figure
from cpr_lightning.data.images import find_images
from cpr_lightning.environment import choose_device
from cpr_lightning.errors import DataError, SettingsError
from cpr_lightning.figures import Query, as_query, choose_queries, draw_figure
from cpr_lightning.reporting.records import METRICS
from cpr_lightning.runs import load_run, load_settings
from cpr_lightning.settings import Settings
from cpr_lightning.speed_figure import draw_speed
from cpr_lightning.verbs.arguments import parse, whole_number
from cpr_lightning.verbs.run_samples import run_samples
from cpr_lightning.visual.overlay import write_png

_HELP = """\
Draw a picture of finished runs.

  cpr figure maps run=RUN_DIR          score maps beside the true defects
  cpr figure neighbors run=RUN_DIR     the references that images are matched with
  cpr figure foreground run=RUN_DIR    what counts as the product (objects only)
  cpr figure speed runs=DIR            accuracy against speed of all runs below DIR, beside the published ones

Without images=, test images are shown, as many of each sort of defect.
"""
_ROWS = 8
_OF_A_RUN = {
    "run": "the run directory",
    "images": "an image, or a folder of images (test images of the run)",
    "rows": f"images to show ({_ROWS}; with images=, all)",
    "dataset.root": "where the data set lies now (as in training)",
    "output": "the PNG to write (RUN_DIR/figures/NAME.png)",
    "device": "auto, cpu, cuda",
}
_OF_RUNS = {
    "runs": "a folder with runs that were benchmarked (`cpr benchmark run=…`)",
    "metric": "pixel_ap, pro, pixel_auroc, image_auroc (pixel_ap)",
    "output": "the PNG to write (DIR/figures/speed.png)",
}


def main(words: list[str]) -> int:
    """Run the verb."""
    if not words or words[0] in ("-h", "--help"):
        print(_HELP, end="")
        return 0 if words else 2
    name, *rest = words
    names = [figure.value for figure in Figure]
    if name not in names:
        near = get_close_matches(name, names, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise SettingsError(f"There is no figure `{name}`.{hint} `cpr figure` draws: {', '.join(names)}.")
    figure = Figure(name)
    drawn = _of_runs(rest) if figure is Figure.speed else _of_a_run(figure, rest)
    if drawn is not None:
        print(f"Figure     {drawn}")
    return 0


def _of_a_run(figure: Figure, words: list[str]) -> Path | None:
    """The file that was written, or None when help was printed."""
    values = parse(f"figure {figure.value}", words, _OF_A_RUN, required=("run",))
    if values is None:
        return None
    folder, device = Path(values["run"]).expanduser(), choose_device(values.get("device", "auto"))
    rows = whole_number("rows", values["rows"], 1) if "rows" in values else None
    output = _png(values.get("output", str(folder / "figures" / f"{figure.value}.png")))
    settings = load_settings(folder)
    queries = _given(values, settings, folder, rows) if "images" in values else None
    if queries is None:
        samples, _ = run_samples(settings, folder, values)
        if not samples.test:
            raise DataError("The run has no test images. Say which images to show: images=FILE_OR_DIR.")
        queries = choose_queries(samples.test, rows or _ROWS)
    write_png(output, draw_figure(figure, load_run(folder, device), queries, device))
    return output


def _given(values: dict[str, str], settings: Settings, folder: Path, rows: int | None) -> list[Query]:
    """The images that were asked for; those that are test images of the run come with what is known of them."""
    paths = find_images(Path(values["images"]).expanduser())[:rows]
    try:
        samples, _ = run_samples(settings, folder, values)
    except DataError:
        if "dataset.root" in values:
            raise
        known = {}  # the data set is no longer there: then nothing is known
    else:
        known = {sample.image.resolve(): as_query(sample) for sample in samples.test}
    return [known.get(path.resolve(), Query(path, path.stem, None)) for path in paths]


def _of_runs(words: list[str]) -> Path | None:
    """The file that was written, or None when help was printed."""
    values = parse("figure speed", words, _OF_RUNS, required=("runs",))
    if values is None:
        return None
    folder = Path(values["runs"]).expanduser()
    metric = values.get("metric", "pixel_ap")
    if metric not in METRICS:
        raise SettingsError(f"metric={metric} is unknown; choose one of {', '.join(METRICS)}.")
    output = _png(values.get("output", str(folder / "figures" / "speed.png")))
    draw_speed(folder, metric, output)
    return output


def _png(name: str) -> Path:
    """Refused before any work, not after it."""
    path = Path(name).expanduser()
    if path.suffix.lower() != ".png":
        raise SettingsError(f"output={path} must end in .png.")
    if path.is_dir():
        raise SettingsError(f"output={path} is a folder; name the file to write in it.")
    return path
