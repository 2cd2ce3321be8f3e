// The explanation of a checkout, as /api/explain gives it.
import { h, s, facts } from "./dom.js";
import { clock, exact, seconds } from "./format.js";

const verdicts = {
  right: ["good", "right"], pending: ["info", "pending"], late: ["warn", "late"], wrong: ["bad", "wrong"], missing: ["bad", "missing"],
  dead_letter: ["warn", "dead letter"], unverifiable: ["warn", "unverifiable"], unknown: ["", "unknown"],
};
const roles = {
  winner: ["good", "first click"], runner_up: ["info", "runner-up"], candidate: ["", "in the window"], before: ["", "before the window"],
  after: ["", "after the checkout"], duplicate: ["", "duplicate"], rejected: ["warn", "dead letter"],
  source: ["good", "made the row"], conflict: ["warn", "conflict"], refused: ["warn", "refused"],
};
const badge = ([kind, text]) => h("span", { class: `badge ${kind}` }, text);
const place = (p) => `${p.topic}[${p.partition}] @ ${p.offset}`;

// before is how long a click came before the checkout, in nanoseconds.
function before(ns) {
  const text = Math.abs(ns) < 1e6 ? `${(Math.abs(ns) / 1e3).toFixed(0)} µs` : seconds(Math.abs(ns) / 1e9);
  return ns < 0 ? `${text} after` : `${text} before`;
}

// span draws the window up to the checkout with every click in and near it.
function span(x) {
  const from = Date.parse(x.join.from), to = Date.parse(x.join.to);
  const margin = (to - from) * 0.14 || 1;
  const at = (t) => 20 + (960 * (Math.min(Math.max(t, from - margin), to + margin) - from + margin)) / (to - from + 2 * margin);
  return s("svg", { viewBox: "0 0 1000 86", class: "span", role: "img", "aria-label": `${x.clicks.length} clicks around the window of ${seconds(x.join.window_ns / 1e9)} before the checkout` },
    s("rect", { class: "range", x: at(from), y: 16, width: at(to) - at(from), height: 36, rx: 4 }),
    s("line", { class: "base", x1: 20, y1: 34, x2: 980, y2: 34 }),
    s("line", { class: "mark", x1: at(to), y1: 12, x2: at(to), y2: 56 }),
    x.clicks.map((c) => s("circle", { cx: at(Date.parse(c.time)), cy: 34, r: c.role === "winner" ? 8 : 5, class: c.role }, s("title", null, `${c.click_id}, ${before(c.before_ns)}`))),
    s("text", { x: at(from), y: 74, "text-anchor": "middle" }, `window begins ${clock(from, to)}`),
    s("text", { x: at(to), y: 74, "text-anchor": "middle" }, `checkout ${clock(to, to)}`));
}

function grid(columns, rows, label) {
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, h("table", null,
    h("thead", null, h("tr", null, columns.map((c) => h("th", { scope: "col" }, c)))),
    h("tbody", null, rows.map(([mark, ...cells]) => h("tr", { class: mark }, cells.map(([kind, cell]) => h("td", { class: kind }, cell)))))));
}

export function explanation(x) {
  const out = [];
  out.push(h("p", { class: "summary" }, badge(verdicts[x.verdict] ?? ["", x.verdict]), " ", x.summary));
  if (x.why?.length) out.push(h("ul", { class: "why" }, x.why.map((text) => h("li", null, text))));
  if (x.join) {
    out.push(h("h3", null, "Clicks in and near the window"), span(x));
    if (x.clicks.length) {
      out.push(grid(["", "click_id", "time", "", "place"], x.clicks.map((c) => [
        c.role === "winner" ? "winner" : c.role === "before" || c.role === "after" ? "outside" : "",
        ["name", [badge(roles[c.role] ?? ["", c.role]), c.row && c.role !== "winner" ? badge(["bad", "in the row"]) : null, c.pending ? badge(["info", "not read yet"]) : null, c.late ? badge(["warn", "too late"]) : null].filter(Boolean)],
        ["id", c.click_id], ["time", exact(c.time)], ["name", before(c.before_ns)], ["id", place(c)],
      ]), "Clicks"));
    } else out.push(h("p", { class: "hint" }, "The user has no click on this product there."));
    if (x.more > 0) out.push(h("p", { class: "hint" }, `${x.more} later clicks in the window are not listed.`));
  }
  if (x.row) {
    const r = x.row;
    out.push(h("h3", null, "The row"), h("dl", { class: "facts" }, facts([
      ["click_id", r.click_id ?? "NULL"], ["click_time", r.click_time ? exact(r.click_time) : "NULL"], ["checkout_time", r.checkout_time ? exact(r.checkout_time) : "NULL"],
      ["user_name", r.user_name ?? "NULL"], ["product_id", r.product_id ?? "NULL"], ["payment_method", r.payment_method ?? "NULL"], ["total_amount", r.total_amount ?? "NULL"],
      ["ip_address", r.ip_address ?? "NULL"], ["shipping_address", r.shipping_address ?? "NULL"], ["user_agent", r.user_agent ?? "NULL"],
    ])));
  }
  if (x.user) out.push(h("h3", null, "The name"), h("p", null, x.user.story));
  if (x.when?.story?.length) out.push(h("h3", null, "When"), h("ul", { class: "why" }, x.when.story.map((text) => h("li", null, text))));
  if (x.records.length) {
    out.push(h("h3", null, "Records of this checkout in Kafka"), grid(["", "place", "time", "user_id"], x.records.map((r) => ["",
      ["name", badge(roles[r.role] ?? ["", r.role])], ["id", place(r)], ["time", exact(r.time)], ["name", String(r.user_id)]]), "Records"));
  }
  if (x.dead_letters?.length) {
    out.push(h("h3", null, "Dead letters"), h("ul", { class: "why" }, x.dead_letters.map((d) => h("li", null, h("a", { href: `#dead-letters/${d.id}` }, `${d.reason} at ${place(d)}`), ` ${d.detail}`))));
  }
  if (x.notes?.length) out.push(h("h3", null, "Notes"), h("ul", { class: "why" }, x.notes.map((text) => h("li", null, text))));
  const read = x.searched.reduce((sum, r) => sum + r.to - r.from, 0);
  out.push(h("p", { class: "hint" }, `Found in ${seconds(x.elapsed_ns / 1e9)}; ${read.toLocaleString("en-US")} offsets of ${x.searched.length} ranges in Kafka were looked through.`));
  return out;
}
