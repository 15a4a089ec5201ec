// Draws the charts of a report from the JSON in #report-data (written by chart_data.cc).
//
// Each element of the class "chart" is drawn by the builder that its data-chart names, in the colours
// of the style sheet, and says how it went in data-state: "drawn", "empty" or "failed".
'use strict';
(() => {
  const data = JSON.parse(document.getElementById('report-data').textContent);
  const root = document.documentElement;
  const page = {axis: 'step', smoothing: 0.5, logLoss: false};
  const prefersDark = window.matchMedia('(prefers-color-scheme: dark)');
  const isNarrow = () => window.innerWidth < 760;
  const isTouch = () => window.matchMedia('(pointer: coarse)').matches;

  const color = (name) => getComputedStyle(root).getPropertyValue('--' + name).trim();
  const seriesColor = (index) => color('series-' + (index % 8 + 1));
  const baselineDashes = ['dash', 'dot', 'dashdot', 'longdash'];

  // Plotly reads a little HTML in texts; names are shown as they are.
  const plain = (text) => String(text).replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
  const shortened = (text, length) => (text.length > length ? text.slice(0, length - 1) + '…' : text);
  const percent = (values) => values.map((value) => (value === null ? null : 100 * value));

  // --- The horizontal axis of training charts -----------------------------------------------------

  const hasClock = (axis) => data.runs.some((run) => run.clock[axis].some((value) => value !== null));
  const longestMinutes = Math.max(0, ...data.runs.flatMap((run) => run.clock.minutes.filter((m) => m !== null)));
  const timeUnit = longestMinutes > 180 ? {name: 'hours', minutes: 60} : {name: 'minutes', minutes: 1};

  // Turns rising steps into what the axis shows, by interpolation between the clock's points.
  function onAxis(steps, clock) {
    if (page.axis === 'step') return steps;
    const scale = page.axis === 'minutes' ? 1 / timeUnit.minutes : 1;
    const values = clock[page.axis];
    let i = 0;
    return steps.map((step) => {
      while (i + 2 < clock.step.length && clock.step[i + 1] < step) ++i;
      const last = Math.min(i + 1, clock.step.length - 1);
      if (values[i] === null || values[last] === null || values[i] === undefined) return null;
      const span = clock.step[last] - clock.step[i];
      const share = span > 0 ? (step - clock.step[i]) / span : 0;
      return scale * (values[i] + share * (values[last] - values[i]));
    });
  }

  const axisTitle = () => ({step: 'step', epoch: 'epoch', minutes: timeUnit.name + ' of training'}[page.axis]);

  // At each point the straight line through its neighbours, weighted by a bell curve: unlike a
  // running average it neither lags behind a falling loss nor bends at the ends.
  function smoothed(values, strength) {
    const deviation = Math.max(0.5, strength * strength * 0.08 * values.length);
    const reach = Math.ceil(3 * deviation);
    const weights = Array.from({length: reach + 1}, (_, d) => Math.exp(-0.5 * (d / deviation) ** 2));
    return values.map((_, i) => {
      let [w0, w1, w2, y0, y1] = [0, 0, 0, 0, 0];
      for (let k = Math.max(0, i - reach); k <= Math.min(values.length - 1, i + reach); ++k) {
        const d = k - i;
        const weight = weights[Math.abs(d)];
        w0 += weight;
        w1 += weight * d;
        w2 += weight * d * d;
        y0 += weight * values[k];
        y1 += weight * d * values[k];
      }
      const determinant = w0 * w2 - w1 * w1;
      return determinant > 1e-9 * w0 * w2 ? (w2 * y0 - w1 * y1) / determinant : y0 / w0;
    });
  }

  // --- Traces ---------------------------------------------------------------------------------

  function line(name, x, y, style) {
    return Object.assign({
      type: 'scatter', mode: x.length < 3 ? 'lines+markers' : 'lines', name: plain(name), x, y,
    }, style);
  }

  // Lines of one column of the log, one for each run: the points faint, their average over them.
  function trainingTraces(column, {scale = 1, smooth = true, dash = 'solid', label = '', format = '.4~g'} = {}) {
    const traces = [];
    data.runs.forEach((run, index) => {
      const series = run.series[column];
      if (!series) return;
      const stroke = seriesColor(index);
      const name = label ? (data.runs.length > 1 ? run.name + ' · ' + label : label) : run.name;
      const scaled = (values) => values.map((value) => scale * value);
      const isSmoothed = smooth && page.smoothing > 0 && series.x.length > 8;
      traces.push(line(name, onAxis(series.x, run.clock), scaled(series.y), {
        line: {color: stroke, width: isSmoothed ? 1 : 2, dash}, opacity: isSmoothed ? 0.38 : 1,
        legendgroup: name, showlegend: !isSmoothed, hovertemplate: '%{y:' + format + '}',
        hoverinfo: isSmoothed ? 'skip' : undefined,
      }));
      if (isSmoothed) {
        delete traces[traces.length - 1].hovertemplate;
        const base = series.mean || series;
        traces.push(line(name, onAxis(base.x, run.clock), smoothed(scaled(base.y), page.smoothing), {
          line: {color: stroke, width: 2.4, dash}, legendgroup: name, hovertemplate: '%{y:' + format + '}',
        }));
      }
    });
    return traces;
  }

  function trainingChart(column, yaxis, options) {
    return {traces: trainingTraces(column, options), layout: {xaxis: {title: {text: axisTitle()}}, yaxis}};
  }

  // Bytes in the unit that gives numbers one can read.
  function memoryUnit() {
    const most = Math.max(...data.runs.flatMap((run) =>
      ['peak_bytes', 'allocated_bytes'].flatMap((key) => (run.series[key] ? run.series[key].y : [0]))));
    return unitFor(most);
  }

  const unitFor = (most) => (most >= 2 ** 30 ? {name: 'GiB', bytes: 2 ** 30} : {name: 'MiB', bytes: 2 ** 20});

  // A baseline has the same dash in all charts of its data set.
  function baselineDash(group, name) {
    const names = group.baselines.map((baseline) => baseline.name);
    group.probes.forEach((probe) => probe.few_shot.forEach((curve) => {
      if (curve.name && !names.includes(curve.name)) names.push(curve.name);
    }));
    return baselineDashes[names.indexOf(name) % baselineDashes.length];
  }

  function probeStyle(group, index) {
    const probe = group.probes[index];
    const isAlone = data.runs.length === 1;
    return seriesColor(isAlone ? index : probe.run);
  }

  // --- Sweeps: strategies over numbers of ranks -----------------------------------------------------

  const sweepSymbol = (index) => ['circle', 'diamond', 'square'][Math.floor(index / 8) % 3];

  // [{ranks: 1, rate: 61, ...}] of a case, whose columns are arrays.
  const sweepPoints = (entry) => entry.ranks.map((_, i) =>
    Object.fromEntries(Object.entries(entry).filter(([key]) => key !== 'name').map(([key, values]) => [key, values[i]])));

  // From the least to the most images per second over repeats.
  function rateRange(points) {
    const reach = (ends, sign) =>
      points.map((point) => (point[ends] === null ? 0 : Math.max(0, sign * (point[ends] - point.rate))));
    return {type: 'data', symmetric: false, array: reach('maximum', 1), arrayminus: reach('minimum', -1), thickness: 1.2, width: 4};
  }

  // Ticks of a logarithmic axis with whole numbers as labels; plotly writes 2 and 5 for 200 and 500.
  function decadeTicks(values) {
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const steps = high / low > 2000 ? [1] : [1, 2, 5];
    const ticks = [];
    for (let power = Math.floor(Math.log10(low)) - 1; 10 ** power <= high; ++power) {
      for (const step of steps) {
        const tick = Number((step + 'e' + power));
        if (tick > low / 2 && tick < high * 2) ticks.push(tick);
      }
    }
    return {tickvals: ticks, ticktext: ticks.map((tick) => tick.toLocaleString('en-US'))};
  }

  // For each number of ranks a bar of each case, with what `styleOf` makes of its points.
  function sweepBars(sweep, title, valueOf, styleOf) {
    const traces = [];
    sweep.cases.forEach((entry, c) => {
      const points = sweepPoints(entry).filter((point) => valueOf(point) !== null);
      if (!points.length) return;
      traces.push(merged({
        type: 'bar', name: plain(entry.name), offsetgroup: String(c), legendgroup: String(c),
        x: points.map((point) => point.ranks), y: points.map(valueOf), marker: {color: seriesColor(c)},
      }, styleOf(points)));
    });
    return {traces, layout: {
      barmode: 'group', bargap: new Set(traces.flatMap((trace) => trace.x)).size === 1 ? 0.6 : 0.25, showlegend: true,
      xaxis: {title: {text: 'ranks'}, type: 'category', categoryorder: 'array', categoryarray: sweep.ranks, dtick: 1},
      yaxis: {title: {text: title}, rangemode: 'tozero'},
    }};
  }

  // --- Maps of embeddings: chips where they lie, by cluster ---------------------------------------

  const numHues = 12;
  const clusterSymbols = ['circle', 'diamond', 'square', 'triangle-up'];
  const clusterColor = (cluster) => (cluster === null ? color('series-1') : color('cluster-' + (cluster % numHues + 1)));
  const clusterSymbol = (cluster) => clusterSymbols[Math.floor((cluster || 0) / numHues) % clusterSymbols.length];
  const clusterName = (cluster) => (cluster === null ? 'chip' : 'cluster ' + cluster);

  const channels = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  const translucent = (hex, share) => 'rgba(' + channels(hex).join(',') + ',' + share + ')';
  // Black or white, whichever reads better on a colour.
  function inkOn(hex) {
    const [red, green, blue] = channels(hex).map((value) => (value / 255) ** 2.2);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18 ? '#000000' : '#ffffff';
  }

  // [[cluster, indices of its chips]] by rising cluster.
  function byCluster(chips) {
    const found = new Map();
    chips.cluster.forEach((cluster, i) => {
      if (!found.has(cluster)) found.set(cluster, []);
      found.get(cluster).push(i);
    });
    return [...found].sort((a, b) => a[0] - b[0]);
  }

  // What the pointer tells of chips.
  function chipHover(chips, cluster, indices) {
    const degrees = (value, positive, negative) => Math.abs(value).toFixed(2) + '° ' + (value < 0 ? negative : positive);
    return {
      name: clusterName(cluster),
      customdata: indices.map((i) => [plain(chips.name[i]), chips.longitude[i] === null || chips.latitude[i] === null
        ? 'position not known' : degrees(chips.longitude[i], 'E', 'W') + ', ' + degrees(chips.latitude[i], 'N', 'S')]),
      hovertemplate: '%{customdata[0]}<br>%{customdata[1]}<br><b>' + clusterName(cluster) + '</b><extra></extra>',
    };
  }

  const builders = {
    loss: () => {
      const chart = trainingChart('loss', {title: {text: 'loss'}, type: page.logLoss ? 'log' : 'linear'});
      chart.traces.push(...trainingTraces('test_loss', {smooth: false, dash: 'dash', label: 'test'}));
      return chart;
    },
    lr: () => trainingChart('lr', {title: {text: 'learning rate'}, rangemode: 'tozero', exponentformat: 'e'},
      {smooth: false, format: '.3~e'}),
    throughput: () => trainingChart('images_per_second', {title: {text: 'images / s'}, rangemode: 'tozero'},
      {format: ',.4~g'}),
    wait: () => trainingChart('data_wait', {title: {text: '% of the step'}, rangemode: 'tozero'}, {scale: 100, format: '.2f'}),
    step_time: () => trainingChart('step_seconds', {title: {text: 'seconds'}, rangemode: 'tozero'}),
    mfu: () => trainingChart('mfu', {title: {text: '% of peak'}, rangemode: 'tozero'}, {scale: 100, format: '.1f'}),
    power: () => trainingChart('watts', {title: {text: 'W'}, rangemode: 'tozero'}, {format: '.4~g'}),
    utilisation: () => trainingChart('utilisation', {title: {text: '% of the time'}, rangemode: 'tozero'},
      {scale: 100, format: '.1f'}),
    grad_norm: () => trainingChart('grad_norm', {title: {text: 'gradient norm'}, rangemode: 'tozero'}),
    memory: () => {
      const unit = memoryUnit();
      const options = {scale: 1 / unit.bytes, smooth: false, format: '.3~f'};
      return {
        traces: trainingTraces('peak_bytes', {...options, label: 'peak'})
          .concat(trainingTraces('allocated_bytes', {...options, label: 'allocated', dash: 'dot'})),
        layout: {xaxis: {title: {text: axisTitle()}}, yaxis: {title: {text: unit.name}, rangemode: 'tozero'}, showlegend: true},
      };
    },

    probe_curve: ({group: groupIndex}) => {
      const group = data.groups[groupIndex];
      const traces = [];
      let first = Infinity;
      let last = -Infinity;
      group.probes.forEach((probe, index) => {
        if (!probe.top1.some((value) => value !== null)) return;
        first = Math.min(first, ...probe.epoch);
        last = Math.max(last, ...probe.epoch);
        const stroke = probeStyle(group, index);
        traces.push(line(probe.label, probe.epoch, percent(probe.top1), {
          line: {color: stroke, width: 2.6}, hovertemplate: '%{y:.1f} %',
        }));
        const best = probe.top1.indexOf(Math.max(...probe.top1));
        traces.push({
          type: 'scatter', mode: 'markers', x: [probe.epoch[best]], y: [100 * probe.top1[best]], name: 'best epoch',
          marker: {color: color('card'), size: 9, line: {color: stroke, width: 2.4}}, showlegend: false, hoverinfo: 'skip',
        });
      });
      if (!traces.length) return {traces};
      group.baselines.forEach((baseline) => {
        if (baseline.top1 === null) return;
        traces.push(line(baseline.name, [first, last], [100 * baseline.top1, 100 * baseline.top1], {
          mode: 'lines', line: {color: color('muted'), width: 1.8, dash: baselineDash(group, baseline.name)}, hovertemplate: '%{y:.1f} %',
        }));
      });
      return {traces, layout: {
        xaxis: {title: {text: 'epoch of the probe'}}, yaxis: {title: {text: 'top-1, %'}}, showlegend: true,
      }};
    },

    probe_loss: ({group: groupIndex}) => {
      const group = data.groups[groupIndex];
      const traces = [];
      group.probes.forEach((probe, index) => {
        for (const [key, dash, what] of [['train_loss', 'solid', 'training'], ['test_loss', 'dot', 'test']]) {
          if (!probe[key].some((value) => value !== null)) continue;
          const name = (group.probes.length > 1 ? probe.label + ' · ' : '') + what;
          traces.push(line(name, probe.epoch, probe[key], {
            line: {color: probeStyle(group, index), width: 2.2, dash}, hovertemplate: '%{y:.3f}',
          }));
        }
      });
      return {traces, layout: {
        xaxis: {title: {text: 'epoch of the probe'}}, yaxis: {title: {text: 'cross-entropy'}}, showlegend: true,
      }};
    },

    few_shot: ({group: groupIndex}) => {
      const group = data.groups[groupIndex];
      const traces = [];
      const shots = new Set();
      group.probes.forEach((probe, index) => probe.few_shot.forEach((curve) => {
        const isOwn = !curve.name;
        curve.shots.forEach((value) => shots.add(value));
        const run = data.runs.length > 1 ? data.runs[probe.run].name : '';
        const name = isOwn ? run || 'pretrained encoder' : (run && run + ' · ') + curve.name;
        const spread = (ends, sign) => curve.top1.map((value, i) => (ends[i] === null ? 0 : sign * 100 * (ends[i] - value)));
        traces.push({
          type: 'scatter', mode: 'lines+markers', name: plain(name), x: curve.shots, y: percent(curve.top1),
          line: {
            color: isOwn ? probeStyle(group, index) : color('muted'), width: isOwn ? 2.6 : 1.8,
            dash: isOwn ? 'solid' : baselineDash(group, curve.name),
          },
          marker: {size: 7},
          error_y: {type: 'data', symmetric: false, array: spread(curve.high, 1), arrayminus: spread(curve.low, -1), thickness: 1.2, width: 4},
          hovertemplate: '%{y:.1f} %',
        });
      }));
      const ticks = [...shots].sort((a, b) => a - b);
      return {traces, layout: {
        xaxis: {title: {text: 'labelled images for each class'}, type: 'log', tickvals: ticks, ticktext: ticks.map(String)},
        yaxis: {title: {text: 'top-1, %'}}, showlegend: true,
      }};
    },

    // Images per second over ranks; bars where there is one number of ranks only.
    sweep_rate: ({sweep: index}) => {
      const sweep = data.sweeps[index];
      if (sweep.ranks.length === 1) {
        return sweepBars(sweep, 'images / s', (point) => point.rate, (points) => ({error_y: {...rateRange(points), color: color('text')}, hovertemplate: '%{y:,.4~g}'}));
      }
      const traces = [];
      sweep.cases.forEach((entry, c) => {
        const points = sweepPoints(entry).filter((point) => point.rate !== null);
        if (!points.length) return;
        traces.push(line(entry.name, points.map((point) => point.ranks), points.map((point) => point.rate), {
          mode: 'lines+markers', line: {color: seriesColor(c), width: 2.4}, marker: {size: 7, symbol: sweepSymbol(c)},
          error_y: rateRange(points), hovertemplate: '%{y:,.4~g}',
        }));
      });
      const ends = sweep.ranks.filter((ranks) => ranks >= sweep.ideal.from);
      if (ends.length > 1) {
        traces.push(line('ideal', ends, ends.map((ranks) => sweep.ideal.rate * ranks / sweep.ideal.from), {
          mode: 'lines', line: {color: color('muted'), width: 1.8, dash: 'dash'}, hovertemplate: '%{y:,.4~g}',
        }));
      }
      const isLog = sweep.ranks.length > 2;
      return {traces, layout: {
        xaxis: {title: {text: 'ranks'}, type: isLog ? 'log' : 'linear', tickvals: sweep.ranks, ticktext: sweep.ranks.map(String)},
        yaxis: {title: {text: 'images / s'}, ...(isLog ? {type: 'log', ...decadeTicks(traces.flatMap((trace) => trace.y))} : {rangemode: 'tozero'})},
        showlegend: true,
      }};
    },

    sweep_memory: ({sweep: index}) => {
      const sweep = data.sweeps[index];
      const unit = unitFor(Math.max(...sweep.cases.flatMap((entry) => entry.memory)));
      return sweepBars(sweep, unit.name, (point) => (point.memory === null ? null : point.memory / unit.bytes),
        () => ({hovertemplate: '%{y:.3~f} ' + unit.name}));
    },

    // Waiting for other ranks, and on top of it, hatched, for data.
    sweep_wait: ({sweep: index}) => {
      const sweep = data.sweeps[index];
      const share = (value) => (value === null ? null : 100 * value);
      const ranks = sweepBars(sweep, '% of the step', (point) => share(point.communication), () => ({hovertemplate: '%{y:.1f} % for ranks'}));
      const wait = sweepBars(sweep, '% of the step', (point) => share(point.data), (points) => ({
        marker: {pattern: {shape: '/', size: 5, solidity: 0.35}}, base: points.map((point) => share(point.communication) || 0),
        customdata: points.map((point) => share(point.data)), hovertemplate: '%{customdata:.1f} % for data',
      }));
      for (const trace of wait.traces) trace.showlegend = !ranks.traces.some((other) => other.legendgroup === trace.legendgroup);
      return {traces: ranks.traces.concat(wait.traces), layout: ranks.layout};
    },

    confusion: ({group: groupIndex, probe: probeIndex, clouds: cloudsIndex}, element) => {
      const source = cloudsIndex === undefined ? data.groups[groupIndex].probes[probeIndex] : data.clouds[cloudsIndex];
      const confusion = source.confusion;
      if (!confusion) return {traces: []};
      const names = confusion.classes.map(plain);
      const positions = names.map((_, i) => i);
      const shares = confusion.counts.map((row) => {
        const sum = row.reduce((a, b) => a + b, 0);
        return row.map((count) => (sum > 0 ? 100 * count / sum : 0));
      });
      const width = element.clientWidth;
      const showsNumbers = names.length <= 12 && width / names.length > 42;
      const labels = confusion.classes.map((name) => plain(shortened(name, isNarrow() ? 12 : 22)));
      const showsLabels = width / names.length > 11;
      const ticks = {tickvals: positions, ticktext: labels, showticklabels: showsLabels, ticks: showsLabels ? 'outside' : '', ticklen: 3};
      // Squares: the matrix is as high as it is wide, without the labels' margins.
      const longest = Math.max(...labels.map((label) => label.length));
      const margin = showsLabels ? Math.min(150, 18 + 6.6 * longest) : 30;
      const side = Math.min(720, width - margin);
      element.style.height = Math.round(side + margin + 8) + 'px';
      const tickfont = {size: Math.max(8, Math.min(12, side / names.length - 1))};
      return {
        traces: [{
          type: 'heatmap', x: positions, y: positions, z: shares, zmin: 0, zmax: 100, xgap: 1, ygap: 1,
          colorscale: [[0, color('heat-0')], [0.2, color('heat-1')], [0.6, color('heat-2')], [1, color('heat-3')]],
          showscale: false,
          text: shares.map((row) => row.map((share) => (share >= 0.5 ? share.toFixed(0) : ''))),
          texttemplate: showsNumbers ? '%{text}' : '',
          customdata: confusion.counts.map((row, truth) => row.map((count, i) => [names[truth], names[i], count])),
          hovertemplate: 'is <b>%{customdata[0]}</b><br>taken for <b>%{customdata[1]}</b><br>%{customdata[2]} images, %{z:.1f} %<extra></extra>',
        }],
        layout: {
          hovermode: 'closest', dragmode: false, showlegend: false,
          margin: {l: margin, t: 6, r: 6, b: margin},
          xaxis: {...ticks, tickfont, title: {text: showsLabels ? '' : 'prediction'}, tickangle: -90, showgrid: false, automargin: false, constrain: 'domain', fixedrange: true},
          yaxis: {...ticks, tickfont, title: {text: showsLabels ? '' : 'truth'}, autorange: 'reversed', showgrid: false, automargin: false, scaleanchor: 'x', constrain: 'domain', fixedrange: true},
        },
      };
    },

    embedding_positions: ({embedding: index}, element) => {
      const chips = data.embeddings[index].positions;
      element.style.height = Math.round(Math.min(560, Math.max(280, element.clientWidth / 2))) + 'px';
      return {
        traces: byCluster(chips).map(([cluster, indices]) => ({
          type: 'scatter', mode: 'markers', x: indices.map((i) => chips.longitude[i]), y: indices.map((i) => chips.latitude[i]),
          marker: {color: clusterColor(cluster), symbol: clusterSymbol(cluster), size: 8, line: {color: color('card'), width: 0.6}},
          ...chipHover(chips, cluster, indices),
        })),
        layout: {
          hovermode: 'closest', showlegend: false, xaxis: {title: {text: 'longitude'}, constrain: 'domain'},
          yaxis: {title: {text: 'latitude'}, scaleanchor: 'x', constrain: 'domain'},
        },
      };
    },

    // A swath as it was scanned, a square for each chip; its number stands in it where there is room.
    embedding_swath: ({embedding: index, granule: granuleIndex}, element) => {
      const chips = data.embeddings[index].granules[granuleIndex];
      const margin = {l: 62, r: 10, t: 10, b: 42};
      const width = element.clientWidth - margin.l - margin.r;
      const height = Math.min(760, Math.max(160, width * chips.rows / chips.columns));
      element.style.height = Math.round(height + margin.t + margin.b) + 'px';
      const pixels = chips.side * Math.min(width / chips.columns, height / chips.rows);
      const half = chips.side / 2;
      const picture = chips.quick_look;
      const traces = [];
      for (const [cluster, indices] of byCluster(chips)) {
        const fill = clusterColor(cluster);
        const corners = (centers, steps) => indices.flatMap((i) => [...steps.map((step) => centers[i] + step * half), null]);
        traces.push({
          type: 'scatter', mode: 'lines', fill: 'toself', hoverinfo: 'skip', name: clusterName(cluster),
          x: corners(chips.x, [-1, 1, 1, -1, -1]), y: corners(chips.y, [-1, -1, 1, 1, -1]),
          fillcolor: picture ? translucent(fill, 0.55) : fill, line: {color: picture ? fill : color('card'), width: pixels > 12 ? 1 : 0.3},
        });
        const ink = inkOn(fill);
        const marks = pixels > 17 && cluster !== null
          ? {mode: 'text', text: indices.map(() => String(cluster)), textfont: {color: ink, size: Math.min(14, pixels * 0.55)}}
          : {mode: 'markers', marker: {color: ink, symbol: clusterSymbol(cluster), size: Math.max(1, pixels / 3), opacity: cluster === null || cluster < numHues ? 0 : 1}};
        traces.push({
          type: 'scatter', x: indices.map((i) => chips.x[i]), y: indices.map((i) => chips.y[i]), ...marks,
          ...chipHover(chips, cluster, indices),
        });
      }
      const axis = {showgrid: false, zeroline: false, constrain: 'domain', ticks: 'outside', ticklen: 3, automargin: false};
      return {traces, layout: {
        // Over all of a square, whose corners lie this far from its centre.
        hovermode: 'closest', hoverdistance: Math.max(8, Math.ceil(pixels * Math.SQRT1_2)), showlegend: false, margin,
        xaxis: {...axis, title: {text: 'column'}, range: [0, chips.columns]},
        yaxis: {...axis, title: {text: 'row'}, range: [chips.rows, 0], scaleanchor: 'x'},
        images: picture ? [{
          source: picture.source, xref: 'x', yref: 'y', x: 0, y: 0, sizex: picture.width, sizey: picture.height,
          xanchor: 'left', yanchor: 'top', sizing: 'stretch', layer: 'below',
        }] : [],
      }};
    },
  };

  // --- Drawing --------------------------------------------------------------------------------

  function baseLayout() {
    const axis = {
      gridcolor: color('grid'), linecolor: color('line'), zerolinecolor: color('grid'), automargin: true,
      tickfont: {color: color('muted'), size: 12}, title: {font: {color: color('muted'), size: 12}, standoff: 8},
      nticks: isNarrow() ? 5 : 8, separatethousands: true,
    };
    return {
      paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)',
      font: {family: getComputedStyle(document.body).fontFamily, color: color('text'), size: 12.5},
      margin: {l: 46, r: 10, t: 10, b: 34},
      hovermode: 'x unified', dragmode: isTouch() ? false : 'zoom', showlegend: data.runs.length > 1,
      hoverlabel: {bgcolor: color('card'), bordercolor: color('line'), font: {family: getComputedStyle(document.body).fontFamily, color: color('text'), size: 12.5}, align: 'left', namelength: 28},
      legend: {orientation: 'h', x: 0, yref: 'container', y: 0, yanchor: 'bottom', font: {color: color('muted'), size: 12}},
      xaxis: {...axis, zeroline: false}, yaxis: {...axis},
      modebar: {bgcolor: 'rgba(0,0,0,0)', color: color('muted'), activecolor: color('text')},
      uirevision: page.axis + page.logLoss,
    };
  }

  function merged(base, extra) {
    const result = {...base};
    for (const [key, value] of Object.entries(extra || {})) {
      const isObject = value !== null && typeof value === 'object' && !Array.isArray(value);
      result[key] = isObject ? merged(base[key] || {}, value) : value;
    }
    return result;
  }

  // A legend of many lines takes its height from the chart's, so the chart gets more.
  function makeRoomForLegend(element, traces) {
    const entries = traces.filter((trace) => trace.showlegend !== false);
    const characters = entries.reduce((sum, trace) => sum + trace.name.length + 8, 0);
    const rows = Math.min(entries.length, Math.ceil(characters * 7.5 / element.clientWidth));
    element.style.height = '';
    element.style.height = element.clientHeight + Math.max(0, rows - 1) * 20 + 'px';
  }

  function draw(element) {
    const {traces, layout} = builders[element.dataset.chart](element.dataset, element);
    if (!traces.length) {
      element.dataset.state = 'empty';
      return;
    }
    const complete = merged(baseLayout(), layout);
    if (complete.showlegend) makeRoomForLegend(element, traces);
    // Given sizes, because Plotly.react keeps the old ones when an element has changed its own.
    complete.width = element.clientWidth;
    complete.height = element.clientHeight;
    Plotly.react(element, traces, complete, {
      displaylogo: false, displayModeBar: isTouch() ? false : 'hover',
      modeBarButtons: [['toImage', 'resetScale2d']],
      toImageButtonOptions: {format: 'svg', filename: 'swath-' + element.dataset.chart},
    });
    element.dataset.state = 'drawn';
  }

  const charts = [...document.querySelectorAll('.chart')];
  function drawAll(selected = charts) {
    for (const element of selected) {
      try {
        draw(element);
      } catch (error) {
        element.dataset.state = 'failed';
        element.textContent = 'This chart could not be drawn: ' + error.message;
        console.error(element.dataset.chart, error);
      }
    }
  }
  const trainingCharts = charts.filter((element) => element.closest('#training'));

  // --- Controls -------------------------------------------------------------------------------

  document.querySelectorAll('[data-axis]').forEach((button) => {
    button.hidden = !hasClock(button.dataset.axis);
    button.addEventListener('click', () => {
      page.axis = button.dataset.axis;
      document.querySelectorAll('[data-axis]').forEach((other) => other.setAttribute('aria-pressed', other === button));
      drawAll(trainingCharts);
    });
  });
  const smoothing = document.getElementById('smoothing');
  if (smoothing) {
    page.smoothing = Number(smoothing.value);
    smoothing.addEventListener('input', () => {
      page.smoothing = Number(smoothing.value);
      drawAll(trainingCharts);
    });
  }
  const logLoss = document.getElementById('log-loss');
  if (logLoss) {
    page.logLoss = logLoss.checked;
    logLoss.addEventListener('change', () => {
      page.logLoss = logLoss.checked;
      drawAll(trainingCharts);
    });
  }

  const isDark = () => (root.dataset.theme === 'auto' ? prefersDark.matches : root.dataset.theme === 'dark');
  document.getElementById('theme').addEventListener('click', () => {
    root.dataset.theme = isDark() ? 'light' : 'dark';
    try {
      localStorage.setItem('swath-theme', root.dataset.theme);
    } catch (error) {
      // Without storage the choice lasts as long as the page.
    }
    drawAll();
  });
  prefersDark.addEventListener('change', () => drawAll());

  // Paper is white and narrow, whatever the screen is: the style sheet gives data-printing its width.
  let themeOnScreen = null;
  window.addEventListener('beforeprint', () => {
    if (themeOnScreen === null) themeOnScreen = root.dataset.theme;
    root.dataset.theme = 'light';
    root.dataset.printing = '';
    drawAll();
  });
  window.addEventListener('afterprint', () => {
    root.dataset.theme = themeOnScreen;
    themeOnScreen = null;
    delete root.dataset.printing;
    drawAll();
  });

  let width = window.innerWidth;
  let pendingResize = 0;
  window.addEventListener('resize', () => {
    // A phone's address bar changes the height alone.
    if (window.innerWidth === width) return;
    width = window.innerWidth;
    clearTimeout(pendingResize);
    pendingResize = setTimeout(() => drawAll(), 120);
  });

  const viewer = document.getElementById('viewer');
  document.querySelectorAll('.picture button').forEach((button) => {
    button.addEventListener('click', () => {
      const picture = button.querySelector('img');
      const large = viewer.querySelector('img');
      large.src = picture.src;
      large.alt = picture.alt;
      large.className = picture.className;
      viewer.showModal();
    });
  });
  viewer.addEventListener('click', () => viewer.close());

  const links = [...document.querySelectorAll('.sections a')];
  const targets = links.map((link) => document.getElementById(link.hash.slice(1)));
  function markSection() {
    let current = 0;
    targets.forEach((target, i) => {
      if (target && target.getBoundingClientRect().top < 120) current = i;
    });
    links.forEach((link, i) => link.setAttribute('aria-current', i === current));
  }
  window.addEventListener('scroll', markSection, {passive: true});
  markSection();

  drawAll();
})();
