// The chart of one contract and timeframe: candles, volume, and marks on bars that need a word.
//
// Bars are kept here by their place on the time axis, which is their open time; the library is only told what changed.
// Drawing is left to the browser's next frame, however many messages came before it.
//
// Bars by activity may share their open time, and a later one may open earlier, while the library wants times that rise.
// Each has a candle of its own, in the order of their numbers; one that does not open later than the bar before it stands
// a microsecond after it, which no label shows, and the readout and the table say when it really opened.

import {
  CandlestickSeries,
  CrosshairMode,
  HistogramSeries,
  createChart,
  createSeriesMarkers,
} from "../vendor/lightweight-charts/lightweight-charts.js";
import { byId, make, setText, sync } from "./dom.js";
import { count, fixed, moment } from "./format.js";

const MOST = 3000; // bars kept; beyond it the oldest third goes
const ROWS = 40; // bars in the table
const APART = 1e-6; // seconds between bars that opened at one time: what a floating-point number of this size can tell

/** What a mark says, in the order of the legend. */
const FLAGS = {
  gap: { letter: "G", word: "gap", about: "part of its time was not received" },
  healed: { letter: "H", word: "healed", about: "repaired from the gateway's history" },
  partial: { letter: "P", word: "partial", about: "the session began or ended inside it" },
  revised: { letter: "R", word: "revised", about: "a late tick changed it after it was closed" },
  conflated: { letter: "", word: "conflated", about: "folded under pressure; the values are exact" },
  empty: { letter: "", word: "empty", about: "no trade in it; the price is the last close" },
};

/** The words that are marked: a gap that was healed is no gap any more. */
const remarks = (bar) => (bar.words.includes("healed") ? bar.words.filter((word) => word !== "gap") : bar.words);

/** A colour of the style sheet as the theme has it now: "rgb(…)". */
function colour(name) {
  const probe = byId("probe");
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}

/** An "rgb(…)" colour with another opacity. */
const faint = (rgb, share) => rgb.replace("rgb(", "rgba(").replace(")", `, ${share})`);

export class BarChart {
  constructor() {
    this.frame = byId("chart");
    this.bars = new Map();
    this.places = new Map(); // of bars by activity, by number
    this.order = [];
    this.dirty = new Set();
    this.whole = true;
    this.scheduled = false;
    this.hovered = null;
    this.contract = null;
    this.timeframe = "";
    this.build();
    document.documentElement.addEventListener("themechange", () => this.repaint());
    this.frame.addEventListener("keydown", (event) => this.key(event));
    byId("bars-table").addEventListener("toggle", () => this.table());
  }

  build() {
    this.colours();
    this.chart = createChart(byId("canvas"), {
      autoSize: true,
      ...this.options(),
      crosshair: { mode: CrosshairMode.Normal },
      localization: {
        locale: "en-GB",
        timeFormatter: (time) => moment(time * 1e9, this.timeframe),
        priceFormatter: (price) => fixed(price, this.contract?.decimals ?? 2),
      },
      handleScroll: { vertTouchDrag: false },
    });
    this.candles = this.chart.addSeries(CandlestickSeries, { priceLineVisible: true, lastValueVisible: true });
    this.volume = this.chart.addSeries(HistogramSeries, {
      priceScaleId: "volume",
      priceFormat: { type: "volume" },
      lastValueVisible: false,
      priceLineVisible: false,
    });
    this.volume.priceScale().applyOptions({ scaleMargins: { top: 0.84, bottom: 0 } });
    this.candles.priceScale().applyOptions({ scaleMargins: { top: 0.12, bottom: 0.2 } });
    this.marks = createSeriesMarkers(this.candles, [], { autoScale: false });
    this.chart.subscribeCrosshairMove((move) => {
      this.hovered = move.time === undefined ? null : move.time;
      this.readout();
    });
    this.repaint();
  }

  colours() {
    const names = ["up", "down", "gap", "healed", "revised", "quiet", "grid", "line", "text", "card", "line-strong"];
    this.paint = Object.fromEntries(names.map((name) => [name, colour(name)]));
  }

  options() {
    const { quiet, grid, card } = this.paint;
    const line = this.paint["line-strong"];
    return {
      layout: {
        background: { color: card },
        textColor: quiet,
        fontFamily: getComputedStyle(document.body).fontFamily,
        fontSize: 11,
        // its stylesheet would need a hole in the content security policy; the attribution is in the page's footer
        attributionLogo: false,
      },
      grid: { vertLines: { color: grid }, horzLines: { color: grid } },
      rightPriceScale: { borderVisible: false, entireTextOnly: true },
      timeScale: { borderVisible: false, timeVisible: true, rightOffset: 4, minBarSpacing: 1.5 },
      crosshair: {
        vertLine: { color: line, labelBackgroundColor: quiet },
        horzLine: { color: line, labelBackgroundColor: quiet },
      },
    };
  }

  repaint() {
    this.colours();
    this.chart.applyOptions(this.options());
    const { up, down } = this.paint;
    this.candles.applyOptions({ upColor: up, downColor: down, wickUpColor: up, wickDownColor: down, borderUpColor: up, borderDownColor: down });
    this.whole = true;
    this.schedule();
  }

  /** Begin with another contract or timeframe: nothing is shown until its bars come. */
  show(contract, timeframe) {
    this.contract = contract;
    this.timeframe = timeframe;
    this.clear();
    this.whole = true;
    this.fresh = true;
    const price = { type: "price", precision: contract.decimals, minMove: contract.tick_size || 0.01 };
    this.candles.applyOptions({ priceFormat: price });
    this.chart.applyOptions({ timeScale: { secondsVisible: /(s|t|v)$/.test(timeframe) } });
    this.frame.setAttribute("aria-label", `Candles of ${contract.name || contract.contract}, ${timeframe}`);
    this.schedule();
  }

  /** Take in a `Chart` of the API. */
  take({ contract, timeframe, reset, bars }) {
    if (contract !== this.contract?.contract || timeframe !== this.timeframe) return;
    if (reset) {
      this.clear();
      this.whole = true;
    }
    for (let i = 0; i < bars.open_time.length; i += 1) {
      const bar = Object.fromEntries(Object.keys(bars).map((name) => [name, bars[name][i]]));
      bar.words = bar.flags ? bar.flags.split("|") : [];
      bar.time = this.place(bar);
      const known = this.bars.has(bar.time);
      this.bars.set(bar.time, bar);
      if (!known) {
        if (this.order.length > 0 && bar.time < this.order.at(-1)) this.whole = true;
        this.order.push(bar.time);
      }
      this.dirty.add(bar.time);
    }
    if (this.whole) this.order.sort((a, b) => a - b);
    if (this.order.length > MOST) {
      for (const time of this.order.splice(0, Math.floor(MOST / 3))) {
        this.places.delete(this.bars.get(time).number);
        this.bars.delete(time);
      }
      this.whole = true;
    }
    this.schedule();
  }

  clear() {
    this.bars.clear();
    this.places.clear();
    this.order = [];
  }

  /** Where a bar stands on the time axis, in seconds. A bar by activity keeps its place while it grows. */
  place({ open_time, number }) {
    const time = open_time / 1e9;
    if (number === 0) return time;
    const known = this.places.get(number);
    if (known !== undefined) return known;
    const at = this.order.length > 0 ? Math.max(time, this.order.at(-1) + APART) : time;
    this.places.set(number, at);
    return at;
  }

  schedule() {
    if (this.scheduled) return;
    this.scheduled = true;
    requestAnimationFrame(() => {
      this.scheduled = false;
      this.draw();
    });
  }

  draw() {
    if (this.whole) {
      const bars = this.order.map((time) => this.bars.get(time));
      this.candles.setData(bars.map((bar) => this.candle(bar)));
      this.volume.setData(bars.map((bar) => this.column(bar)));
      if (this.fresh && bars.length > 0) {
        this.chart.timeScale().applyOptions({ barSpacing: this.spacing() });
        this.chart.timeScale().scrollToRealTime();
        this.fresh = false;
      }
    } else {
      const changed = [...this.dirty].filter((time) => this.bars.has(time)).sort((a, b) => a - b);
      for (const time of changed) {
        const bar = this.bars.get(time);
        const older = this.drawn !== undefined && time < this.drawn;
        this.candles.update(this.candle(bar), older);
        this.volume.update(this.column(bar), older);
        this.drawn = Math.max(this.drawn ?? time, time);
      }
    }
    this.drawn = this.order.at(-1);
    this.whole = false;
    this.dirty.clear();
    this.mark();
    this.readout();
    this.table();
    this.tell();
  }

  /** Few bars are drawn wider, so that a chart that has just begun does not huddle in a corner. */
  spacing() {
    const width = byId("canvas").clientWidth - 80;
    return Math.min(Math.max(width / Math.max(this.order.length, 60), 5), 14);
  }

  candle(bar) {
    const { open, high, low, close, time } = bar;
    const { up, down, gap, healed, quiet } = this.paint;
    const own = close >= open ? up : down;
    const candle = { time, open, high, low, close };
    const tone = bar.words.includes("healed") ? healed : bar.words.includes("gap") ? gap : null;
    if (bar.words.includes("empty")) Object.assign(candle, { color: quiet, borderColor: quiet, wickColor: quiet });
    else if (tone) Object.assign(candle, { color: faint(own, 0.35), borderColor: tone, wickColor: tone });
    else if (bar.words.includes("partial")) Object.assign(candle, { color: faint(own, 0.12), borderColor: own, wickColor: own });
    return candle;
  }

  column(bar) {
    const own = bar.close >= bar.open ? this.paint.up : this.paint.down;
    return { time: bar.time, value: bar.volume, color: faint(own, bar.closed ? 0.32 : 0.2) };
  }

  /** Put marks on the bars that need a word, and say in the legend which marks there are. */
  mark() {
    const { gap, healed, revised, quiet } = this.paint;
    const looks = {
      gap: { position: "aboveBar", shape: "circle", color: gap, text: "G" },
      healed: { position: "aboveBar", shape: "circle", color: healed, text: "H" },
      partial: { position: "belowBar", shape: "square", color: quiet, text: "P" },
      revised: { position: "belowBar", shape: "square", color: revised, text: "R" },
      conflated: { position: "belowBar", shape: "circle", color: quiet, size: 0.4 },
    };
    const marks = [];
    const counts = {};
    let before = [];
    for (const time of this.order) {
      const words = remarks(this.bars.get(time));
      for (const word of words) {
        counts[word] = (counts[word] ?? 0) + 1;
        // one letter for a run of bars is enough
        if (looks[word]) marks.push({ time, size: 0.8, ...looks[word], ...(before.includes(word) ? { text: "" } : {}) });
      }
      before = words;
    }
    const state = marks.map((mark) => `${mark.time}${mark.text ?? ""}${mark.color}`).join();
    if (state === this.marked) return;
    this.marked = state;
    this.marks.setMarkers(marks);
    const shown = Object.keys(FLAGS).filter((flag) => counts[flag]);
    sync(
      byId("legend"),
      shown,
      (flag) => flag,
      (flag) =>
        make(
          "li",
          { title: FLAGS[flag].about },
          make("span", { class: "key", "data-flag": flag, "aria-hidden": "true" }, FLAGS[flag].letter),
          make("span"),
        ),
      (node, flag) => setText(node.lastChild, `${FLAGS[flag].word} ${count(counts[flag])}`),
    );
  }

  /** The bar under the pointer in figures, or the newest. */
  readout() {
    const bar = this.bars.get(this.hovered ?? this.order.at(-1));
    byId("chart-empty").hidden = bar !== undefined;
    const box = byId("readout");
    if (bar === undefined) {
      box.replaceChildren();
      return;
    }
    const price = (value) => fixed(value, this.contract.decimals);
    const tone = bar.close >= bar.open ? "up" : "down";
    const pair = (label, text) => make("span", { class: tone }, make("i", {}, label), make("b", {}, text));
    const plain = (label, text) => make("span", { class: "minor" }, make("i", {}, label), make("b", {}, text));
    box.replaceChildren(
      make("span", {}, make("i", {}, moment(bar.open_time, this.timeframe))),
      pair("O", price(bar.open)),
      pair("H", price(bar.high)),
      pair("L", price(bar.low)),
      pair("C", price(bar.close)),
      plain("Volume", count(bar.volume)),
      plain("Trades", count(bar.trades)),
      bar.words.length > 0 ? make("span", { class: "words" }, bar.words.join(", ")) : "",
    );
  }

  /** The newest bars as a table, while it is open: the same bars for those who do not see a canvas. */
  table() {
    const fold = byId("bars-table");
    if (!fold.open) return;
    const rows = this.order.slice(-ROWS).reverse().map((time) => this.bars.get(time));
    const price = (value) => fixed(value, this.contract.decimals);
    sync(
      fold.querySelector("tbody"),
      rows,
      (bar) => bar.time,
      () => make("tr", {}, make("td"), ...Array.from({ length: 6 }, () => make("td", { class: "n" })), make("td")),
      (row, bar) => {
        const remarks = [...(bar.closed ? [] : ["open"]), ...bar.words];
        const figures = [price(bar.open), price(bar.high), price(bar.low), price(bar.close), count(bar.volume), count(bar.trades)];
        [moment(bar.open_time, this.timeframe), ...figures, remarks.join(", ")].forEach((text, i) => setText(row.cells[i], text));
      },
    );
  }

  /** What the chart shows, for tests and scripts. */
  tell() {
    const newest = this.bars.get(this.order.at(-1));
    this.frame.dataset.bars = String(this.order.length);
    this.frame.dataset.close = newest === undefined ? "" : String(newest.close);
    this.frame.dataset.volume = newest === undefined ? "" : String(newest.volume);
    this.frame.dataset.time = newest === undefined ? "" : String(newest.open_time);
  }

  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const scale = this.chart.timeScale();
    const zoom = (factor) => scale.applyOptions({ barSpacing: Math.min(Math.max(scale.options().barSpacing * factor, 1.5), 60) });
    const act = {
      ArrowLeft: () => scale.scrollToPosition(scale.scrollPosition() - 10, false),
      ArrowRight: () => scale.scrollToPosition(scale.scrollPosition() + 10, false),
      "+": () => zoom(1.25),
      "=": () => zoom(1.25),
      "-": () => zoom(0.8),
      End: () => scale.scrollToRealTime(),
    }[event.key];
    if (act === undefined) return;
    event.preventDefault();
    act();
  }
}
