// The table of runs: sorted by any column, a page of rows at a time.

const numeric = (label, value, show = (found) => found.toLocaleString("en")) => ({ label, value, show, number: true });
const named = (label, value) => ({ label, value, show: String });

const COLUMNS = {
  category: named("category", (run) => run.category),
  dataset: named("data set", (run) => run.dataset),
  scenario: named("scenario", (run) => run.scenario),
  variant: named("variant", (run) => run.variant),
  ablation: named("ablation", (run) => run.ablation),
  settings: named("settings", (run) => data.methods[run.method].settings.join(", ")),
  seed: numeric("seed", (run) => run.seed, String),
  ...Object.fromEntries(Object.entries(METRICS).map(([name, label]) =>
    [name, { ...numeric(label, (run) => run.metrics[name], (value) => (100 * value).toFixed(2)), metric: true }])),
  speed: numeric("images/s", (run) => run.speed, compact),
  condition: named("timed with", (run) => run.condition),
  backbone: named("backbone", (run) => run.backbone),
  dim: numeric("dim", (run) => run.dim),
  steps: numeric("steps", (run) => run.steps),
  n_reference: numeric("references", (run) => run.n_reference),
  n_test: numeric("test images", (run) => run.n_test),
  written: named("finished (UTC)", (run) => run.written),
};
const ALWAYS = ["category", "variant", "seed", ...Object.keys(METRICS)];

const board = { columns: [], key: "", descending: true, page: 0, runs: [] };

/** Columns in which runs differ; what all have alike is said once above the table. */
function buildLeaderboard(runs) {
  const same = [];
  for (const [key, column] of Object.entries(COLUMNS)) {
    const values = new Set(runs.map((run) => column.value(run) ?? ""));
    if (key === "condition" && values.size > 1) values.delete(""); // it says nothing of runs that were not timed
    if (column.metric ? values.size > 1 || !values.has("") : values.size > 1 || ALWAYS.includes(key)) {
      board.columns.push(key);
    } else if (!values.has("")) {
      same.push(element("span", {}, `${column.label} `, element("b", {}, column.show([...values][0]))));
    }
  }
  byId("same").replaceChildren(...(same.length ? ["All runs: ", ...same] : []));
  board.key = Object.keys(METRICS).find((name) => board.columns.includes(name));
  const heads = board.columns.map((key) => {
    const press = element("button", { type: "button", onclick: () => sortBy(key) }, COLUMNS[key].label);
    return element("th", { scope: "col", "data-key": key, class: COLUMNS[key].number ? "number" : null }, press);
  });
  byId("leaderboard").tHead.append(element("tr", {}, ...heads));
  byId("leaderboard").tBodies[0].addEventListener("click", (event) => {
    const row = event.target.closest("tr");
    if (row && !event.target.closest("a") && !String(getSelection())) location.hash = row.dataset.address;
  });
  byId("rows").addEventListener("change", () => turnTo(0));
}

function sortBy(key) {
  board.descending = board.key === key ? !board.descending : Boolean(COLUMNS[key].number && key !== "seed");
  board.key = key;
  sortRuns();
  turnTo(0);
}

function showLeaderboard(runs) {
  board.runs = [...runs];
  sortRuns();
  turnTo(0);
  byId("count").textContent = runs.length === data.runs.length
    ? plural(runs.length, "run") : `${runs.length.toLocaleString("en")} of ${plural(data.runs.length, "run")}`;
}

function sortRuns() {
  const { value } = COLUMNS[board.key];
  const sign = board.descending ? -1 : 1;
  const keyed = board.runs.map((run) => [value(run) ?? null, run]);
  keyed.sort(([a, left], [b, right]) => {
    if (a === null || b === null) return (a === null) - (b === null) || left.number - right.number; // missing: last
    return sign * (typeof a === "number" ? a - b : collator.compare(a, b)) || left.number - right.number;
  });
  board.runs = keyed.map(([, run]) => run);
  for (const head of byId("leaderboard").tHead.rows[0].cells) {
    if (head.dataset.key === board.key) head.setAttribute("aria-sort", board.descending ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  }
}

function turnTo(page) {
  const size = Number(byId("rows").value) || board.runs.length || 1;
  board.page = page;
  const best = Object.fromEntries(board.columns.filter((key) => COLUMNS[key].metric).map((key) =>
    [key, board.runs.reduce((most, run) => Math.max(most, run.metrics[key] ?? -1), -1)]));
  const rows = board.runs.slice(page * size, (page + 1) * size).map((run) => leaderboardRow(run, best));
  const none = element("tr", {}, element("td", { colspan: board.columns.length, class: "quiet" }, "No run fits."));
  byId("leaderboard").tBodies[0].replaceChildren(...(rows.length ? rows : [none]));
  const last = Math.ceil(board.runs.length / size) - 1;
  const turn = (label, to, name) => element("button",
    { type: "button", disabled: to < 0 || to > last, onclick: () => turnTo(to), "aria-label": name }, label);
  const place = `${page * size + 1}–${Math.min((page + 1) * size, board.runs.length)} of ${board.runs.length}`;
  byId("pages").replaceChildren(...(last < 1 ? [] :
    [turn("‹", page - 1, "Page before"), element("span", {}, place), turn("›", page + 1, "Next page")]));
}

function leaderboardRow(run, best) {
  const cells = board.columns.map((key, place) => {
    const value = COLUMNS[key].value(run);
    const shows = value === null || value === undefined || value === "" ? "—" : COLUMNS[key].show(value);
    const kind = [COLUMNS[key].number ? "number" : "", value === best[key] && COLUMNS[key].metric ? "best" : ""];
    if (!place) return element("th", { scope: "row" }, element("a", { href: run.address }, shows));
    return element("td", { class: kind.filter(Boolean).join(" ") || null }, shows);
  });
  return element("tr", { "data-address": run.address }, ...cells);
}
