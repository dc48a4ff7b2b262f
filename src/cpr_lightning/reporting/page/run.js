// One run: its figures, curves, scores, and the images it judges worst and best.

function runView(run, width) {
  const details = json(`run-${run.number}`);
  const method = data.methods[run.method];
  const title = `${run.dataset} / ${run.category} / ${method.label} / seed ${run.seed}`;
  const halves = width > 760 ? (width - 16) / 2 - 38 : width - 38;
  const tiles = Object.entries(METRICS).map(([name, label]) => element("div", {}, element("dt", {}, label),
    run.metrics[name] === null ? element("dd", { class: "undefined" }, "undefined")
      : element("dd", {}, `${(100 * run.metrics[name]).toFixed(2)}`, element("small", {}, " %"))));
  if (run.speed !== null) {
    tiles.push(element("div", {}, element("dt", {}, "Images per second"), element("dd", {}, compact(run.speed))));
  }
  const curves = Object.keys(details.curves).length ? curveCharts(details.curves, halves)
    : [element("p", { class: "quiet" }, "The run has no training log: it was not trained, or logged elsewhere.")];
  const scores = details.threshold === null ? element("p", { class: "quiet" }, "The run has no predictions.csv.")
    : histogram(details.scores, details.threshold, halves);
  return [
    runNavigation(run),
    element("h1", { tabindex: -1, id: "run-title" }, title),
    ...details.notes.map((note) => element("p", { class: "notice" }, note)),
    element("dl", { class: "metrics" }, ...tiles),
    element("div", { class: "pair" },
      element("section", { class: "box" }, element("h2", {}, "Training"), ...curves),
      element("section", { class: "box" }, element("h2", {}, "Image scores"), scores)),
    ...imageSections(details),
    section("Foreground", ...(details.foreground.length
      ? details.foreground.map((sheet) => pictureOf(sheet, "What the run takes for the product, white, in some images"))
      : [element("div", { class: "box quiet" }, "No foreground maps were drawn of this run. ",
        element("code", {}, `cpr figure foreground run=${run.folder}`), " draws them; a texture has none.")])),
    section("This run", element("div", { class: "box" }, facts(run, details))),
  ].filter(Boolean);
}

/** Back, and the runs before and after it in the leaderboard as it is sorted and filtered. */
function runNavigation(run) {
  const place = board.runs.indexOf(run);
  const beside = (offset, label) => {
    const other = place < 0 ? undefined : board.runs[place + offset];
    return other ? element("a", { href: other.address, class: "button" }, label)
      : element("span", { class: "button off", "aria-hidden": "true" }, label);
  };
  const count = place < 0 ? null : element("span", { class: "quiet" }, `${place + 1} of ${board.runs.length}`);
  return element("nav", { class: "pages", "aria-label": "Runs" },
    element("a", { href: "#", class: "button back" }, "← All runs"), beside(-1, "‹ previous"), count, beside(1, "next ›"));
}

function imageSections(details) {
  const known = details.worst.some((image) => image.label !== null);
  const explained = known ? "farthest on the wrong side of the threshold, or nearest to it" : "the highest scores; no label is known";
  return [
    details.worst.length ? section(known ? "Worst images" : "Highest scores",
      element("p", { class: "quiet" }, explained[0].toUpperCase() + explained.slice(1) + "."),
      element("div", { class: "images" }, ...details.worst.map(imageCard))) : null,
    details.best.length ? section("Best images",
      element("p", { class: "quiet" }, "Farthest on the right side of the threshold, defective and good ones in turn."),
      element("div", { class: "images" }, ...details.best.map(imageCard))) : null,
  ];
}

function imageCard(image) {
  const kind = { 0: "good", 1: "defective" }[image.label] ?? "unknown";
  const wrong = image.label === null || Boolean(image.label) === image.anomalous ? null
    : element("span", { class: "mistake" }, image.label ? "missed" : "false alarm");
  const neighbors = image.neighbors.map((neighbor) => element("figure", {},
    neighbor.picture === null ? null : element("img", { src: picture(neighbor.picture), alt: "" }),
    element("figcaption", { title: neighbor.name }, neighbor.name.replace(/\.[^.]+$/, ""))));
  const more = image.of_neighbors - image.neighbors.length;
  return element("article", {}, pictureOf(image, `Heat map of ${image.name}`), element("div", {},
    element("div", { class: "path" }, image.name),
    element("div", { class: "line" }, element("span", {}, "score ", element("b", {}, image.score.toPrecision(4))),
      element("span", { class: `label ${kind}` }, kind),
      element("span", {}, `called ${image.anomalous ? "anomalous" : "good"}`), wrong),
    neighbors.length ? element("div", { class: "neighbors", role: "group", "aria-label": "Nearest references" },
      ...neighbors, more > 0 ? element("span", { class: "quiet" }, `+${more}`) : null) : null));
}

/** The picture, in the page or else in the run's folder, if that still lies where it did; with the way to the whole. */
function pictureOf(item, about) {
  if (item.link === null) return element("p", { class: "absent" }, "No heat map was written.");
  const absent = () => element("p", { class: "absent" }, "Not in this page, which would grow too large; it stands in ",
    element("a", { href: item.link }, item.link), " beside it.");
  const source = item.picture === null ? item.link : picture(item.picture);
  const image = element("img", { src: source, alt: about, onerror: () => whole.replaceWith(absent()) });
  const whole = element("a", { href: item.link, title: "Open in full size" }, image);
  return whole;
}

function facts(run, details) {
  const settings = { ...data.settings, ...run.settings };
  const row = (name, value) => element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, ...[value].flat()));
  const known = [
    ["scenario", run.scenario], ["ablation", run.ablation], ["backbone", run.backbone], ["steps", run.steps],
    ["references", run.n_reference], ["test images", run.n_test], ["timed with", run.condition],
    ["finished", `${run.written} UTC`],
  ].filter(([, value]) => value !== null);
  const own = details.report === null ? null
    : row("all test images", element("a", { href: details.report }, "the run's own report"));
  return element("div", {}, element("table", { class: "facts" },
    ...known.map(([name, value]) => row(name, String(value))),
    row("folder", element("a", { href: run.link }, run.folder)), own,
    details.figures.length ? row("figures", details.figures.flatMap(({ name, link }) =>
      [element("a", { href: link }, name), " "])) : null),
  element("details", {}, element("summary", {}, "All settings"),
    element("table", { class: "facts" }, ...Object.keys(settings).sort().map((key) => row(key, settings[key])))));
}
