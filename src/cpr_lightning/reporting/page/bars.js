// What each ablation costs: bars of the averages over categories, with spread and the seeds themselves.

const BAR = { row: 42, thick: 14 };
const hasAll = (measured) => measured.categories === measured.of;

function barChart(group, name, width) {
  const title = titled("Ablations", group);
  const measured = group.methods
    .map((method) => ({ method, found: measure(method.runs, group.categories, name) }))
    .filter(({ found }) => found);
  if (measured.length < 2) {
    return section(title, element("div", { class: "box quiet" }, "One method has nothing to be compared with. ",
      element("code", {}, "cpr train -m ablation=full,no_foreground,…"), " trains several."));
  }
  const lowest = Math.min(...measured.map(({ found }) =>
    Math.min(found.mean - (found.spread ?? 0), ...found.seeds.map(({ value }) => value))));
  const highest = Math.max(...measured.map(({ found }) => found.mean + (found.spread ?? 0)));
  const step = ticks(0, Math.max(highest - lowest, 2), 4)[1];
  const low = Math.max(0, Math.floor((lowest - 0.15 * (highest - lowest)) / step) * step);
  const frame = { left: 2, right: width - 8, top: 6, bottom: 6 + BAR.row * measured.length };
  const high = Math.max(low + step, Math.min(100, highest + 0.04 * (highest - low)));
  const x = (value) => frame.left + (frame.right - frame.left) * (value - low) / (high - low);
  const variants = [...new Set(data.methods.map((method) => method.variant))];
  const grid = ticks(low, high, width < 420 ? 4 : 6).flatMap((value) => [
    svg("line", { class: "grid", x1: x(value), x2: x(value), y1: frame.top, y2: frame.bottom }),
    text(x(value), frame.bottom + 16, tickLabel(value),
      { "text-anchor": x(value) < 14 ? "start" : x(value) > width - 18 ? "end" : "middle" })]);
  const bars = measured.flatMap(({ method, found }, number) => {
    const full = measured.find((other) => other.method.variant === method.variant && other.method.ablation === "full");
    return bar(method, found, full?.found, frame.top + BAR.row * number, x, low, width, colour(method.variant, variants));
  });
  const plot = chart(width, frame.bottom + 22, `${METRICS[name]} of methods`, ...grid, ...bars);
  const cut = low > 0 ? ` The bars begin at ${tickLabel(low)}, not at 0.` : "";
  const over = group.categories.length === 1 ? group.categories[0] : `the average over ${group.categories.length} categories`;
  const pale = measured.some(({ found }) => !hasAll(found)) ? " Pale bars lack categories, so they cannot be compared." : "";
  const caption = `${METRICS[name]} of ${over}, in percent; behind it the difference from the full variant, where there is `
    + `one. Points are seeds, whiskers the sample standard deviation.${pale}${cut}`;
  return section(title, element("div", { class: "box" }, plot, element("p", { class: "quiet" }, caption)));
}

function bar(method, found, full, top, x, low, width, fill) {
  const middle = top + BAR.row - BAR.thick / 2 - 5;
  const difference = full && full !== found && hasAll(full) && hasAll(found)
    ? ` (${signed(found.mean - full.mean)})` : "";
  const value = shown(found) + difference;
  const room = Math.max(6, Math.floor((width - 16) / 6.6) - value.length);
  const label = method.label.length > room ? `${method.label.slice(0, room - 1)}…` : method.label;
  const drawn = [
    text(2, top + 15, label, { class: "name" }), text(width - 8, top + 15, value, { "text-anchor": "end", class: "value" }),
    svg("rect", { x: x(low), y: middle - BAR.thick / 2, width: Math.max(1, x(found.mean) - x(low)), height: BAR.thick,
      rx: 3, fill, "fill-opacity": !hasAll(found) ? 0.18 : method.ablation === "full" ? 0.95 : 0.5 }),
  ];
  if (found.spread !== null) {
    const [from, to] = [x(Math.max(low, found.mean - found.spread)), x(found.mean + found.spread)];
    drawn.push(svg("path", { class: "whisker", d: `M${from} ${middle}H${to}M${from} ${middle - 4}v8M${to} ${middle - 4}v8` }));
  }
  drawn.push(...found.seeds.map(({ value: of }) => svg("circle", { class: "seed", cx: x(of), cy: middle, r: 2.6 })));
  const about = `${method.label}: ${value}`;
  return svg("g", { tabindex: 0, role: "img", "aria-label": about }, svg("title", {}, about), ...drawn);
}
