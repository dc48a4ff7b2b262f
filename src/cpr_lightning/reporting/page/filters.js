// Which runs are shown, and by which metric.

const FACETS = ["dataset", "scenario", "category", "variant", "ablation", "seed"];
const selects = new Map();
let search = null;
let metric = null;

/** Fill the form; `changed` is called when a choice is. Facets with one value have nothing to choose. */
function buildFilters(runs, changed) {
  const form = byId("filters");
  for (const facet of FACETS) {
    const values = [...new Set(runs.map((run) => String(run[facet])))].sort(collator.compare);
    if (values.length < 2) continue;
    const options = values.map((value) => element("option", { value: `=${value}` }, value));
    const select = element("select", { id: `filter-${facet}` }, element("option", { value: "" }, "all"), ...options);
    selects.set(facet, select);
    form.append(element("label", {}, facet, select));
  }
  const words = { id: "search", type: "search", placeholder: "category, key=value …", autocomplete: "off" };
  search = element("input", words);
  const there = Object.keys(METRICS).filter((name) => runs.some((run) => run.metrics[name] !== null));
  const names = there.map((name) => element("option", { value: name }, METRICS[name]));
  metric = element("select", { id: "metric" }, ...names);
  const reset = element("button", { type: "reset" }, "Reset");
  form.append(element("label", {}, "search", search), element("label", {}, "metric of the charts", metric), reset);
  for (const run of runs) run.words = words_of(run);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", changed);
  form.addEventListener("reset", () => setTimeout(changed)); // the fields are empty after the event
}

function words_of(run) {
  const settings = Object.entries(run.settings).map(([key, value]) => `${key}=${value}`);
  const facts = FACETS.map((facet) => run[facet]);
  return [...facts, run.folder, run.backbone ?? "", ...settings].join(" ").toLowerCase();
}

function filtered(runs) {
  const wanted = [...selects].filter(([, select]) => select.value);
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  return runs.filter((run) =>
    wanted.every(([facet, select]) => `=${run[facet]}` === select.value) && words.every((word) => run.words.includes(word)));
}
