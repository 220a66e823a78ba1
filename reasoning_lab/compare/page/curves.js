// Learning curves: which metric, coloured by what, with or without single runs and raw values.
function drawCurves() {
  const { metrics, settings, axes, palette, scale } = page.curves;
  const controls = Object.fromEntries(
    ["metric", "colour", "runs", "raw", "bands"].map((id) => [id, document.getElementById(id)]),
  );
  const legend = document.getElementById("legend");
  const chart = document.getElementById("curves-chart");
  let hidden = new Set();

  controls.metric.append(...metrics.map((metric, i) => option(i, metric.name)));
  controls.colour.append(
    option("", "setting"), ...axes.map((axis) => option(axis.name, axis.name)),
  );
  controls.colour.value = page.curves.colour_by;
  controls.raw.checked = page.curves.runs.length <= 8;
  controls.bands.checked = settings.length <= 12;

  // A colour between those of the scale; at: 0 to 1.
  function onScale(at) {
    const place = at * (scale.length - 1);
    const from = Math.min(Math.floor(place), scale.length - 2);
    const parts = [from, from + 1].map((i) => scale[i].match(/\w\w/g).map((x) => parseInt(x, 16)));
    const mixed = parts[0].map((x, i) => Math.round(x + (parts[1][i] - x) * (place - from)));
    return `rgb(${mixed.join(",")})`;
  }

  function faded(colour) {
    return colour.startsWith("rgb(") ? `rgba(${colour.slice(4, -1)},0.15)` : `${colour}26`;
  }

  // Groups of settings that share a colour: [{ name, colour, members }].
  function groups() {
    const axis = axes.find((one) => one.name === controls.colour.value);
    if (axis) {
      const isOrdered = axis.is_numeric || axis.values.length > palette.length;
      return axis.values.map((value, i) => ({
        name: `${axis.short} ${value}`,
        colour: isOrdered ? onScale(i / Math.max(1, axis.values.length - 1)) : palette[i],
        members: settings.flatMap((s, at) => (s.values[axis.name] === value ? [at] : [])),
      })).filter((group) => group.members.length);
    }
    const own = settings.length <= palette.length ? settings.length : palette.length - 1;
    const made = settings.slice(0, own).map((setting, at) => ({
      name: setting.label, colour: palette[at], members: [at],
    }));
    if (own < settings.length) {
      const members = settings.map((_, at) => at).slice(own);
      made.push({ name: `the other ${members.length}`, colour: palette.at(-1), members });
    }
    return made;
  }

  function line(x, y, colour, name, more) {
    return {
      type: "scatter", mode: y.filter((v) => v !== null).length < 12 ? "lines+markers" : "lines",
      x, y, text: forPlotly(name), connectgaps: true, line: { color: colour, width: 2 },
      hovertemplate: "%{text}<br>step %{x}: %{y:.4~g}<extra></extra>", ...more,
    };
  }

  function band(metric, at, colour) {
    const edge = { hoverinfo: "skip", hovertemplate: null, mode: "lines", line: { width: 0 } };
    const area = { ...edge, fill: "tonexty", fillcolor: faded(colour) };
    return [
      line(metric.steps, metric.low[at], colour, "", edge),
      line(metric.steps, metric.high[at], colour, "", area),
    ];
  }

  function tracesOf(metric, at, colour) {
    const { label, runs } = settings[at];
    const has = runs.filter((run) => metric.smooth[run].length);
    const faint = (rows, width, opacity) => has.map((run) => line(
      metric.steps, rows[run], colour, page.curves.runs[run],
      { mode: "lines", opacity, line: { color: colour, width } },
    ));
    const traces = [];
    if (controls.raw.checked) traces.push(...faint(metric.raw, 1, 0.28));
    if (controls.runs.checked) traces.push(...faint(metric.smooth, 1, 0.7));
    const thick = { line: { color: colour, width: settings.length > 12 ? 1.4 : 2.2 } };
    if (metric.mean[at].length) {
      if (controls.bands.checked) traces.push(...band(metric, at, colour));
      const name = `${label}, mean of ${has.length}`;
      traces.push(line(metric.steps, metric.mean[at], colour, name, thick));
    } else {
      traces.push(...has.map((run) => line(
        metric.steps, metric.smooth[run], colour, label, thick,
      )));
    }
    return traces;
  }

  function draw() {
    const metric = metrics[controls.metric.value];
    const all = groups();
    const data = all.filter((_, i) => !hidden.has(i)).reverse().flatMap((group) =>
      [...group.members].reverse().flatMap((at) => tracesOf(metric, at, group.colour)));
    plot(chart, {
      data: data.length ? data : [{ type: "scatter", x: [], y: [] }],
      layout: {
        height: isNarrow.matches ? 340 : 460,
        xaxis: { title: { text: "step" }, rangemode: "tozero" },
        yaxis: { title: { text: metric.name }, zeroline: false },
      },
    });
    legend.replaceChildren(...all.map((group, i) => {
      const dot = element("i");
      dot.style.background = group.colour;
      return element("button", {
        kind: hidden.has(i) ? "chip off" : "chip", title: "show or hide",
        on: () => { hidden.has(i) ? hidden.delete(i) : hidden.add(i); draw(); },
      }, [dot, element("span", { text: group.name })]);
    }));
    document.getElementById("memory").textContent = metric.memory > 1
      ? `Smoothed by a debiased exponential moving average that remembers ${metric.memory} points.`
      : "Few points, so nothing is smoothed.";
  }

  for (const control of Object.values(controls)) {
    control.addEventListener("change", () => {
      if (control === controls.colour) hidden = new Set();
      draw();
    });
  }
  return draw;
}

if (page.curves) redrawn.push(drawCurves());
