// What all parts of the page share: its data, colours, charts, sorting, copying.
const page = JSON.parse(document.getElementById("data").textContent);
const isDark = matchMedia("(prefers-color-scheme: dark)");
const isNarrow = matchMedia("(max-width: 640px)");
const redrawn = []; // functions that draw once more when the screen or its colours change

function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// Plotly reads a little HTML in texts; texts of runs must not hold any.
function forPlotly(text) {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

// An element whose text is never read as HTML.
function element(tag, { text = "", kind = "", title = "", on = null } = {}, children = []) {
  const made = document.createElement(tag);
  made.textContent = text;
  if (kind) made.className = kind;
  if (title) made.title = title;
  if (on) made.addEventListener("click", on);
  made.append(...children);
  return made;
}

function option(value, text) {
  const made = element("option", { text });
  made.value = value;
  return made;
}

function themed(axis) {
  return {
    gridcolor: css("--line"), linecolor: css("--line"), zerolinecolor: css("--line"),
    tickfont: { color: css("--faint"), size: 12 }, automargin: true, ...axis,
    title: { font: { color: css("--faint"), size: 13 }, standoff: 12, ...axis?.title },
  };
}

// Labels of rows above the rows, where there is no room beside them.
function labelsAbove(layout) {
  const { tickvals, ticktext } = layout.yaxis;
  layout.height = 90 + 46 * tickvals.length;
  layout.yaxis = { ...layout.yaxis, showticklabels: false };
  layout.annotations = tickvals.map((y, row) => ({
    x: 0, xref: "paper", xanchor: "left", y, yshift: 15, text: ticktext[row], showarrow: false,
    font: { size: 11, color: css("--faint") },
  }));
}

function plot(target, figure) {
  const layout = {
    height: 360, showlegend: false, hovermode: "closest",
    font: { family: "system-ui, sans-serif", size: 13, color: css("--ink") },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    hoverlabel: {
      bgcolor: css("--raised"), bordercolor: css("--line"), align: "left",
      font: { color: css("--ink") },
    },
    dragmode: isNarrow.matches ? false : "zoom",
    modebar: { bgcolor: "rgba(0,0,0,0)", color: css("--faint"), activecolor: css("--ink") },
    margin: { l: 12, r: 16, t: 28, b: 44 },
    ...structuredClone(figure.layout),
  };
  if (figure.data[0]?.type !== "parcoords") {
    layout.xaxis = themed(layout.xaxis);
    layout.yaxis = themed(layout.yaxis);
    if (figure.rows && isNarrow.matches) labelsAbove(layout);
  }
  // Plotly adds to what it is given, so it gets a copy.
  Plotly.react(target, structuredClone(figure.data), layout, {
    displaylogo: false, responsive: true, displayModeBar: isNarrow.matches ? false : "hover",
    modeBarButtons: [["toImage"]], toImageButtonOptions: { format: "svg" },
  });
}

function drawFigures() {
  for (const target of document.querySelectorAll("[data-figure]")) {
    plot(target, page.figures[target.dataset.figure]);
  }
}

function compareCells(one, other) {
  if (one === "" || other === "") return (one === "") - (other === "");
  const [a, b] = [Number(one), Number(other)];
  return Number.isNaN(a) || Number.isNaN(b) ? one.localeCompare(other) : a - b;
}

function sortBy(head) {
  const table = head.closest("table");
  const ascends = head.getAttribute("aria-sort") !== "ascending";
  for (const other of table.querySelectorAll("th")) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", ascends ? "ascending" : "descending");
  const value = (row) => row.cells[head.cellIndex].dataset.value ?? "";
  const rows = [...table.tBodies[0].rows].sort((one, other) => {
    const order = compareCells(value(one), value(other));
    const isEmpty = value(one) === "" || value(other) === "";
    return ascends || isEmpty ? order : -order;
  });
  table.tBodies[0].append(...rows);
}

for (const button of document.querySelectorAll(".sortable th button")) {
  button.addEventListener("click", () => sortBy(button.parentElement));
}

document.getElementById("copy")?.addEventListener("click", async (event) => {
  const command = document.getElementById("command");
  try {
    await navigator.clipboard.writeText(command.textContent);
    event.target.textContent = "Copied";
  } catch { // no clipboard on pages opened from disk in some browsers
    getSelection().selectAllChildren(command);
    event.target.textContent = "Selected";
  }
  setTimeout(() => { event.target.textContent = "Copy"; }, 1500);
});

redrawn.push(drawFigures);
