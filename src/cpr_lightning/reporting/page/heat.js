// Variants (or all methods) by categories, as a table whose cells are shaded.

let rowsOfHeat = "variants"; // or "methods"

function heatTable(group, name, redraw) {
  const variants = group.methods.filter((method) => method.ablation === "full");
  const choice = variants.length > 0 && variants.length < group.methods.length;
  const methods = choice && rowsOfHeat === "variants" ? variants : group.methods;
  const rows = methods.map((method) => ({
    method,
    cells: group.categories.map((category) => measure(method.runs, [category], name)),
    average: measure(method.runs, group.categories, name),
  }));
  const means = rows.flatMap((row) => row.cells).filter(Boolean).map((cell) => cell.mean);
  const low = Math.min(...means);
  const high = Math.max(...means);
  const picked = element("select", { onchange: (event) => { rowsOfHeat = event.target.value; redraw(); } },
    ...["variants", "methods"].map((value) => element("option", { value, selected: value === rowsOfHeat },
      value === "variants" ? "variants, nothing ablated" : "all methods")));
  const heads = group.categories.map((category) => element("th", { scope: "col" }, category.replaceAll("_", " ")));
  const body = rows.map(({ method, cells, average }) => element("tr", {},
    element("th", { scope: "row" }, method.label),
    ...cells.map((cell) => heatCell(cell, low, high)),
    group.categories.length > 1 ? element("td", { class: "average" }, average ? shown(average) : "—") : null));
  const average = group.categories.length > 1 ? element("th", { scope: "col", class: "average" }, "average") : null;
  const table = element("table", { class: "heat" },
    element("thead", {}, element("tr", {}, element("td"), ...heads, average)), element("tbody", {}, ...body));
  const scale = means.length ? element("p", { class: "scale" }, low.toFixed(1), element("i"), high.toFixed(1)) : null;
  return element("section", { class: "heat-section" },
    element("div", { class: "tools" }, element("h2", {}, titled("Categories", group)), scale,
      choice ? element("label", {}, "Rows", picked) : null),
    element("div", { class: "box scroll", tabindex: 0, role: "region", "aria-label": "Methods by categories" }, table),
    element("p", { class: "quiet" }, `${METRICS[name]} in percent, mean over seeds ± sample standard deviation.`));
}

function heatCell(cell, low, high) {
  if (!cell) return element("td", { class: "missing" }, element("span", { title: "no run" }, "—"));
  const part = high > low ? (cell.mean - low) / (high - low) : 0.5;
  const seeds = cell.seeds.map(({ seed, value }) => `seed ${seed}: ${value.toFixed(2)}`).join("\n");
  return element("td", { style: `--part: ${part.toFixed(3)}`, title: seeds }, cell.mean.toFixed(1),
    cell.spread === null ? null : element("small", {}, `±${cell.spread.toFixed(1)}`));
}
