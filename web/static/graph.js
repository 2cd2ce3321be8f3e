// The job as a graph: six parts, five edges with what flows, what waits and what holds it back.
import { s, setText } from "./dom.js";
import { bytes, compact, count, rate } from "./format.js";

const titles = { clicks: "Clicks", checkouts: "Checkouts", users: "Users", window: "Window", join: "Join", postgres: "Postgres" };

const wide = {
  box: [1080, 300], size: [176, 74],
  nodes: { clicks: [6, 8], checkouts: [6, 113], users: [6, 218], window: [300, 8], join: [560, 113], postgres: [898, 113] },
  edges: {
    clicks: ["M182 45H300", 241, 24], window: ["M476 45H600Q648 45 648 93V113", 556, 24], checkouts: ["M182 150H560", 371, 129],
    users: ["M182 255H600Q648 255 648 207V187", 371, 234], postgres: ["M736 150H898", 817, 129],
  },
};
const narrow = {
  box: [360, 452], size: [112, 66],
  nodes: { clicks: [2, 4], checkouts: [124, 4], users: [246, 4], window: [2, 142], join: [124, 258], postgres: [124, 382] },
  edges: {
    clicks: ["M58 70V142", 88, 96], window: ["M58 208V271Q58 291 78 291H124", 62, 324], checkouts: ["M180 70V258", 210, 150],
    users: ["M302 70V271Q302 291 282 291H236", 302, 324], postgres: ["M180 324V382", 240, 344],
  },
};
const said = {
  clicks: "clicks into the window", window: "the window into the join", checkouts: "checkouts into the join", users: "names into the join", postgres: "rows into Postgres",
};

export function graph(container) {
  const media = matchMedia("(max-width: 720px)");
  let parts;
  let last;

  function build() {
    const layout = media.matches ? narrow : wide;
    const [width, height] = layout.box;
    const [w, tall] = layout.size;
    parts = { nodes: {}, edges: {} };
    const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, class: media.matches ? "graph narrow" : "graph", role: "group", "aria-labelledby": "graph-title" },
      s("defs", null, s("marker", { id: "arrow", viewBox: "0 0 10 10", refX: 9, refY: 5, markerWidth: 9, markerHeight: 9, markerUnits: "userSpaceOnUse", orient: "auto" }, s("path", { d: "M0 0L10 5L0 10z", class: "head" }))));
    for (const [name, [path, x, y]] of Object.entries(layout.edges)) {
      const track = s("path", { d: path, class: "track", "marker-end": "url(#arrow)" });
      const flow = s("path", { d: path, class: "flow" });
      const main = s("text", { x, y, class: "edge-rate" }, "");
      const sub = s("text", { x, y: y + (media.matches ? 14 : 41), class: "edge-lag" }, "");
      const title = s("title", null, said[name]);
      const group = s("g", { class: "edge", "data-edge": name }, title, track, flow, main, sub);
      svg.append(group);
      parts.edges[name] = { group, flow, main, sub, title };
    }
    for (const [name, [x, y]] of Object.entries(layout.nodes)) {
      const one = s("text", { x: x + 12, y: y + (media.matches ? 41 : 46), class: "node-one" }, "");
      const two = s("text", { x: x + 12, y: y + (media.matches ? 56 : 63), class: "node-two" }, "");
      svg.append(s("g", { class: `node ${name}` },
        s("rect", { x, y, width: w, height: tall, rx: 10 }), s("text", { x: x + 12, y: y + 24, class: "node-title" }, titles[name]), one, two));
      parts.nodes[name] = { one, two };
    }
    container.replaceChildren(svg);
    if (last) update(last);
  }

  function node(name, one, two) {
    setText(parts.nodes[name].one, one);
    setText(parts.nodes[name].two, two);
  }

  function update(now) {
    last = now;
    const small = media.matches;
    node("clicks", rate(now.sample.clicks[0]), `${now.clicks.length} partitions`);
    node("checkouts", rate(now.sample.checkouts[0]), `${now.checkouts.length} shards here`);
    node("users", `${compact(now.users.entries)} names`, now.users.connected ? "stream stands" : "stream is down");
    node("window", `${compact(now.window.clicks)} clicks`, bytes(now.window.bytes));
    const queued = now.checkouts.reduce((sum, shard) => sum + shard.queued, 0);
    const recents = now.checkouts.reduce((sum, shard) => sum + shard.recents, 0);
    node("join", `${compact(queued)} queued`, small ? `${compact(recents)} open` : `${compact(recents)} not final yet`);
    node("postgres", `${compact(now.totals.rows)} rows`, now.postgres.last_error ? "does not take rows" : `${Math.round(now.sample.committing[0])} % busy`);
    for (const [name, part] of Object.entries(parts.edges)) {
      const edge = now.edges[name];
      const held = edge.pressure >= 0.9 ? "held" : edge.pressure >= 0.5 ? "tight" : "free";
      part.group.setAttribute("class", `edge ${held}${edge.rate > 0 ? " flowing" : ""}`);
      // The style object is no inline style of the markup: the content security policy lets it be.
      part.flow.style.strokeWidth = String(Math.min(2 + Math.log10(1 + edge.rate), 6));
      part.flow.style.animationDuration = `${Math.max(0.25, 2.2 - 0.5 * Math.log10(1 + edge.rate)).toFixed(2)}s`;
      setText(part.main, rate(edge.rate));
      let below = "";
      if (name === "users") below = edge.pressure >= 0.05 ? `${Math.round(edge.pressure * 100)} % waited for` : "";
      else if (name !== "window") below = edge.lag > 0 ? `lag ${compact(edge.lag)}` : "no lag";
      if (held !== "free") below = [below, held === "held" ? "held back" : "under pressure"].filter(Boolean).join(", ");
      setText(part.sub, below);
      setText(part.title, `${said[name]}: ${rate(edge.rate)}, ${count(edge.lag)} records wait, back pressure ${Math.round(edge.pressure * 100)} %`);
    }
  }

  media.addEventListener("change", build);
  build();
  return { update };
}
