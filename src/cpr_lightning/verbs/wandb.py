"""``cpr wandb workspace``: a W&B workspace that compares variants and categories."""

from cpr_lightning.errors import SettingsError
from cpr_lightning.tracking.workspace import make_workspace
from cpr_lightning.verbs.arguments import parse

_PROJECT = "cpr-lightning"
_NAME = "Variants and categories"
_KEYS = {
    "project": f"of the runs at W&B ({_PROJECT})",
    "entity": "W&B user or team (the key's own)",
    "group": "of runs, such as the folder's name of a sweep (all)",
    "name": f"of the workspace ({_NAME})",
}


def main(words: list[str]) -> int:
    """Run the verb."""
    if words and words[0] in ("-h", "--help"):
        words = ["workspace", *words]
    if not words or words[0] != "workspace":
        said = f"there is no `cpr wandb {words[0]}`" if words else "`cpr wandb` needs a word more"
        raise SettingsError(f"{said}; did you mean `cpr wandb workspace`?")
    values = parse("wandb workspace", words[1:], _KEYS)
    if values is None:
        return 0
    address = make_workspace(
        values.get("entity"), values.get("project", _PROJECT), name=values.get("name", _NAME), group=values.get("group")
    )
    print(f"Workspace  {address}")
    return 0
