"""The command line: ``cpr <verb> [key=value …]``."""

import os
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from importlib import import_module

from cpr_lightning.errors import CprError, system_sentence

_VERBS = {
    "train": "learn from the good images of a product, then test; also sweeps (-m)",
    "evaluate": "test a run again",
    "predict": "score images with a run: scores, neighbors and heat maps",
    "benchmark": "measure how fast this machine scores images",
    "figure": "draw a picture of finished runs: score maps, neighbors, foreground, speed",
    "report": "lay measured numbers of many runs beside the paper's: tables as text, CSV, Markdown, LaTeX",
    "wandb": "make a W&B workspace that compares variants and categories",
    "data": "check a data set: what it holds, and everything that is wrong with it",
    "tiny": "write a small generated data set, to try things out",
}

_HELP = """\
cpr: find defects in images of a product from good images alone (Cascade Patch Retrieval, arXiv 2308.06748)

  cpr tiny root=DIR                                    {tiny}
  cpr data check dataset=mvtec dataset.root=DIR        {data}
  cpr train dataset=mvtec dataset.root=DIR category=bottle variant=cpr|fast|faster
                                                       {train}
  cpr train dataset=folder dataset.good=DIR category=NAME [dataset.defective=DIR dataset.masks=DIR]
                                                       the same, on your own images
  cpr evaluate run=RUN_DIR [dataset.root=DIR]          {evaluate}
  cpr predict run=RUN_DIR images=FILE_OR_DIR           {predict}
  cpr benchmark variant=cpr|fast|faster                {benchmark}
  cpr benchmark run=RUN_DIR                            the same, of a run
  cpr figure maps|neighbors|foreground run=RUN_DIR     {figure}
  cpr report runs=DIR                                  {report}
  cpr wandb workspace project=NAME                     {wandb}

Try it in five minutes, without data or a GPU:
  cpr tiny root=tiny
  cpr train dataset=tiny dataset.root=tiny category=washer backbone.name=resnet18 backbone.weights=random \\
    training.max_steps=40 training.batch_size=4

`cpr VERB --help` lists a verb's keys. Exit status: 0 done; 1 done, but something was found or failed on the way (a
defective part, an unreadable image); 2 could not run.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        print(_HELP.format(**_VERBS), end="")
        return 0 if words else 2
    if words[0] in ("-V", "--version"):
        from cpr_lightning import __version__

        print(f"cpr-lightning {__version__}")
        return 0
    verb, *rest = words
    if verb not in _VERBS:
        near = get_close_matches(verb, _VERBS, n=1)
        hint = f"; did you mean `{near[0]}`?" if near else "."
        print(f"cpr: there is no verb `{verb}`{hint} Verbs: {', '.join(_VERBS)}.", file=sys.stderr)
        return 2
    _share_cores(verb, rest)
    try:
        # Verbs are loaded when they are asked for: torch and lightning take seconds to import.
        run: Callable[[list[str]], int] = import_module(f"cpr_lightning.verbs.{verb}").main
        return run(rest)
    except KeyboardInterrupt:
        print("cpr: interrupted; what was written so far is whole.", file=sys.stderr)
        return 130
    except CprError as error:
        print(f"cpr: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno is None and error.__cause__ is None:
            raise
        print(f"cpr: {system_sentence(error)}", file=sys.stderr)
        return 2


def _share_cores(verb: str, words: list[str]) -> None:
    """Let OpenMP's idle threads sleep soon where OpenVINO or ONNX Runtime compute with threads of their own.

    They otherwise spin for some 3 ms after each parallel loop of torch or a kernel, on the cores that those want next:
    a third of an image's time for `faster`. GNU's OpenMP reads this once, when torch loads it. With torch alone,
    spinning is right.
    """
    asked = [word.partition("=")[2] for word in words if word.startswith("runtime=")]
    runtime = asked[-1] if asked else ("auto" if verb == "benchmark" else "")
    if runtime in ("openvino", "onnx", "auto"):
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
