const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });

export const count = (n) => whole.format(n);
export const compact = (n) => (Math.abs(n) < 10_000 ? whole.format(n) : short.format(n));
export const rate = (n) => (n === 0 ? "0/s" : n < 10 ? `${n.toFixed(1)}/s` : `${compact(n)}/s`);

export function bytes(n) {
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (n < 1024 || unit === "GiB") return `${n < 10 && unit !== "B" ? n.toFixed(1) : whole.format(n)} ${unit}`;
    n /= 1024;
  }
}

export function seconds(n) {
  if (n === 0) return "0 s";
  if (n < 0.95) return `${Math.round(n * 1000)} ms`;
  if (n < 120) return `${Math.round(n)} s`;
  if (n < 7200) return `${Math.round(n / 60)} min`;
  if (n < 172_800) return `${Math.floor(n / 3600)} h ${Math.round((n % 3600) / 60)} min`;
  return `${Math.floor(n / 86_400)} days`;
}

// gap shows a time between two events, from milliseconds, as exactly as it matters.
export function gap(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min ${Math.floor((ms % 60_000) / 1000)} s`;
  return seconds(ms / 1000);
}

// Times are UTC; the date is shown if it is not today.
export function clock(millis, today = Date.now()) {
  const text = new Date(millis).toISOString();
  return text.slice(0, 10) === new Date(today).toISOString().slice(0, 10) ? text.slice(11, 23) : `${text.slice(0, 10)} ${text.slice(11, 19)}`;
}
export const micros = (t) => (t === null || t === undefined ? null : clock(t / 1000));
export const instant = (text) => (text ? clock(Date.parse(text)) : null);
// exact keeps the microseconds, which Date drops.
export const exact = (text) => (text ? text.replace("T", " ").replace(/Z$/, "") : "–");
