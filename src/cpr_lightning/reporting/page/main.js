// What is shown when: the overview of the runs that fit, or one run (#run=its folder).

const data = json("overview");
data.runs.forEach((run, number) => {
  run.number = number;
  run.address = `#run=${encodeURIComponent(run.folder.toWellFormed?.() ?? run.folder)}`;
});
let scrolled = 0;

function showOverview() {
  const runs = filtered(data.runs);
  showLeaderboard(runs);
  drawCharts(runs);
}

function drawCharts(runs = filtered(data.runs)) {
  const place = byId("charts");
  const width = room(place);
  const half = width > 900 ? (width - 16) / 2 - 38 : width - 38;
  const redraw = () => drawCharts();
  place.replaceChildren(...grouped(runs).flatMap((group) => [
    heatTable(group, metric.value, redraw),
    element("div", { class: "pair" }, scatterChart(group, metric.value, half), barChart(group, metric.value, half)),
  ]));
}

function route() {
  const run = data.runs.find((candidate) => candidate.address === location.hash);
  const view = byId("run-view");
  const wasOpen = !view.hidden;
  if (run && !wasOpen) scrolled = scrollY;
  byId("overview-view").hidden = Boolean(run);
  view.hidden = !run;
  view.replaceChildren(...(run ? runView(run, room(view)) : []));
  document.title = run ? `${run.category}, ${data.methods[run.method].label}, seed ${run.seed}` : data.title;
  if (run) {
    scrollTo(0, 0);
    byId("run-title").focus({ preventScroll: true });
  } else if (wasOpen) {
    drawCharts(); // the window may have another width by now
    scrollTo(0, scrolled);
  }
}

function sayWhatIsMissing() {
  const list = (title, lines) => (lines.length ? [element("h3", {}, title),
    element("ul", {}, ...lines.map(([what, why]) => element("li", {}, element("code", {}, what), ` ${why}`)))] : []);
  const parts = [
    ...list("Skipped: no finished run of cpr-lightning, or damaged", data.skipped),
    ...list("Replaced by a newer run of the same settings, category and seed",
      data.replaced.map(([older, newer]) => [older, `→ ${newer}`])),
  ];
  byId("left-out").hidden = !parts.length;
  byId("left-out-list").append(...parts);
  if (data.skipped.length) {
    byId("notice").hidden = false;
    byId("notice").append(data.skipped.length === 1
      ? "One folder or file was skipped. " : `${data.skipped.length} folders or files were skipped. `,
    element("a", { href: "#left-out" }, "Which, and why"));
  }
  byId("footer").textContent = data.left_out ? `${plural(data.left_out, "picture")} found no room in this page and `
    + "are read from the runs' folders beside it; cpr report pictures=MEGABYTES makes more room." : "";
}

byId("summary").textContent = `${plural(data.runs.length, "run")}, ${plural(data.methods.length, "method")}; made ${data.made}`;
sayWhatIsMissing();
buildFilters(data.runs, showOverview);
buildLeaderboard(data.runs);
showOverview();
route();
addEventListener("hashchange", route);
let lastWidth = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === lastWidth) return; // telephones resize when their bars come and go
  lastWidth = innerWidth;
  requestAnimationFrame(() => (byId("run-view").hidden ? drawCharts() : route()));
});
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => { part.open = true; }));
