"use strict";
(() => {
  const element = document.getElementById("live-data");
  if (!element) return;
  const spec = JSON.parse(element.textContent);
  const root = document.getElementById("live");
  const SIDE = 34, MARGIN = 26, OUTLINES = 4;
  const LCM = 2520; // of 1 to 9: sums of quotients are kept as whole numbers over it

  const node = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const drawn = (name, attributes = {}, text = "") => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.textContent = text;
    return made;
  };
  const range = (n) => Array.from({ length: Math.max(0, n) }, (_, i) => i);
  const number = (v) => {
    if (Number.isInteger(v)) return `${v}`.replace("-", "−");
    return `${Number(v.toPrecision(4))}`.replace("-", "−");
  };
  const bracketed = (v) => (v < 0 ? `(${number(v)})` : number(v));
  const index = (at) => `[${at.join(", ")}]`;

  // -- controls -----------------------------------------------------------------------------------

  const values = {};
  const outputs = {};
  const control = ({ name, label, least, most, start, step = 1 }) => {
    values[name] = start;
    const id = `control-${name}`;
    const input = node("input", { type: "range", id, min: least, max: most, step, value: start });
    const output = (outputs[name] = node("output", { for: id }, number(start)));
    input.addEventListener("input", () => {
      values[name] = Number(input.value);
      output.textContent = number(values[name]);
      changed();
    });
    return node("div", { class: "control" }, node("label", { for: id }, label), input, output);
  };
  const option = ({ name, label, start }) => {
    values[name] = start;
    const id = `control-${name}`;
    const input = node("input", { type: "checkbox", id });
    input.checked = start;
    input.addEventListener("change", () => {
      values[name] = input.checked;
      changed();
    });
    return node("div", { class: "control" }, input, node("label", { for: id }, label));
  };
  const controls = node("form", { class: "controls", "aria-label": "options of the call" });
  controls.addEventListener("submit", (event) => event.preventDefault());
  for (const one of spec.controls) {
    controls.append("least" in one ? control(one) : option(one));
  }
  const note = node("p", { class: "sum mono", "aria-live": "polite", id: "live-sum" });
  const terms = node("ol", { class: "terms" });
  const panels = node("div", { class: "figures", id: "live-panels" });
  const hint = node("p", { class: "mute" }, spec.hint);
  root.append(controls, hint, panels, note, terms);

  // -- arrays -------------------------------------------------------------------------------------

  // An array: its name, its sides, its values row by row; `role` says what its last axes count.
  const array = (name, role, sides, value) => {
    const size = sides.reduce((a, b) => a * b, 1);
    return { name, role, sides, data: range(size).map(value) };
  };
  const flat = (sides, at) => at.reduce((sum, i, axis) => sum * sides[axis] + i, 0);
  const read = (one, at) => one.data[flat(one.sides, at)];
  const places = (sides) =>
    sides.reduce((all, side) => all.flatMap((at) => range(side).map((i) => [...at, i])), [[]]);
  const nested = (one, at = []) =>
    at.length === one.sides.length
      ? read(one, at)
      : range(one.sides[at.length]).map((i) => nested(one, [...at, i]));
  const small = (seed) => (i) => ((i * 7 + seed * 5 + ((i * i) % 5) * 3) % 9) - 4;

  // -- windows ------------------------------------------------------------------------------------

  const axisOf = (one, kind) => ({
    taps: kind ? values.kernel : 1,
    stride: kind ? values.stride : 1,
    padding: kind ? values.padding ?? 0 : 0,
    dilation: kind ? values.dilation ?? 1 : 1,
    ...one,
  });
  const spanned = (axis) => (axis.taps - 1) * axis.dilation + 1;
  const meetings = (axis) =>
    range(axis.windows)
      .flatMap((i) => range(axis.taps).map((p) => [i, p, i * axis.stride + p * axis.dilation - axis.padding]))
      .filter(([, , h]) => h >= 0 && h < axis.pixels);

  class Illegal extends Error {}

  const pooled = (axis) => {
    if (axis.padding > Math.floor(axis.taps / 2)) {
      throw new Illegal(`padding must be at most half the kernel's ${axis.taps} taps, got ${axis.padding}`);
    }
    const room = axis.pixels + 2 * axis.padding - spanned(axis);
    if (!values.ceil_mode) return Math.floor(room / axis.stride) + 1;
    const count = Math.ceil(room / axis.stride) + 1;
    return (count - 1) * axis.stride >= axis.pixels + axis.padding ? count - 1 : count;
  };
  // The axes of a call, the rows before the columns; of one axis the rows are one.
  const geometry = () =>
    [spec.rank === 2, true].map((kind) => {
      const side = kind ? values.size : 1;
      if (spec.operator === "conv_transpose") {
        const axis = axisOf({ windows: side }, kind);
        const more = kind ? values.output_padding : 0;
        if (more && more >= Math.max(axis.stride, axis.dilation)) {
          throw new Illegal("output_padding must be below the stride or the dilation");
        }
        axis.pixels = (side - 1) * axis.stride - 2 * axis.padding + spanned(axis) + more;
        if (axis.pixels < 1) throw new Illegal("the padding takes more pixels than the kernel reaches");
        return axis;
      }
      const axis = axisOf({ pixels: side }, kind);
      const room = axis.pixels + 2 * axis.padding - spanned(axis);
      if (spec.operator === "conv") {
        axis.windows = Math.floor(room / axis.stride) + 1;
      } else {
        axis.windows = pooled(axis);
      }
      if (room < 0 && (spec.operator === "conv" || axis.windows < 1)) {
        throw new Illegal(`the kernel spans ${spanned(axis)} pixels, and the padded image has ${axis.pixels + 2 * axis.padding}`);
      }
      if (spec.operator.endsWith("pool")) {
        const held = new Set(meetings(axis).map(([i]) => i));
        if (held.size < axis.windows) throw new Illegal("a window holds no pixel of the image");
      }
      return axis;
    });

  const isPool = spec.operator?.endsWith("pool");
  // Index of an element in the arrays of the oracle: of one axis there is no row.
  const shown = (at) => (spec.rank === 1 ? [...at.slice(0, 2), at[3]] : at);

  // What a call is made of: operands, the answer, and of each of its elements the terms.
  const model = () => {
    const axes = geometry();
    const met = axes.map(meetings);
    const groups = values.groups ?? 1, depth = values.depth ?? 1;
    const images = groups * depth, windows = isPool ? images : groups;
    const pixels = axes.map((a) => a.pixels), count = axes.map((a) => a.windows), taps = axes.map((a) => a.taps);
    const pairs = met[0].flatMap(([i, p, h]) => met[1].map(([j, q, w]) => ({ i: [i, j], p: [p, q], h: [h, w] })));
    const arrays = {
      image: array(spec.names.image, "image", [1, images, ...pixels], isPool ? (i) => (i * 5 + ((i * i) % 7)) % 10 : small(1)),
      windows: array(spec.names.windows, "windows", [1, windows, ...count], small(3)),
      kernel: array(spec.names.kernel ?? "weight", "kernel", [windows, depth, ...taps], small(2)),
    };
    const made = (isPool ? pool : convolved)({ axes, pairs, arrays, groups, depth, images, windows });
    return { ...made, axes, pairs };
  };

  const convolved = ({ pairs, arrays, depth }) => {
    const answerOf = arrays[spec.answer];
    const operands = Object.entries(arrays).filter(([name]) => name !== spec.answer).map(([, one]) => one);
    const list = new Map(places(answerOf.sides).map((at) => [`${at}`, []]));
    for (const m of range(arrays.windows.sides[1])) {
      for (const c of range(depth)) {
        for (const { i, p, h } of pairs) {
          const at = { image: [0, m * depth + c, ...h], windows: [0, m, ...i], kernel: [m, c, ...p] };
          const factors = operands.map((one) => ({ array: one, at: at[one.role] }));
          list.get(`${at[spec.answer]}`).push({ factors, window: i, pixel: h });
        }
      }
    }
    // One filter a group: the channels of a group are those of its filter.
    const terms = (at) => list.get(`${at}`);
    const product = (term) => term.factors.reduce((v, { array: one, at }) => v * read(one, at), 1);
    const answer = { ...answerOf, name: spec.names.answer };
    answer.data = places(answer.sides).map((at) => terms(at).reduce((sum, term) => sum + product(term), 0));
    return { operands: operands.sort((a, b) => spec.order.indexOf(a.name) - spec.order.indexOf(b.name)), answer, terms, product };
  };

  const pool = ({ axes, pairs, arrays, images }) => {
    const x = arrays.image, dy = arrays.windows;
    const inside = new Map();
    for (const { i, h } of pairs) inside.set(`${i}`, [...(inside.get(`${i}`) ?? []), h]);
    const divisor = ([i, j]) =>
      [i, j].reduce((r, window, n) => {
        const a = axes[n], start = window * a.stride - a.padding;
        const counted = values.count_include_pad
          ? Math.min(start + a.taps, a.pixels + a.padding) - start
          : Math.min(start + a.taps, a.pixels) - Math.max(start, 0);
        return r * counted;
      }, 1);
    const winner = (c, i) =>
      inside.get(`${i}`).reduce((best, h) => (read(x, [0, c, ...h]) > read(x, [0, c, ...best]) ? h : best));
    const isMax = spec.operator === "max_pool", backwards = spec.answer === "image";
    const place = (c, i) => { const [h, w] = winner(c, i); return h * axes[1].pixels + w; };
    const indices = { ...dy, name: "indices", role: "windows" };
    indices.data = places(dy.sides).map(([, c, ...i]) => (isMax ? place(c, i) : 0));
    const list = new Map();
    const add = (at, term) => list.set(`${at}`, [...(list.get(`${at}`) ?? []), term]);
    for (const c of range(images)) {
      for (const { i, h } of pairs) {
        const window = [0, c, ...i], pixel = [0, c, ...h];
        const chosen = !isMax || `${winner(c, i)}` === `${h}`;
        const factors = [{ array: backwards ? dy : x, at: backwards ? window : pixel }];
        if (backwards && isMax) factors.context = { array: spec.role === "vjp" ? x : indices, at: spec.role === "vjp" ? pixel : window };
        if (chosen || (!backwards && isMax)) {
          add(backwards ? pixel : window, { factors, window: i, pixel: h, r: isMax ? 1 : divisor(i), chosen });
        }
      }
    }
    const terms = (at) => list.get(`${at}`) ?? [];
    const scaled = (term) => read(term.factors[0].array, term.factors[0].at) * (LCM / term.r);
    const answerOf = arrays[spec.answer];
    const answer = { ...answerOf, name: spec.names.answer };
    answer.data = places(answer.sides).map((at) => {
      if (spec.role === "indices") return place(at[1], at.slice(2));
      return terms(at).filter((term) => term.chosen).reduce((sum, term) => sum + scaled(term), 0) / LCM;
    });
    const operands = backwards ? (isMax ? [dy, spec.role === "vjp" ? x : indices] : [dy]) : [x];
    return { operands, answer, terms, product: (term) => scaled(term) / LCM, hidden: backwards && isMax ? x : null };
  };

  // -- drawing ------------------------------------------------------------------------------------

  let current = null, selected = null;

  const cellsOf = (one) =>
    one.role === "image"
      ? current.axes.map((a) => {
          const end = Math.max(a.pixels + a.padding, (a.windows - 1) * a.stride - a.padding + spanned(a));
          return range(end + a.padding).map((i) => i - a.padding);
        })
      : one.sides.slice(2).map(range);

  const shade = (v, most) => {
    const level = v ? Math.min(6, Math.ceil((6 * Math.abs(v)) / most)) : 0;
    return level ? `${v < 0 ? "n" : "p"}${level}` : "zero";
  };

  const plane = (one, leading) => {
    const [rows, columns] = cellsOf(one);
    const texts = one.data.map(number);
    const width = Math.max(SIDE, 8 * Math.max(...texts.map((t) => t.length)) + 10);
    const most = Math.max(1e-9, ...one.data.map(Math.abs));
    const sides = [MARGIN + columns.length * width + 4, MARGIN + rows.length * SIDE + 4];
    const svg = drawn("svg", { class: "map", width: sides[0], height: sides[1], viewBox: `0 0 ${sides[0]} ${sides[1]}`, role: "group", "aria-label": `${one.name} ${index(leading)}` });
    const x = (w) => MARGIN + (w - columns[0]) * width, y = (h) => MARGIN + (h - rows[0]) * SIDE;
    const inside = ([h, w]) => h >= 0 && w >= 0 && h < one.sides[2] && w < one.sides[3];
    for (const w of columns) if (inside([0, w])) svg.append(drawn("text", { class: "at", x: x(w) + width / 2, y: MARGIN - 7 }, `${w}`));
    for (const h of rows) if (inside([h, 0]) && one.sides[2] > 1) svg.append(drawn("text", { class: "at", x: MARGIN / 2 + 3, y: y(h) + SIDE / 2 + 4 }, `${h}`));
    for (const h of rows) {
      for (const w of columns) {
        const box = { x: x(w) + 1, y: y(h) + 1, width: width - 2, height: SIDE - 2, rx: 4 };
        if (!inside([h, w])) {
          svg.append(drawn("rect", { ...box, class: "padding" }));
          continue;
        }
        const at = [...leading, h, w], value = read(one, at);
        const cell = drawn("g", { class: "cell", tabindex: -1, role: "button", "aria-label": `${one.name} ${index(shown(at))} is ${number(value)}`, "data-array": one.name, "data-at": at.join(",") });
        cell.append(drawn("rect", { ...box, class: shade(value, most) }), drawn("text", { x: x(w) + width / 2, y: y(h) + SIDE / 2 + 4 }, number(value)));
        svg.append(cell);
      }
    }
    svg.geometry = { x, y, width, rows, columns };
    if (one.role === "image") starts(svg);
    return svg;
  };

  // Triangles where windows start, a stride apart.
  const starts = (svg) => {
    const { x, y, width, rows, columns } = svg.geometry;
    let path = "";
    current.axes.forEach((axis, n) => {
      for (const i of range(axis.windows > 1 ? axis.windows : 0)) {
        const at = i * axis.stride - axis.padding;
        path += n ? `M${x(at) + width / 2 - 4} 1h8l-4 5z` : `M1 ${y(at) + SIDE / 2 - 4}v8l5 -4z`;
      }
    });
    if (path) svg.append(drawn("path", { class: "start", d: path }));
  };

  const panel = (one, title) => {
    const box = node("div", { class: "maps", "data-panel": one.name });
    for (const leading of places(one.sides.slice(0, 2))) {
      const head = one.sides[0] * one.sides[1] > 1 ? [node("div", { class: "mute mono" }, index(leading))] : [];
      box.append(node("div", { class: "plane" }, ...head, plane(one, leading)));
    }
    const sides = spec.rank === 1 ? [...one.sides.slice(0, 2), one.sides[3]] : one.sides;
    return node("figure", { class: "array" }, node("figcaption", {}, node("b", {}, one.name), ` ${title} `, node("span", { class: "mute" }, index(sides))), box);
  };

  const changed = () => {
    if (spec.kind === "softmax") return softmax();
    panels.replaceChildren();
    terms.replaceChildren();
    try {
      current = model();
    } catch (error) {
      if (!(error instanceof Illegal)) throw error;
      current = null;
      note.textContent = `There is no such call: ${error.message}.`;
      note.classList.add("illegal");
      return;
    }
    note.classList.remove("illegal");
    for (const one of current.operands) panels.append(panel(one, ""));
    panels.append(panel(current.answer, "the answer"));
    const arrays = [...current.operands, current.answer];
    const still = selected && arrays.find((one) => one.name === selected.name);
    const kept = still && selected.at.every((i, axis) => i < still.sides[axis]);
    select(kept ? selected : { name: current.answer.name, at: richest() });
  };

  // The element in whose sum the most terms are.
  const richest = () => {
    const all = places(current.answer.sides).map((at) => [current.terms(at).length, at]);
    return all.reduce((best, one) => (one[0] > best[0] ? one : best))[1];
  };

  const cellAt = (name, at) => panels.querySelector(`[data-array="${name}"][data-at="${at.join(",")}"]`);

  const select = (chosen, focus = false) => {
    selected = chosen;
    for (const one of panels.querySelectorAll(".over, .cell.chosen, .cell.taken, .cell.looked")) {
      if (one.classList.contains("over")) one.remove();
      else one.classList.remove("chosen", "taken", "looked");
    }
    for (const box of panels.querySelectorAll("[data-panel]")) {
      for (const cell of box.querySelectorAll(".cell")) cell.setAttribute("tabindex", "-1");
      box.querySelector(".cell")?.setAttribute("tabindex", "0");
    }
    const cell = cellAt(chosen.name, chosen.at);
    for (const other of cell.closest("[data-panel]").querySelectorAll(".cell")) other.setAttribute("tabindex", "-1");
    cell.setAttribute("tabindex", "0");
    cell.classList.add("chosen");
    if (focus) cell.focus();
    if (chosen.name === current.answer.name) explain(chosen);
    else follow(chosen);
  };

  const outline = (list) => {
    const windows = [...new Map(list.map((term) => [`${term.window}`, term.window])).values()];
    for (const svg of panels.querySelectorAll("svg")) {
      if (!svg.querySelector(".start") && !svg.closest("[data-panel]")) continue;
      const one = [...current.operands, current.answer].find((a) => a.name === svg.closest("[data-panel]").dataset.panel);
      if (one.role !== "image") continue;
      const { x, y, width } = svg.geometry;
      windows.forEach(([i, j], n) => {
        const [a, b] = current.axes, inset = 2 + 2 * (n % 3);
        const box = { x: x(j * b.stride - b.padding) + inset, y: y(i * a.stride - a.padding) + inset, width: spanned(b) * width - 2 * inset, height: spanned(a) * SIDE - 2 * inset, rx: 6 };
        svg.append(drawn("rect", { ...box, class: `over window w${n % OUTLINES}` }));
        let taps = "";
        for (const p of range(a.taps)) for (const q of range(b.taps)) {
          taps += `M${x(j * b.stride + q * b.dilation - b.padding) + 5 + 5 * (n % OUTLINES)} ${y(i * a.stride + p * a.dilation - a.padding) + 5}h4v4h-4z`;
        }
        svg.append(drawn("path", { class: `over tap w${n % OUTLINES}`, d: taps }));
      });
    }
    return new Map(windows.map((window, n) => [`${window}`, n % OUTLINES]));
  };

  const factorText = (term) => {
    const parts = term.factors.map(({ array: one, at }) => `${one.name}${index(shown(at))}`);
    return parts.join(" · ") + (term.r > 1 ? ` / ${term.r}` : "");
  };
  const factorNumbers = (term) =>
    term.factors.map(({ array: one, at }) => bracketed(read(one, at))).join(" · ") + (term.r > 1 ? ` / ${term.r}` : "");

  const explain = ({ name, at }) => {
    const list = current.terms(at), colours = outline(list);
    terms.replaceChildren();
    for (const term of list) {
      for (const { array: one, at: place } of term.factors) {
        cellAt(one.name, place)?.classList.add(term.chosen === false ? "looked" : "taken");
      }
      const context = term.factors.context;
      if (context) cellAt(context.array.name, context.at)?.classList.add("taken");
      const value = current.product(term);
      const chosen = term.chosen === true && spec.answer === "windows" && spec.operator === "max_pool";
      const steps = term.factors.length > 1 || term.r > 1 ? [factorText(term), factorNumbers(term), number(value)] : [factorText(term), number(value)];
      terms.append(node("li", chosen ? { class: "winner" } : {}, node("i", { class: `w${colours.get(`${term.window}`)}` }), ` ${steps.join(" = ")}${chosen ? "  ← the first maximum" : ""}`));
    }
    const value = read(current.answer, at), what = `${name}${index(shown(at))}`;
    if (spec.role === "indices") {
      const plane = spec.rank === 2 ? "row by row in its plane" : "in its row";
      note.textContent = `${what} = ${number(value)}, the place of the first maximum, counted ${plane}`;
    } else if (spec.operator === "max_pool" && spec.answer === "windows") {
      note.textContent = `${what} = max of ${list.length} pixels = ${number(value)}`;
    } else if (!list.length) {
      note.textContent = `${what} = 0: ${spec.nothing}`;
    } else {
      const sum = list.length > 1 ? ` = ${list.map((term) => bracketed(current.product(term))).join(" + ")}` : "";
      note.textContent = `${what}${sum} = ${number(value)}`;
    }
  };

  // Where an element of an operand goes.
  const follow = ({ name, at }) => {
    const uses = (term) => [...term.factors, ...(term.factors.context ? [term.factors.context] : [])].some((one) => one.array.name === name && `${one.at}` === `${at}`);
    const reached = places(current.answer.sides).filter((place) => current.terms(place).some(uses));
    for (const place of reached) cellAt(current.answer.name, place)?.classList.add("taken");
    outline(reached.flatMap((place) => current.terms(place).filter(uses)));
    terms.replaceChildren();
    const where = reached.map((place) => index(shown(place)));
    const more = where.length > 8 ? `, … (${where.length})` : "";
    note.textContent = reached.length
      ? `${name}${index(shown(at))} has a part in ${current.answer.name} ${where.slice(0, 8).join(", ")}${more}`
      : `${name}${index(shown(at))} has no part in ${current.answer.name}: no window reaches it`;
  };

  const of = (target) => {
    const cell = target.closest(".cell");
    return cell && { name: cell.dataset.array, at: cell.dataset.at.split(",").map(Number) };
  };
  panels.addEventListener("click", (event) => {
    const chosen = of(event.target);
    if (chosen) select(chosen, true);
  });
  panels.addEventListener("focusin", (event) => {
    const chosen = of(event.target);
    if (chosen && `${chosen.name}${chosen.at}` !== `${selected?.name}${selected?.at}`) select(chosen);
  });
  const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  panels.addEventListener("keydown", (event) => {
    const step = STEPS[event.key], chosen = of(event.target);
    if (!step || !chosen) return;
    event.preventDefault();
    const [a, b, h, w] = chosen.at;
    const next = { name: chosen.name, at: [a, b, h + step[0], w + step[1]] };
    if (cellAt(next.name, next.at)) select(next, true);
  });

  // -- softmax ------------------------------------------------------------------------------------

  let row = null;
  const softmax = () => {
    const count = spec.count;
    const z = range(count).map((i) => values[`z${i}`]);
    const dy = range(count).map((i) => values[`dy${i}`] ?? 0);
    const top = Math.max(...z), e = z.map((v) => Math.exp(v - top)), total = e.reduce((a, b) => a + b, 0);
    const p = e.map((v) => v / total);
    const mean = p.reduce((sum, v, i) => sum + v * dy[i], 0);
    const dz = p.map((v, i) => v * (dy[i] - mean));
    row = { z, dy, p, dz, e, total, top, mean, answer: spec.backwards ? dz : p };
    panels.replaceChildren(
      ...[["z", z, "given"], ...(spec.backwards ? [["dy", dy, "given"]] : [["exp(z − max z)", e, ""]]), ["p", p, spec.backwards ? "softmax of z" : "the answer"], ...(spec.backwards ? [["dz", dz, "the answer"]] : [])].map(([name, data, title]) => {
        const one = { name, role: "row", sides: [1, 1, 1, count], data };
        const box = node("div", { class: "maps", "data-panel": name }, node("div", { class: "plane" }, plane(one, [0, 0]), barsOf(data)));
        return node("figure", { class: "array" }, node("figcaption", {}, node("b", {}, name), ` ${title}`), box);
      }),
      ...(spec.backwards ? [jacobian(p)] : []),
    );
    const answer = spec.backwards ? "dz" : "p";
    const kept = selected?.name === answer ? selected.at[3] : 0;
    for (const cell of panels.querySelectorAll(".cell")) {
      const [, , , i] = cell.dataset.at.split(",").map(Number);
      cell.setAttribute("tabindex", cell.dataset.array === answer && i === kept ? "0" : "-1");
    }
    choose(kept);
  };
  const jacobian = (p) => {
    const count = p.length;
    const one = { name: "dp/dz", role: "table", sides: [1, 1, count, count], data: places([count, count]).map(([i, j]) => p[i] * ((i === j) - p[j])) };
    const box = node("div", { class: "maps", "data-panel": "dp/dz" }, node("div", { class: "plane" }, plane(one, [0, 0])));
    return node("figure", { class: "array" }, node("figcaption", {}, node("b", {}, "dp/dz"), " how p[i], its rows, moves with z[j], its columns: dz is dy times this"), box);
  };
  const barsOf = (data) => {
    const texts = data.map(number), width = Math.max(SIDE, 8 * Math.max(...texts.map((t) => t.length)) + 10);
    const most = Math.max(1e-9, ...data.map(Math.abs)), height = 70;
    const svg = drawn("svg", { class: "map", width: MARGIN + data.length * width + 4, height, role: "img", "aria-label": `bars: ${texts.join(", ")}` });
    const low = Math.min(0, ...data), high = Math.max(0, ...data), scale = (height - 6) / (high - low || most);
    const base = 3 + high * scale;
    data.forEach((v, i) => {
      const size = Math.abs(v) * scale;
      svg.append(drawn("rect", { class: v < 0 ? "n5" : "p5", x: MARGIN + i * width + 5, y: v < 0 ? base : base - size, width: width - 10, height: size, rx: 2 }));
    });
    svg.append(drawn("path", { class: "axis", d: `M${MARGIN} ${base}h${data.length * width}` }));
    return svg;
  };
  const choose = (i, focus = false) => {
    const name = spec.backwards ? "dz" : "p", at = [0, 0, 0, i];
    selected = { name, at };
    for (const cell of panels.querySelectorAll(".cell")) cell.classList.remove("chosen", "taken");
    for (const cell of panels.querySelectorAll(`[data-array="${name}"]`)) cell.setAttribute("tabindex", "-1");
    const cell = cellAt(name, at);
    cell.setAttribute("tabindex", "0");
    cell.classList.add("chosen");
    if (focus) cell.focus();
    for (const other of ["z", "dy", "p"]) {
      if (other !== name) for (const one of panels.querySelectorAll(`[data-array="${other}"]`)) one.classList.add("taken");
    }
    const { z, dy, p, e, total, top, mean } = row;
    const digits = (v) => number(Number(v.toPrecision(4)));
    note.textContent = spec.backwards
      ? `dz[${i}] = p[${i}] (dy[${i}] − Σ dy[j] p[j]) = ${digits(p[i])} (${digits(dy[i])} − ${digits(mean)}) = ${digits(row.dz[i])}`
      : `p[${i}] = exp(z[${i}] − max z) / Σ exp(z[j] − max z) = exp(${digits(z[i])} − ${digits(top)}) / ${digits(total)} = ${digits(e[i])} / ${digits(total)} = ${digits(p[i])}`;
  };
  if (spec.kind === "softmax") {
    const name = spec.backwards ? "dz" : "p";
    const at = (event) => {
      const chosen = of(event.target);
      return chosen && (chosen.name === name || chosen.name === "z" || chosen.name === "dy" || chosen.name === "p") ? chosen.at[3] : null;
    };
    panels.addEventListener("click", (event) => { const i = at(event); if (i !== null) choose(i, true); });
    panels.addEventListener("keydown", (event) => {
      const i = at(event), step = STEPS[event.key];
      if (i === null || !step) return;
      event.preventDefault();
      const next = i + step[0] + step[1];
      if (next >= 0 && next < spec.count) choose(next, true);
    });
  }

  // What is shown, for tests: a call as the oracle takes it, and the answer.
  const sides = (v) => (spec.rank === 1 ? [v] : [v, v]);
  const inRank = (one) => (spec.rank === 1 ? { ...one, sides: [...one.sides.slice(0, 2), one.sides[3]] } : one);
  const called = () => {
    if (spec.kind === "softmax") return { call: { z: row.z, grad_output: row.dy, axis: 0 }, answer: row.answer };
    const options = { stride: sides(values.stride), padding: sides(values.padding ?? 0) };
    for (const name of ["dilation", "output_padding"]) if (name in values) options[name] = sides(values[name]);
    for (const name of ["groups", "ceil_mode", "count_include_pad"]) if (name in values) options[name] = values[name];
    if (isPool) options.kernel_size = sides(values.kernel);
    const depth = values.depth ?? 1, groups = values.groups ?? 1;
    const line = sides(values.size), channels = spec.operator === "conv_transpose" ? groups : groups * depth;
    options.input_shape = [1, channels, ...line];
    if (!isPool) options.weight_shape = [groups, depth, ...sides(values.kernel)];
    if (!current) return { call: options, message: note.textContent };
    for (const one of [...current.operands, ...(current.hidden ? [current.hidden] : [])]) {
      options[one.name] = nested(inRank(one));
    }
    return { call: options, answer: nested(inRank(current.answer)) };
  };
  window.gradoracle = { called };
  changed();
})();
