// Elements. Text always enters as text nodes and attributes, never as markup.

const byId = (id) => document.getElementById(id);

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

const element = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);

const svg = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

const text = (x, y, content, attributes = {}) => svg("text", { x, y, ...attributes }, content);

/** A chart as wide as its place; `label` is what a screen reader says of it. */
function chart(width, height, label, ...children) {
  const size = { viewBox: `0 0 ${width} ${height}`, width, height };
  return svg("svg", { ...size, role: "group", "aria-label": label }, ...children);
}

const json = (id) => JSON.parse(byId(id).textContent);

const picture = (number) => byId(`picture-${number}`).textContent;

/** A heading; it names the group where there are several. */
const titled = (title, group) => (data.groups.length > 1 ? `${title}: ${group.label}` : title);

/** The width there is for charts; a window may be as narrow as nothing while it is hidden. */
const room = (node) => Math.max(280, node.clientWidth);

/** A section with a heading. */
const section = (title, ...children) => element("section", {}, element("h2", {}, title), ...children);
