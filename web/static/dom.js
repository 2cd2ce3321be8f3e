// Elements from names, attributes and children. Text becomes text nodes only, never markup.
const svgSpace = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "onclick") element.addEventListener("click", value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const h = (name, attributes, ...children) => fill(document.createElement(name), attributes, children);
export const s = (name, attributes, ...children) => fill(document.createElementNS(svgSpace, name), attributes, children);
export const id = (name) => document.getElementById(name);

// setText does not touch a node whose text is the same: it would disturb a selection or a screen
// reader.
export function setText(element, text) {
  text = String(text);
  if (element.textContent !== text) element.textContent = text;
}

// table fills a table: columns are [title, kind], a cell is a text or a node.
export function table(element, columns, rows, empty) {
  const focused = element.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  const head = h("thead", null, h("tr", null, columns.map(([title, kind]) => h("th", { scope: "col", class: kind }, title))));
  const body = h("tbody", null, rows.map((cells) => h("tr", { class: cells.mark },
    cells.map((cell, i) => h("td", { class: columns[i][1], "data-title": columns[i][0] }, cell === null || cell === undefined ? "–" : cell)))));
  if (rows.length === 0) body.append(h("tr", null, h("td", { colspan: columns.length, class: "empty" }, empty)));
  element.replaceChildren(head, body);
  if (focused) for (const link of element.querySelectorAll("a")) if (link.getAttribute("href") === focused) { link.focus(); break; }
}

export const facts = (pairs) => pairs.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value)));
