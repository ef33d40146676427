// Numbers, times and durations in words. Pure.

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const MINUTE = 60;
const HOUR = 3600;
const DAY = 86400;

export const count = (value) => whole.format(value);

/** A rate: whole numbers, but for small ones. */
export const rate = (value) => (value > 0 && value < 9.95 ? value.toFixed(1) : whole.format(value));

export const fixed = (value, digits) =>
  value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });

/** Milliseconds with as many digits as say something. */
export function milliseconds(value) {
  if (value === null || value === undefined) return "–";
  if (value < 1) return value.toFixed(2);
  if (value < 100) return value.toFixed(1);
  return whole.format(value);
}

/** A time span in its two largest units. */
export function duration(seconds) {
  const s = Math.max(Math.floor(seconds), 0);
  if (s < MINUTE) return `${s} s`;
  if (s < HOUR) return `${Math.floor(s / MINUTE)} min ${s % MINUTE} s`;
  if (s < DAY) return `${Math.floor(s / HOUR)} h ${Math.floor((s % HOUR) / MINUTE)} min`;
  return `${Math.floor(s / DAY)} d ${Math.floor((s % DAY) / HOUR)} h`;
}

/** How long ago, from seconds. */
export const ago = (seconds) => (seconds < 1 ? "now" : `${duration(seconds)} ago`);

const two = (n) => String(n).padStart(2, "0");

/** ns since the epoch to HH:MM:SS, UTC. */
export function clock(ns) {
  const t = new Date(ns / 1e6);
  return `${two(t.getUTCHours())}:${two(t.getUTCMinutes())}:${two(t.getUTCSeconds())}`;
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** ns since the epoch to day and time, UTC; the time only as fine as the bars are. */
export function moment(ns, timeframe) {
  const t = new Date(ns / 1e6);
  const day = `${t.getUTCDate()} ${MONTHS[t.getUTCMonth()]}`;
  if (/(d|w|mo)$/.test(timeframe)) return `${day} ${t.getUTCFullYear()}`;
  const seconds = /(s|t|v)$/.test(timeframe) ? `:${two(t.getUTCSeconds())}` : "";
  return `${day} ${two(t.getUTCHours())}:${two(t.getUTCMinutes())}${seconds}`;
}
