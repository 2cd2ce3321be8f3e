// The explanation of a checkout, as /api/explain gives it.
import { h, s, facts } from "./dom.js";
import { clock, exact, seconds } from "./format.js";

const verdicts = {
  right: ["good", "right"], pending: ["info", "pending"], late: ["warn", "late"], refused_click: ["warn", "click refused"], wrong: ["bad", "wrong"], missing: ["bad", "missing"],
  dead_letter: ["warn", "dead letter"], unverifiable: ["warn", "unverifiable"], unknown: ["", "unknown"],
};
const roles = {
  winner: ["good", "first click"], runner_up: ["info", "runner-up"], candidate: ["", "in the window"], before: ["", "before the window"],
  after: ["", "after the checkout"], duplicate: ["", "duplicate"], rejected: ["warn", "dead letter"],
  source: ["good", "made the row"], conflict: ["warn", "conflict"], refused: ["warn", "refused"],
};
const badge = ([kind, text]) => h("span", { class: `badge ${kind}` }, text);
const place = (p) => `${p.topic}[${p.partition}] @ ${p.offset}`;

// before shows how long before the checkout a click came, from nanoseconds.
function before(ns) {
  const text = Math.abs(ns) < 1e6 ? `${(Math.abs(ns) / 1e3).toFixed(0)} µs` : seconds(Math.abs(ns) / 1e9);
  return ns < 0 ? `${text} after` : `${text} before`;
}

// span draws the window up to the checkout, with every click in and near it. The scale is
// logarithmic: most clicks are close to the checkout.
function span(x, small) {
  const to = Date.parse(x.join.to), whole = x.join.window_ns / 1e6;
  const [width, left, right] = small ? [360, 14, 30] : [1000, 26, 60];
  const decades = (ms) => Math.log10(1 + Math.max(ms, 0) / 10); // 10 ms and less are one point
  const far = decades(whole) * 1.07; // room for what came before the window
  const zero = width - right;
  const at = (ms) => (ms < 0 ? Math.min(zero + (right - 10) * (decades(-ms) / far) + 6, width - 6) : zero - (zero - left) * Math.min(decades(ms) / far, 1));
  const ticks = [[100, "100 ms"], [1000, "1 s"], [10_000, "10 s"], [60_000, "1 min"], [600_000, "10 min"]].filter(([ms], i) => ms < whole * 0.5 && !(small && i % 2 === 0));
  const order = x.clicks.toSorted((a, b) => (a.role === "winner") - (b.role === "winner")); // the winner on top
  const y = 38;
  return s("svg", { viewBox: `0 0 ${width} 92`, class: small ? "span small" : "span", role: "img", "aria-label": `${x.clicks.length} clicks around the window of ${seconds(whole / 1000)} before the checkout, on a logarithmic scale` },
    s("rect", { class: "range", x: at(whole), y: y - 19, width: zero - at(whole), height: 38, rx: 5 }),
    s("line", { class: "base", x1: 6, y1: y, x2: width - 6, y2: y }),
    ticks.flatMap(([ms, text]) => [s("line", { class: "tick", x1: at(ms), y1: y - 19, x2: at(ms), y2: y + 19 }), s("text", { x: at(ms), y: y + 36, "text-anchor": "middle" }, text)]),
    s("line", { class: "edge-of", x1: at(whole), y1: y - 24, x2: at(whole), y2: y + 24 }),
    s("line", { class: "mark", x1: zero, y1: y - 26, x2: zero, y2: y + 24 }),
    order.map((c) => s("circle", { cx: at(c.before_ns / 1e6), cy: y, r: c.role === "winner" ? 9 : 6, class: c.role }, s("title", null, `${c.click_id}, ${before(c.before_ns)}`))),
    s("text", { x: Math.max(at(whole), left), y: y + 36, "text-anchor": small ? "start" : "middle" }, `${seconds(whole / 1000)} before`),
    s("text", { x: width - 4, y: y + 36, "text-anchor": "end", class: "strong" }, small ? "checkout" : `checkout ${clock(to, to)}`));
}

function grid(columns, rows, label) {
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, h("table", { class: "rows" },
    h("thead", null, h("tr", null, columns.map((c, i) => h("th", { scope: "col", class: rows[0]?.[i + 1][0] === "n" ? "n" : null }, c)))),
    h("tbody", null, rows.map(([mark, ...cells]) => h("tr", { class: mark }, cells.map(([kind, cell], i) => h("td", { class: kind, "data-title": columns[i] }, cell)))))));
}

export function explanation(x) {
  const out = [];
  out.push(h("p", { class: "summary", "data-verdict": x.verdict }, badge(verdicts[x.verdict] ?? ["", x.verdict]), " ", x.summary));
  if (x.why?.length) out.push(h("ul", { class: "why" }, x.why.map((text) => h("li", null, text))));
  if (x.join) {
    out.push(h("h3", null, "Clicks in and near the window"), span(x, matchMedia("(max-width: 720px)").matches));
    if (x.clicks.length) {
      out.push(grid(["", "came", "click_id", "time", "place in Kafka"], x.clicks.map((c) => [
        c.role === "winner" ? "winner" : c.role === "before" || c.role === "after" ? "outside" : "",
        ["name", [badge(roles[c.role] ?? ["", c.role]), c.row && c.role !== "winner" ? badge(["bad", "in the row"]) : null, c.pending ? badge(["info", "not read yet"]) : null, c.late ? badge(["warn", "too late"]) : null].filter(Boolean)],
        ["n", before(c.before_ns)], ["id full", c.click_id], ["time", exact(c.time)], ["id", place(c)],
      ]), "Clicks"));
    } else out.push(h("p", { class: "hint" }, "The user has no click on this product there."));
    if (x.more > 0) out.push(h("p", { class: "hint" }, `${x.more} later clicks in the window are not listed.`));
  }
  if (x.row) {
    const r = x.row;
    out.push(h("h3", null, "The row"), h("dl", { class: "facts" }, facts([
      ["click_id", r.click_id ? h("code", null, r.click_id) : "NULL"], ["click_time", r.click_time ? exact(r.click_time) : "NULL"], ["checkout_time", r.checkout_time ? exact(r.checkout_time) : "NULL"],
      ["user_name", r.user_name ?? "NULL"], ["product_id", r.product_id ? h("code", null, r.product_id) : "NULL"], ["payment_method", r.payment_method ?? "NULL"], ["total_amount", r.total_amount ?? "NULL"],
      ["ip_address", r.ip_address ?? "NULL"], ["shipping_address", r.shipping_address ?? "NULL"], ["user_agent", r.user_agent ?? "NULL"],
    ])));
  }
  if (x.user) out.push(h("h3", null, "The name"), h("p", null, x.user.story));
  if (x.when?.story?.length) out.push(h("h3", null, "When"), h("ul", { class: "why" }, x.when.story.map((text) => h("li", null, text))));
  if (x.records.length) {
    out.push(h("h3", null, "Records of this checkout in Kafka"), grid(["", "user_id", "place in Kafka", "time"], x.records.map((r) => ["",
      ["name", badge(roles[r.role] ?? ["", r.role])], ["n", String(r.user_id)], ["id", place(r)], ["time", exact(r.time)]]), "Records"));
  }
  if (x.dead_letters?.length) {
    out.push(h("h3", null, "Dead letters"), h("ul", { class: "why" }, x.dead_letters.map((d) => h("li", null, h("a", { href: `#dead-letters/${d.id}` }, `${d.reason} at ${place(d)}`), ` ${d.detail}`))));
  }
  if (x.notes?.length) out.push(h("h3", null, "Notes"), h("ul", { class: "why" }, x.notes.map((text) => h("li", null, text))));
  const read = x.searched.reduce((sum, r) => sum + r.to - r.from, 0);
  out.push(h("p", { class: "hint" }, `Found in ${seconds(x.elapsed_ns / 1e9)}; ${read.toLocaleString("en-US")} offsets of ${x.searched.length} ranges in Kafka were searched.`));
  return out;
}
