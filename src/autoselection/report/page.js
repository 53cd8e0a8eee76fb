"use strict";
// What makes a page live: plots, sorting and filters of tables, search among rows, light and dark. Without it the page is whole
// as text: every plot has its numbers as a table.
const root = document.documentElement;
const dark = matchMedia("(prefers-color-scheme: dark)");
const make = (tag, attributes = {}, text = "") => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
};

// ---- plots
const plots = new Map(); // element -> {data, layout}
let drawing = null; // Plotly, once it is unpacked

function template(printed) {
  const style = getComputedStyle(root);
  const colour = (name, paper) => (printed ? paper : style.getPropertyValue(name).trim());
  const ink = colour("--ink", "#000000"), grid = colour("--grid", "#dddddd"), soft = colour("--soft", "#444444");
  const axis = { gridcolor: grid, zerolinecolor: soft, linecolor: soft, tickcolor: soft, automargin: true };
  return {
    layout: {
      font: { color: ink, family: "system-ui, sans-serif", size: 13 },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      xaxis: axis, yaxis: axis, margin: { l: 60, r: 20, t: 20, b: 50 },
      coloraxis: { colorbar: { outlinewidth: 0 } },
      legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, bgcolor: "rgba(0,0,0,0)" },
      hoverlabel: { bgcolor: colour("--raised", "#ffffff"), bordercolor: soft, font: { color: ink }, namelength: -1, align: "left" },
    },
  };
}

async function unpacked() {
  const packed = document.getElementById("plotly");
  if (!packed) return null;
  const bytes = Uint8Array.from(atob(packed.textContent), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
  return window.Plotly;
}

// Names that would take the room of what is shown are shortened in their middle; hovering and the numbers have all of them.
const characters = (text) => String(text).match(/&#?\w+;|./gsu) ?? [];

function shortened(text, most) {
  const all = characters(text), end = Math.floor((most - 1) * 0.4);
  return all.length <= most ? text : [...all.slice(0, most - 1 - end), "…", ...all.slice(all.length - end)].join("");
}

function wrapped(text, most) {
  const lines = [""];
  for (const word of text.split(" ")) {
    const line = lines.at(-1);
    if (line && characters(line).length + characters(word).length >= most) lines.push(word);
    else lines.splice(-1, 1, line ? `${line} ${word}` : word);
  }
  return lines.join("<br>");
}

function fitted({ data, layout }, width) {
  const room = Math.max(14, Math.floor(width / 20)), found = { ...layout };
  for (const [axis, across] of [["xaxis", width / 12], ["yaxis", 40]]) {
    const given = layout[axis];
    if (!given) continue;
    found[axis] = { ...given };
    if (given.title?.text) found[axis].title = { ...given.title, text: wrapped(given.title.text, Math.max(16, across)) };
    const names = given.categoryarray ?? [...new Set(data.flatMap((trace) => trace[axis[0]] ?? []))];
    if (given.type === "category" && !given.tickvals && names.some((name) => characters(name).length > room)) {
      Object.assign(found[axis], { tickmode: "array", tickvals: names, ticktext: names.map((name) => shortened(name, room)) });
    }
  }
  const narrow = (trace) => ({ ...trace.node, label: trace.node.label.map((name) => shortened(name, Math.min(room, 32))) });
  return { data: data.map((trace) => (trace.type === "sankey" ? { ...trace, node: narrow(trace) } : trace)), layout: found };
}

const OPTIONS = { displayModeBar: false, responsive: true };

async function draw(element) {
  const figure = plots.get(element);
  if (!drawing || !figure || element.dataset.drawn || element.closest("[hidden]")) return;
  element.dataset.drawn = "begun";
  try {
    const { data, layout } = fitted(figure, element.clientWidth);
    await drawing.newPlot(element, data, { ...layout, template: template(false) }, OPTIONS);
    element.dataset.drawn = "yes";
  } catch (error) {
    element.dataset.drawn = "failed";
    element.append(make("p", { class: "problem" }, "This plot could not be drawn; its numbers are below."));
    console.error(error);
  }
}

function repaint(printed) {
  for (const [element, figure] of plots) {
    if (element.dataset.drawn !== "yes") continue;
    const sizes = printed ? { width: 680, autosize: false } : { width: null, autosize: true };
    const { data, layout } = fitted(figure, printed ? 680 : element.clientWidth);
    const changed = { template: template(printed), ...sizes };
    if (data.some((trace) => trace.type === "sankey")) {
      // Changed, a flow moves to its new place slowly, and paper shows it half way; drawn anew, it is there at once.
      drawing.purge(element);
      drawing.newPlot(element, data, { ...layout, ...changed, width: printed ? 680 : undefined }, OPTIONS);
      continue;
    }
    for (const axis of ["xaxis", "yaxis"]) {
      const { tickmode = null, tickvals = null, ticktext = null, title } = layout[axis] ?? {};
      if (title?.text) changed[`${axis}.title.text`] = title.text;
      if (tickvals !== figure.layout[axis]?.tickvals) {
        Object.assign(changed, { [`${axis}.tickmode`]: tickmode, [`${axis}.tickvals`]: tickvals, [`${axis}.ticktext`]: ticktext });
      }
    }
    drawing.relayout(element, changed);
  }
}

async function drawAll() {
  for (const data of document.querySelectorAll("script[data-plot]")) {
    plots.set(document.getElementById(data.dataset.plot), JSON.parse(data.textContent));
  }
  try {
    drawing = plots.size ? await unpacked() : null;
  } catch (error) {
    for (const element of plots.keys()) {
      element.style.minHeight = 0;
      element.append(make("p", { class: "problem" }, "This browser cannot unpack the plots; their numbers are below."));
    }
    console.error(error);
  }
  for (const element of plots.keys()) {
    await draw(element);
    await new Promise((done) => setTimeout(done)); // lets the reader scroll meanwhile
  }
  root.dataset.drawn = "yes";
}

for (const select of document.querySelectorAll(".choices > select")) {
  const show = () => {
    for (const choice of select.parentElement.querySelectorAll(":scope > .choice")) {
      choice.hidden = choice.id !== select.value;
      if (!choice.hidden) choice.querySelectorAll(".plot").forEach(draw);
    }
  };
  select.addEventListener("change", show);
  show();
}

// ---- light and dark
const themed = () => root.dataset.theme || (dark.matches ? "dark" : "light");
const other = () => (themed() === "dark" ? "light" : "dark");
const button = make("button", { class: "theme", type: "button" });
const paint = () => {
  button.textContent = other() === "dark" ? "Dark" : "Light";
  button.setAttribute("aria-label", `Show the page ${other()}`);
  if (drawing) repaint(false);
};
button.addEventListener("click", () => { root.dataset.theme = other(); paint(); });
dark.addEventListener("change", paint);
document.querySelector("header").prepend(button);
paint();
addEventListener("beforeprint", () => drawing && repaint(true));
addEventListener("afterprint", () => drawing && repaint(false));

// ---- tables
const number = (text) => {
  const found = text.replaceAll(",", "").replace("−", "-").match(/^(?:p )?(?:[<=] )?([+-]?\d+(\.\d+)?(e[+-]?\d+)?)/i);
  return found ? Number(found[1]) : NaN;
};
// Numbers by their size, then words ("failed", "pending"), then what is empty, in both directions.
const rank = (text) => (text === "" ? 2 : Number.isNaN(number(text)) ? 1 : 0);
const order = (a, b, up) =>
  rank(a) - rank(b) ||
  (up ? 1 : -1) * ((rank(a) ? 0 : number(a) - number(b)) || a.localeCompare(b, undefined, { numeric: true }));

function sortable(table) {
  const body = table.tBodies[0];
  [...table.tHead.rows[0].cells].forEach((heading, place) => {
    if (!heading.textContent) return;
    const sorting = make("button", { type: "button" }, heading.textContent);
    heading.replaceChildren(sorting);
    sorting.addEventListener("click", () => {
      const up = heading.getAttribute("aria-sort") !== "ascending";
      for (const cell of heading.parentElement.cells) cell.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...body.rows].map((row) => [row.cells[place]?.textContent ?? "", row]);
      rows.sort(([a], [b]) => order(a, b, up)).forEach(([, row]) => body.append(row));
    });
  });
}

const counted = (shown, all) => (shown === all ? `${all} shown` : `${shown} of ${all} shown`);

function searchable(entries, label, before, selects = []) {
  const search = make("input", { type: "search", placeholder: "Search", "aria-label": label });
  const output = make("output", { "aria-live": "polite" });
  const tools = make("div", { class: "tools" });
  const texts = entries.map((entry) => entry.textContent.toLowerCase());
  const apply = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    entries.forEach((entry, place) => {
      entry.hidden = !(
        words.every((word) => texts[place].includes(word)) &&
        selects.every(({ element, key }) => !element.value || entry.dataset[key] === element.value.slice(1))
      );
      shown += !entry.hidden;
    });
    output.textContent = counted(shown, entries.length);
  };
  search.addEventListener("input", apply);
  tools.append(search);
  for (const { element } of selects) {
    element.addEventListener("change", apply);
    tools.append(element);
  }
  tools.append(output);
  before.before(tools);
  apply();
}

for (const table of document.querySelectorAll("table")) {
  if (table.tHead && table.tBodies[0].rows.length > 1) sortable(table);
  const box = table.parentElement;
  if (table.tBodies[0].rows.length > 9) searchable([...table.tBodies[0].rows], `Search in ${box.getAttribute("aria-label")}`, box);
}

// ---- rows
for (const list of document.querySelectorAll("ol.rows")) {
  const entries = [...list.children];
  const title = document.getElementById(list.getAttribute("aria-labelledby")).textContent;
  const selects = ["mark", "source"].map((key) => {
    const element = make("select", { "aria-label": `Rows by ${key}: ${title}` });
    element.append(make("option", { value: "" }, key === "mark" ? "kept and dropped" : "all sources"));
    const values = [...new Set(entries.map((entry) => entry.dataset[key]))].sort();
    for (const value of values) element.append(make("option", { value: `=${value}` }, value));
    return { element, key, values };
  });
  searchable(entries, `Search in ${title}`, list, selects.filter(({ values }) => values.length > 1));
}

drawAll();
