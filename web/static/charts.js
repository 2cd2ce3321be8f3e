// Small charts over the last 15 minutes, by uPlot (vendor/). Their cursors move together.
import { h, setText } from "./dom.js";
import { bytes, compact, rate, seconds } from "./format.js";

const kept = 15 * 60;
const plans = [
  { title: "Events a second", series: [["clicks", "Clicks", 1], ["checkouts", "Checkouts", 2], ["rows", "Rows", 3]], show: compact, least: 5, robust: true },
  { title: "From checkout to row", series: [["delay", "Mean", 3]], show: (v) => (v < 10 ? `${v.toFixed(1)} ms` : seconds(v / 1000)) },
  { title: "Behind", series: [["behind", "Behind", 4]], show: seconds },
  { title: "Records that wait", series: [["backlog", "Backlog", 4]], show: compact, least: 10 },
  { title: "Time spent waiting", series: [["committing", "Postgres", 3], ["naming", "Users", 2]], show: (v) => `${Math.round(v)} %`, top: 100 },
  { title: "Window", series: [["window_mb", "Memory", 1]], show: (v) => bytes(v * 1048576) },
  { title: "Corrections", series: [["corrected", "Rows moved to an earlier click", 2]], show: rate },
  { title: "Dead letters", series: [["dead", "Dead letters", 5]], show: rate },
];

export function charts(container) {
  let data = null;
  let plots = [];
  let visible = false;
  let marks = []; // times of actions, in seconds
  const sync = uPlot.sync("time");

  const colour = (n) => getComputedStyle(document.documentElement).getPropertyValue(`--series-${n}`).trim();
  const variable = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  for (const plan of plans) {
    const keys = plan.series.map(([, label, n]) => {
      const value = h("output", null, "–");
      return { value, node: h("span", { class: `key series-${n}` }, h("i", { "aria-hidden": "true" }), `${label} `, value) };
    });
    const canvas = h("div", { class: "canvas", role: "img", "aria-label": `${plan.title}, the last 15 minutes` });
    container.append(h("figure", { class: "panel chart" }, h("figcaption", null, h("h3", null, plan.title), h("span", { class: "keys" }, keys.map((k) => k.node))), canvas));
    plots.push({ plan, keys, canvas, plot: null });
  }

  const columns = (plan) => [data.t, ...plan.series.map(([name]) => (name === "delay" ? data.delay.map((v) => (v < 0 ? null : v)) : data[name]))];

  function draw(one) {
    one.plot?.destroy();
    const axis = { stroke: variable("--muted"), grid: { stroke: variable("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    one.plot = new uPlot({
      width: Math.max(one.canvas.clientWidth, 120), height: 132, padding: [8, 26, 0, 0], legend: { show: false },
      tzDate: (t) => uPlot.tzDate(new Date(t * 1000), "Etc/UTC"),
      cursor: { sync: { key: sync.key }, y: false, points: { size: 6 }, drag: { x: false, y: false } },
      scales: {
        x: { range: (u, min, max) => [Math.max(max - kept, Math.min(min, max - 60)), max] },
        y: { range: (u, min, max) => [0, one.plan.top ?? Math.max((one.plan.robust ? usual(u, max) : max) * 1.1, one.plan.least ?? 1)] },
      },
      axes: [{ ...axis, size: 24, space: 70, values: (u, list) => list.map((t) => new Date(t * 1000).toISOString().slice(11, u.scales.x.max - u.scales.x.min < 300 ? 19 : 16)) }, { ...axis, size: 58, space: 34, values: (u, list) => list.map((v) => one.plan.show(v)) }],
      series: [{}, ...one.plan.series.map(([name, label, n]) => ({ label, stroke: colour(n), fill: `${colour(n)}1f`, width: 1.5, points: { show: name === "delay", size: 3 }, spanGaps: name !== "delay" }))],
      hooks: { setCursor: [(u) => tell(one, u.cursor.idx)], drawClear: [strike] },
    }, columns(one.plan), one.canvas);
  }

  // usual is the greatest value but for a burst, such as the backlog of a start, that would flatten
  // all else for a quarter of an hour. A burst leaves the chart at its top; the cursor still shows
  // its value.
  function usual(u, max) {
    const from = u.scales.x.min ?? 0;
    const seen = u.data.slice(1).flatMap((list) => list.filter((v, i) => v > 0 && u.data[0][i] >= from)).sort((a, b) => a - b);
    const most = seen[Math.floor(seen.length * 0.95)] ?? max;
    return max > 8 * most ? 2 * most : max;
  }

  // strike draws a line at each mark, under the data.
  function strike(u) {
    const { left, top, width, height } = u.bbox;
    u.ctx.save();
    u.ctx.strokeStyle = u.ctx.fillStyle = variable("--bad");
    u.ctx.globalAlpha = 0.55;
    u.ctx.lineWidth = devicePixelRatio;
    u.ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
    for (const t of marks) {
      const x = Math.round(u.valToPos(t, "x", true));
      if (x < left || x > left + width) continue;
      u.ctx.beginPath();
      u.ctx.moveTo(x, top);
      u.ctx.lineTo(x, top + height);
      u.ctx.stroke();
      u.ctx.beginPath();
      u.ctx.arc(x, top, 2.5 * devicePixelRatio, 0, 2 * Math.PI);
      u.ctx.fill();
    }
    u.ctx.restore();
  }

  // tell shows the values under the cursor, else the newest ones.
  function tell(one, index) {
    one.plan.series.forEach(([name], i) => {
      const list = data[name];
      const value = list[index ?? list.length - 1];
      setText(one.keys[i].value, value === undefined || (name === "delay" && value < 0) ? "–" : one.plan.show(value));
    });
  }

  function refresh() {
    if (!visible || !data || document.hidden) return;
    for (const one of plots) {
      if (!one.plot) draw(one);
      else one.plot.setData(columns(one.plan));
      tell(one, one.plot.cursor.idx);
    }
  }

  // extend adds samples that are newer than all others.
  function extend(samples) {
    data ??= Object.fromEntries(Object.keys(samples).map((name) => [name, []]));
    for (const [name, list] of Object.entries(data)) {
      list.push(...samples[name]);
      list.splice(0, list.length - kept);
    }
    refresh();
  }

  const redraw = () => {
    if (visible && data) plots.forEach(draw);
  };
  let width = 0;
  new ResizeObserver(() => {
    if (!visible || container.clientWidth === width) return;
    width = container.clientWidth;
    for (const one of plots) one.plot?.setSize({ width: Math.max(one.canvas.clientWidth, 120), height: 132 });
  }).observe(container);
  document.addEventListener("visibilitychange", refresh);

  return {
    begin() { data = null; },
    extend,
    add(sample) { if (!(sample.t[0] <= data?.t.at(-1))) extend(sample); },
    mark(list) { marks = list; refresh(); },
    show(is) { visible = is; refresh(); },
    redraw,
  };
}
