// Mean and spread over seeds: what reporting/measured.py says, of the runs that are shown.

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

function spread(values) {
  if (values.length < 2) return null;
  const middle = mean(values);
  return Math.sqrt(values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1));
}

/**
 * A metric in percent over categories. An average is over categories for each seed, then over the seeds that have all
 * of them; where none has, it is over the means of the categories there are, and says so. Null without any.
 */
function measure(runs, categories, metric) {
  const values = new Map(categories.map((category) => [category, new Map()]));
  for (const run of runs) {
    const value = run.metrics[metric];
    if (value !== null && values.has(run.category)) values.get(run.category).set(run.seed, 100 * value);
  }
  const found = [...values.values()].filter((seeds) => seeds.size);
  if (!found.length) return null;
  const complete = [...found[0].keys()].filter((seed) => [...values.values()].every((seeds) => seeds.has(seed)));
  if (complete.length) {
    const averages = complete.map((seed) => mean([...values.values()].map((seeds) => seeds.get(seed))));
    const seeds = complete.map((seed, n) => ({ seed, value: averages[n] })).sort((a, b) => a.seed - b.seed);
    const whole = { categories: categories.length, of: categories.length };
    return { mean: mean(averages), spread: spread(averages), seeds, ...whole };
  }
  const means = found.map((seeds) => mean([...seeds.values()]));
  return { mean: mean(means), spread: null, seeds: [], categories: found.length, of: categories.length };
}

/** The runs that are shown, by group, with its methods and categories that occur among them, in the tables' order. */
function grouped(runs) {
  const ofMethod = new Map();
  for (const run of runs) {
    if (!ofMethod.has(run.method)) ofMethod.set(run.method, []);
    ofMethod.get(run.method).push(run);
  }
  return data.groups.map((group, number) => {
    const methods = data.methods
      .map((method, index) => ({ ...method, runs: ofMethod.get(index) ?? [] }))
      .filter((method) => method.group === number && method.runs.length);
    const seen = new Set(methods.flatMap((method) => method.runs.map((run) => run.category)));
    return { label: group.label, methods, categories: group.categories.filter((category) => seen.has(category)) };
  }).filter((group) => group.methods.length);
}
