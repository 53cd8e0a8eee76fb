"use strict";
// Shows what the server tells, as text: names, edits and reasons are a stranger's and never become markup.
const root = document.documentElement;
const at = (id) => document.getElementById(id);
const make = (tag, attributes = {}, text = "") => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
};
const drawn = (tag, attributes, text) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
};
const say = (id, text) => { if (at(id).textContent !== text) at(id).textContent = text; };

// What did not change is left alone: the reader may have selected it, or be scrolling in it.
const shown = new Map();
const changed = (key, value) => {
  const text = JSON.stringify(value);
  if (shown.get(key) === text) return false;
  shown.set(key, text);
  return true;
};

function facts(id, pairs) {
  if (!changed(id, pairs)) return;
  at(id).replaceChildren(...pairs.map(([name, value]) => {
    const entry = make("div", value.length > 40 ? { class: "wide" } : {});
    entry.append(make("dt", {}, name), make("dd", {}, value));
    return entry;
  }));
}

function table(key, sheet, words = []) {
  at(key).hidden = !sheet.rows.length;
  if (!changed(key, sheet)) return;
  const head = make("tr");
  head.append(...sheet.headings.map((heading) => make("th", { scope: "col" }, heading)));
  at(`${key}-table`).tHead.replaceChildren(head);
  at(`${key}-table`).tBodies[0].replaceChildren(...sheet.rows.map((cells) => {
    const row = make("tr");
    row.append(...cells.map((cell, place) => place
      ? make("td", words.includes(sheet.headings[place]) ? { class: "words", dir: "auto" } : {}, cell)
      : make("th", { scope: "row" }, cell)));
    return row;
  }));
}

// ---- plots
const number = (value) => String(Number(value.toPrecision(4)));

// [value, label]; with as many digits as tell neighbours apart.
function ticks(low, high, count) {
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= rough) * power;
  const digits = Math.min(20, Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));
  const first = Math.ceil(low / step - 1e-6), last = Math.floor(high / step + 1e-6);
  return Array.from({ length: last - first + 1 }, (_, place) => (first + place) * step).map((value) => [value, value.toFixed(digits)]);
}

// points: [[x, y], …]; draws axes and hands (x, y) => place to `inside`, which returns elements.
function plot(label, points, size, axis, inside) {
  const [width, height] = size, right = 12, top = 10, bottom = 34;
  const xs = points.map(([x]) => x), ys = points.map(([, y]) => y);
  let [minX, maxX] = [Math.min(...xs), Math.max(...xs, axis.to || -Infinity)], [minY, maxY] = [Math.min(...ys), Math.max(...ys)];
  if (minX === maxX) [minX, maxX] = [minX - 1, maxX + 1];
  // Scores that differ in their last bits are the same here: between them there is no room for ticks.
  const largest = Math.max(Math.abs(minY), Math.abs(maxY)), span = maxY - minY;
  const margin = span > 1e-9 * largest ? span * 0.06 : largest * 0.05 || 1;
  minY -= margin; maxY += margin;
  const marks = ticks(minY, maxY, height > 200 ? 5 : 3);
  const left = Math.max(62, 16 + 7 * Math.max(...marks.map(([, label]) => label.length)));
  const x = (value) => left + ((value - minX) / (maxX - minX)) * (width - left - right);
  const y = (value) => height - bottom - ((value - minY) / (maxY - minY)) * (height - top - bottom);
  const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  for (const [value, label] of marks) {
    svg.append(drawn("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value) }));
    svg.append(drawn("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, label));
  }
  for (const [value] of ticks(minX, maxX, width > 500 ? 8 : 4).filter(([value]) => Number.isInteger(value) && value >= 0)) {
    svg.append(drawn("text", { x: x(value), y: height - bottom + 16, "text-anchor": "middle" }, String(value)));
  }
  svg.append(drawn("line", { class: "axis", x1: left, x2: width - right, y1: height - bottom, y2: height - bottom }));
  svg.append(drawn("text", { x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle" }, axis.title));
  svg.append(...inside(x, y));
  return svg;
}

const path = (points) => points.map(([x, y], place) => `${place ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

function scores(points, told) {
  at("scores").hidden = !points.length;
  if (!changed("scores", [points, told]) || !points.length) return;
  const best = points[points.length - 1].best;
  const label = `${points.length} full evaluations by evaluations spent; the best has ${number(best)}. The table of trials has the numbers.`;
  const svg = plot(label, points.map((point) => [point.spent, point.score]), [760, 280], { title: "evaluations spent" }, (x, y) => {
    const steps = points.flatMap((point, place) => {
      const next = points[place + 1];
      return next ? [[x(point.spent), y(point.best)], [x(next.spent), y(point.best)]] : [[x(point.spent), y(point.best)]];
    });
    const dots = points.map((point) => {
      const dot = drawn("circle", { class: point.leads ? "dot-best" : "dot", cx: x(point.spent), cy: y(point.score), r: 5 });
      dot.append(drawn("title", {}, `${point.trial}: ${number(point.score)}`));
      return dot;
    });
    return [drawn("path", { class: "best", d: path(steps) }), ...dots];
  });
  const figure = make("figure");
  figure.append(svg, make("figcaption", {}, told));
  at("scores-plot").replaceChildren(figure);
}

function losses(curves) {
  at("losses").hidden = !curves.length;
  if (!changed("losses", curves)) return;
  at("losses-plots").replaceChildren(...curves.map((curve) => {
    const label = `Loss of ${curve.title}: ${curve.said}`;
    const svg = plot(label, curve.points, [380, 170], { title: "optimiser step", to: curve.steps }, (x, y) => {
      const line = curve.points.map(([step, loss]) => [x(step), y(loss)]);
      const [lastX, lastY] = line[line.length - 1];
      return [drawn("path", { class: "line", d: path(line) }), drawn("circle", { class: "dot", cx: lastX, cy: lastY, r: 3.5 })];
    });
    const figure = make("figure", curve.running ? {} : { class: "ended" });
    figure.append(make("figcaption", {}, `${curve.title}${curve.running ? " (running)" : ""}`), svg, make("p", {}, curve.said));
    return figure;
  }));
}

// ---- what comes
const seen = {
  now(now) {
    say("headline", now.headline);
    at("state").dataset.state = now.state;
    facts("facts", now.facts);
    if (changed("bars", now.bars)) {
      at("bars").replaceChildren(...now.bars.map((bar) => {
        const line = make("div", { class: "bar" });
        line.append(make("b", {}, bar.what));
        if (bar.total) line.append(make("progress", { max: bar.total, value: bar.done, "aria-label": bar.what }));
        line.append(make("span", {}, bar.said));
        return line;
      }));
    }
    table("workers", now.workers);
    losses(now.curves);
    const done = now.facts.find(([name]) => name === "Evaluations");
    document.title = `${done ? `${done[1]} · ` : ""}${document.querySelector("h1").textContent}`;
  },
  results(results) {
    at("best").hidden = !results.best.length && !results.verdict;
    facts("best-facts", results.best);
    say("verdict", results.verdict);
    scores(results.points, results.told);
    say("trials-title", results.trials.title);
    table("trials", results.trials, ["edit", "recipe"]);
    table("tests", results.tests);
    at("notes").hidden = !results.notes.length;
    if (changed("notes", results.notes)) at("notes-list").replaceChildren(...results.notes.map((note) => make("li", { dir: "auto" }, note)));
  },
};
const problem = (text) => { say("problem", text); at("problem").hidden = !text; };

const LOST = "The connection to `autoselection watch` is lost; what stands here is what was seen last. It is tried again.";

// A browser tries again by itself where a server is gone, and never where it refused: then we ask why, and try again.
function follow() {
  const source = new EventSource("events");
  for (const [kind, show] of Object.entries(seen)) {
    source.addEventListener(kind, (event) => { problem(""); show(JSON.parse(event.data)); root.dataset[kind] = "yes"; });
  }
  source.addEventListener("problem", (event) => problem(JSON.parse(event.data)));
  source.addEventListener("open", () => problem(""));
  source.addEventListener("error", async () => {
    if (source.readyState !== EventSource.CLOSED) return problem(LOST);
    problem(await refusal());
    setTimeout(follow, 5000);
  });
}

async function refusal() {
  const stop = new AbortController();
  try {
    const answer = await fetch("events", { signal: stop.signal });
    return answer.ok ? LOST : `${(await answer.text()).trim()} What stands here is what was seen last; it is tried again.`;
  } catch {
    return LOST;
  } finally {
    stop.abort();
  }
}
follow();

// ---- light and dark
const dark = matchMedia("(prefers-color-scheme: dark)");
const button = document.querySelector(".theme");
const other = () => ((root.dataset.theme || (dark.matches ? "dark" : "light")) === "dark" ? "light" : "dark");
const paint = () => {
  button.textContent = other() === "dark" ? "Dark" : "Light";
  button.setAttribute("aria-label", `Show the page ${other()}`);
};
button.addEventListener("click", () => { root.dataset.theme = other(); paint(); });
dark.addEventListener("change", paint);
paint();
