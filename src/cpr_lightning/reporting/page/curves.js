// Charts of one run: how its training went, and how well its scores part good from defective images.

/** Curves that are named alike (loss, loss_same) share a chart. */
function curveCharts(curves, width) {
  const families = new Map();
  for (const name of Object.keys(curves)) {
    const family = name.split(/[_/]/)[0];
    families.set(family, [...(families.get(family) ?? []), name]);
  }
  return [...families.values()].map((names) => curveChart(curves, names, width));
}

function curveChart(curves, names, width) {
  const height = 230;
  const frame = { left: 48, right: width - 10, top: 10, bottom: height - 38 };
  const points = names.flatMap((name) => curves[name]);
  const steps = points.map(([step]) => step);
  const values = points.map(([, value]) => value);
  const [first, last] = [Math.min(...steps), Math.max(...steps)];
  const low = Math.min(0, ...values);
  const high = Math.max(...values) > low ? Math.max(...values) : low + 1;
  const x = (step) => frame.left + (frame.right - frame.left) * (last > first ? (step - first) / (last - first) : 0.5);
  const y = (value) => frame.bottom - (frame.bottom - frame.top) * (value - low) / (1.05 * (high - low));
  const grid = [
    ...ticks(low, high, 4).flatMap((value) => [
      svg("line", { class: "grid", x1: frame.left, x2: frame.right, y1: y(value), y2: y(value) }),
      text(frame.left - 7, y(value) + 4, tickLabel(value), { "text-anchor": "end" })]),
    ...ticks(first, last, 5).filter(Number.isInteger).map((step) =>
      text(x(step), frame.bottom + 17, tickLabel(step), { "text-anchor": "middle" })),
    text(frame.right, height - 3, "step", { "text-anchor": "end" }),
  ];
  const lines = names.map((name, number) => {
    const path = curves[name].map(([step, value]) => `${x(step).toFixed(1)} ${y(value).toFixed(1)}`).join("L");
    const dot = curves[name].length === 1 ? "h.01" : "";
    return svg("path", { class: "curve", d: `M${path}${dot}`, stroke: `var(--series-${number % SERIES})` },
      svg("title", {}, name));
  });
  const legend = names.map((name, number) => element("span", {},
    element("i", { style: `background: var(--series-${number % SERIES})` }),
    `${name.replaceAll("_", " ")} ${tickLabel(curves[name].at(-1)[1])}`));
  return element("div", {}, chart(width, height, `${names.join(", ")} over steps`, ...grid, ...lines),
    element("div", { class: "legend" }, ...legend));
}

function histogram(scores, threshold, width) {
  const kinds = Object.keys(scores).filter((kind) => scores[kind].length);
  const all = [...kinds.flatMap((kind) => scores[kind]), threshold];
  let [low, high] = [Math.min(...all), Math.max(...all)];
  if (high - low < 1e-9) [low, high] = [low - 0.5, high + 0.5];
  const [height, bins] = [230, Math.max(10, Math.min(40, Math.round(width / 14)))];
  const frame = { left: 8, right: width - 8, top: 10, bottom: height - 38 };
  const x = (value) => frame.left + (frame.right - frame.left) * (value - low) / (high - low);
  const counts = kinds.map((kind) => {
    const count = new Array(bins).fill(0);
    for (const score of scores[kind]) count[Math.min(bins - 1, Math.floor(bins * (score - low) / (high - low)))] += 1;
    return count;
  });
  const tallest = Math.max(...counts.flat());
  const wide = (frame.right - frame.left) / bins;
  const bars = counts.flatMap((count, kind) => count.map((number, bin) => (number ? svg("rect", {
    class: `bar ${kinds[kind]}`, x: frame.left + wide * bin + 0.5, width: wide - 1, rx: 1,
    y: frame.bottom - (frame.bottom - frame.top) * number / tallest,
    height: (frame.bottom - frame.top) * number / tallest,
  }, svg("title", {}, plural(number, `${kinds[kind]} image`))) : null)));
  const axis = [
    svg("line", { class: "grid", x1: frame.left, x2: frame.right, y1: frame.bottom, y2: frame.bottom }),
    ...ticks(low, high, 5).map((value) => text(x(value), frame.bottom + 17, tickLabel(value),
      { "text-anchor": x(value) < 20 ? "start" : x(value) > width - 20 ? "end" : "middle" })),
    text(frame.right, height - 3, "image score", { "text-anchor": "end" }),
    svg("line", { class: "threshold", x1: x(threshold), x2: x(threshold), y1: frame.top, y2: frame.bottom }),
  ];
  const legend = kinds.map((kind) => element("span", {}, element("i", { class: kind }), `${kind} (${scores[kind].length})`));
  legend.push(element("span", {}, element("i", { class: "dashes" }), `threshold ${threshold.toPrecision(4)}`));
  return element("div", {}, chart(width, height, "Histogram of the image scores", ...bars, ...axis),
    element("div", { class: "legend" }, ...legend));
}
