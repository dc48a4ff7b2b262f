"""length.csv → length.png: metrics against training steps.

python experiments/ablations/plot_length.py
"""

import csv
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

HERE = Path(__file__).parent
LABELS = {"pixel_ap": "pixel AP", "pro": "PRO", "pixel_auroc": "pixel AUROC"}

with (HERE / "length.csv").open(encoding="utf-8") as file:
    rows = list(csv.DictReader(file))
steps = [int(row["steps"]) for row in rows]
figure, axes = plt.subplots(1, len(LABELS), figsize=(10, 3), layout="constrained")
for axis, (name, label) in zip(axes, LABELS.items(), strict=True):
    axis.plot(steps, [100 * float(row[name]) for row in rows], "o-", color="#2563eb")
    axis.set(xscale="log", xlabel="steps of 8 pairs", title=f"{label}, %")
    axis.set_xticks(steps, [str(step) for step in steps])
    axis.minorticks_off()
    axis.grid(alpha=0.3)
figure.suptitle("hazelnut, ResNet-18, D = 64, one seed")
figure.savefig(HERE / "length.png", dpi=110)
