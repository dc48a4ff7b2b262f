// Numbers and names as they are shown, and the scales of axes.

const METRICS = { pixel_ap: "Pixel AP", pro: "PRO", pixel_auroc: "Pixel AUROC", image_auroc: "Image AUROC" };
const SERIES = 6; // colours
const VARIANTS = ["cpr", "fast", "faster"];
const collator = new Intl.Collator("en", { numeric: true });

const plural = (number, word) => `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;

/** A mean in percent: `81.2 ± 0.3`, `81.2 (3/5)` where categories are missing. */
function shown(measured) {
  if (measured.categories !== measured.of) return `${measured.mean.toFixed(1)} (${measured.categories}/${measured.of})`;
  return measured.mean.toFixed(1) + (measured.spread === null ? "" : ` ± ${measured.spread.toFixed(1)}`);
}

const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(1)}`;

const compact = (value) => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2));

/** The colour of a name among names, the paper's variants first; the same wherever it is shown. */
function colour(name, names) {
  const others = names.filter((other) => !VARIANTS.includes(other));
  const place = VARIANTS.includes(name) ? VARIANTS.indexOf(name) : VARIANTS.length + others.indexOf(name);
  return `var(--series-${place % SERIES})`;
}

/** Round values from `low` to `high`, about `count` of them. */
function ticks(low, high, count) {
  const rough = Math.max(high - low, 1e-12) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999);
  const found = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n += 1) found.push(n * step);
  return found;
}

/** 1, 2 and 5 of every power of ten between two positive numbers. */
function logTicks(low, high) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
    found.push(...[1, 2, 5].map((factor) => factor * 10 ** power));
  }
  return found.filter((value) => value >= low && value <= high);
}

const tickLabel = (value) => Number(value.toPrecision(4)).toLocaleString("en", { maximumFractionDigits: 6 });
