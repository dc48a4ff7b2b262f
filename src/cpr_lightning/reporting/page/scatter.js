// Speed and accuracy: a point for each method and condition under which it was timed.

const SHAPES = ["M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0", "M-4.6-4.6h9.2v9.2h-9.2z", "M0-6L6 5H-6z", "M0-6.5L6.5 0L0 6.5L-6.5 0z"];

function scatterPoints(group, name) {
  return group.methods.flatMap((method) => {
    const accuracy = measure(method.runs, group.categories, name);
    const timed = method.runs.filter((run) => run.speed !== null);
    if (!accuracy) return [];
    return [...new Set(timed.map((run) => run.condition))].map((condition) => {
      const speeds = timed.filter((run) => run.condition === condition).map((run) => run.speed);
      return { method, accuracy, condition, speed: mean(speeds), count: speeds.length };
    });
  });
}

function scatterChart(group, name, width) {
  const points = scatterPoints(group, name);
  const title = titled("Speed and accuracy", group);
  if (!points.length) {
    return section(title, element("div", { class: "box quiet" }, "No run shown here was timed. ",
      element("code", {}, "cpr benchmark run=RUN_DIR"), " measures a run; then make this report again."));
  }
  const height = Math.max(260, Math.min(400, width * 0.62));
  const frame = { left: 44, right: width - 14, top: 14, bottom: height - 40 };
  const speeds = points.map((point) => point.speed);
  const means = points.map((point) => point.accuracy.mean);
  const [slow, fast] = [Math.min(...speeds) / 1.7, Math.max(...speeds) * 1.7];
  const margin = Math.max(0.5, 0.15 * (Math.max(...means) - Math.min(...means)));
  const [low, high] = [Math.max(0, Math.min(...means) - margin), Math.min(100.5, Math.max(...means) + margin)];
  const x = (value) => frame.left + (frame.right - frame.left) * Math.log(value / slow) / Math.log(fast / slow);
  const y = (value) => frame.bottom - (frame.bottom - frame.top) * (value - low) / (high - low);
  const grid = [
    ...ticks(low, high, 5).flatMap((value) => [
      svg("line", { class: "grid", x1: frame.left, x2: frame.right, y1: y(value), y2: y(value) }),
      text(frame.left - 7, y(value) + 4, tickLabel(value), { "text-anchor": "end" })]),
    ...logTicks(slow, fast).flatMap((value) => [
      svg("line", { class: "grid", x1: x(value), x2: x(value), y1: frame.top, y2: frame.bottom }),
      text(x(value), frame.bottom + 17, tickLabel(value), { "text-anchor": "middle" })]),
    text(frame.right, height - 4, "images/s, one after another (logarithmic)", { "text-anchor": "end" }),
  ];
  const variants = [...new Set(data.methods.map((method) => method.variant))];
  const conditions = [...new Set(points.map((point) => point.condition))];
  const marks = points.map((point) => {
    const about = `${point.method.label}: ${METRICS[name]} ${shown(point.accuracy)} %, ${compact(point.speed)} images/s `
      + `(${point.condition}; ${plural(point.count, "run")})`;
    const shape = { d: SHAPES[conditions.indexOf(point.condition) % SHAPES.length], tabindex: 0, role: "img",
      "aria-label": about, class: "mark", fill: colour(point.method.variant, variants),
      "fill-opacity": point.method.ablation === "full" ? 1 : 0.45,
      transform: `translate(${x(point.speed).toFixed(1)} ${y(point.accuracy.mean).toFixed(1)})` };
    return svg("path", shape, svg("title", {}, about));
  });
  const names = labels(points, x, y, frame);
  const legend = conditions.map((condition, number) => element("span", {},
    svg("svg", { viewBox: "-7 -7 14 14", width: 12, height: 12, "aria-hidden": "true" },
      svg("path", { d: SHAPES[number % SHAPES.length], fill: "currentColor" })), ` ${condition}`));
  const plot = chart(width, height, `${METRICS[name]} over images per second`, ...grid, ...marks, ...names);
  return section(title, element("div", { class: "box" }, element("p", { class: "axis-title" }, `${METRICS[name]}, percent`),
    plot, element("div", { class: "legend" }, ...legend)));
}

/** Names beside the points, where one finds room. */
function labels(points, x, y, frame) {
  const taken = points.map((point) => ({ left: x(point.speed) - 7, right: x(point.speed) + 7, y: y(point.accuracy.mean) }));
  const placed = [];
  for (const point of [...points].sort((a, b) => (b.method.ablation === "full") - (a.method.ablation === "full"))) {
    const wide = 6.4 * point.method.label.length;
    const at = { x: x(point.speed), y: y(point.accuracy.mean) };
    for (const [left, dy, anchor] of [[at.x + 9, 0, "start"], [at.x - 9 - wide, 0, "end"], [at.x - wide / 2, -14, "middle"],
      [at.x - wide / 2, 15, "middle"]]) {
      const box = { left, right: left + wide, y: at.y + dy };
      const outside = left < frame.left || box.right > frame.right + 10 || box.y < frame.top || box.y > frame.bottom;
      const hit = taken.some((other) => Math.abs(other.y - box.y) < 13 && other.left < box.right && box.left < other.right
        && !(other.y === at.y && other.left === at.x - 7));
      if (outside || hit) continue;
      taken.push(box);
      const from = { start: left, end: box.right, middle: at.x }[anchor];
      placed.push(text(from.toFixed(1), box.y + 4, point.method.label, { "text-anchor": anchor, class: "name" }));
      break;
    }
  }
  return placed;
}
