"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const read = (id) => JSON.parse($(id).textContent);
  const PAGE = 60; // images at once
  const MARKS = ["good", "bad", "unsure"];
  const SHAPES = { NG: "▲", REVIEW: "◆", ERROR: "✕", OK: "●", "": "●" };
  const NAMES = { "": "not decided" };
  const SVG = "http://www.w3.org/2000/svg";
  const rows = read("rows"); // by rank
  const batch = read("batch");
  document.documentElement.classList.add("js");

  const number = (value) => (value === null ? "–" : Number(value.toPrecision(4)).toString().replace("-", "−"));
  const data = (kind, row) => $(`${kind}-${row.place}`)?.textContent ?? "";
  const counted = (values) => values.reduce((all, v) => all.set(v, (all.get(v) ?? 0) + 1), new Map());
  const make = (name, properties = {}) => Object.assign(document.createElement(name), properties);
  const draw = (parent, name, attributes) => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return parent.appendChild(element);
  };
  const said = (row) => `${SHAPES[row.decision]} ${NAMES[row.decision] ?? row.decision}`;
  const facts = (row) => [
    row.score === null ? "" : `score ${number(row.score)}`,
    row.p_value === null ? "" : `p ${number(row.p_value)}`,
    row.reason === "drift" ? `drift ${number(row.drift)}` : "",
  ].filter(Boolean).join(", ");

  // Marks: kept by the browser under a key of this batch alone, or until the page is closed.
  const marks = new Map();
  let kept = true;
  try {
    const known = new Set(rows.map((row) => row.place));
    for (const [place, mark] of Object.entries(JSON.parse(localStorage.getItem(batch.key) ?? "{}"))) {
      if (MARKS.includes(mark) && known.has(Number(place))) marks.set(Number(place), mark);
    }
  } catch { kept = false; }
  const markable = rows.filter((row) => row.decision !== "ERROR");
  const tell = () => {
    const of = counted([...marks.values()]);
    $("marked").textContent = `${marks.size} of ${markable.length}`;
    $("marks-text").textContent = MARKS.map((mark) => `${of.get(mark) ?? 0} ${mark}`).join(", ");
    $("kept").textContent = kept ? "" : "This browser keeps no marks: export them before you close the page.";
  };
  const setMark = (row, mark) => {
    if (row.decision === "ERROR") return;
    if (mark === "" || marks.get(row.place) === mark) marks.delete(row.place);
    else marks.set(row.place, mark);
    try { localStorage.setItem(batch.key, JSON.stringify(Object.fromEntries(marks))); } catch { kept = false; }
    document.querySelectorAll(`.marks[data-place="${row.place}"]`).forEach((group) => press(group, row));
    tell();
  };
  const press = (group, row) => {
    for (const button of group.children) {
      button.setAttribute("aria-pressed", String(marks.get(row.place) === button.value));
    }
  };
  const markButtons = (group, row, { tab }) => {
    group.dataset.place = row.place;
    group.replaceChildren(...MARKS.map((mark) => {
      const button = make("button", { type: "button", value: mark, textContent: mark, className: `m-${mark}` });
      button.disabled = row.decision === "ERROR";
      if (!tab) button.tabIndex = -1; // a key does it there
      button.addEventListener("click", () => setMark(row, mark));
      return button;
    }));
    press(group, row);
  };
  const keyMark = (key) => ({ g: "good", b: "bad", u: "unsure", 0: "" })[key];

  // The list: filtered, ordered, a page at a time.
  const form = $("filter");
  const tiles = $("tiles");
  let shown = rows;
  let first = 0;
  const option = (select, text, value) => select.append(make("option", { textContent: text, value }));
  for (const [decision, n] of counted(rows.map((row) => row.decision))) {
    option(form.elements.decision, `${NAMES[decision] ?? decision} (${n})`, `is ${decision}`);
  }
  [...counted(rows.map((row) => row.folder))].sort().forEach(([folder, n], i) => {
    option(form.elements.folder, `${folder} (${n})`, `is ${folder}`);
  });
  const collator = new Intl.Collator("en", { numeric: true });
  const last = (a, b, way) => (a === null || b === null ? (a === null) - (b === null) : way(a, b));
  const ORDERS = {
    rank: null,
    place: (a, b) => a.place - b.place,
    score: (a, b) => last(a.score, b.score, (x, y) => y - x),
    drift: (a, b) => last(a.drift, b.drift, (x, y) => y - x),
    name: (a, b) => collator.compare(a.name, b.name),
  };
  const chosen = (row) => {
    const { text, decision, folder, mark } = form.elements;
    const its = marks.get(row.place) ?? "none";
    return row.name.toLowerCase().includes(text.value.trim().toLowerCase())
      && (!decision.value || `is ${row.decision}` === decision.value
        || (decision.value === "flagged" && ["NG", "REVIEW"].includes(row.decision)))
      && (!folder.value || `is ${row.folder}` === folder.value)
      && (!mark.value || its === mark.value);
  };
  const filter = () => {
    const order = ORDERS[form.elements.order.value];
    shown = rows.filter(chosen);
    if (order) shown.sort(order);
    first = 0;
    show();
  };
  const together = (a, b) => { // the folders that two names share
    const [x, y] = [a, b].map((name) => name.split("/").slice(0, -1));
    const apart = x.findIndex((step, i) => step !== y[i]);
    return (apart < 0 ? x : x.slice(0, apart)).map((step) => `${step}/`).join("");
  };
  const shared = rows.map((row) => row.name).reduce((a, b) => together(a, b), rows[0]?.name ?? "");
  const tile = (row) => {
    const item = $("tile").content.firstElementChild.cloneNode(true);
    const [image, open] = [item.querySelector("img"), item.querySelector(".open")];
    const small = data("small", row);
    if (small) image.src = `data:image/jpeg;base64,${small}`;
    else item.querySelector(".frame").append(row.decision === "ERROR" ? "not readable" : "no picture");
    item.dataset.place = row.place;
    const shape = item.querySelector(".said");
    shape.append(make("b", { className: (row.decision || "ok").toLowerCase(), textContent: said(row) }), ` ${facts(row)}`);
    item.querySelector(".name").textContent = row.name.slice(rows.length > 1 ? shared.length : 0);
    item.querySelector(".name").title = row.name;
    open.setAttribute("aria-label", `${row.decision || "image"} ${facts(row)}: ${row.name}`);
    open.addEventListener("click", () => openBox(row));
    const group = item.querySelector(".marks");
    group.setAttribute("aria-label", `Mark ${row.name}`);
    markButtons(group, row, { tab: false });
    return item;
  };
  const show = () => {
    tiles.replaceChildren(...shown.slice(first, first + PAGE).map(tile));
    const end = Math.min(first + PAGE, shown.length);
    $("shown").textContent = shown.length ? `${first + 1}–${end} of ${shown.length}` : `0 of ${rows.length}`;
    document.querySelectorAll("[data-step]").forEach((button) => {
      button.disabled = button.dataset.step < 0 ? first === 0 : end === shown.length;
    });
  };
  const turn = (row) => { // to the page that shows a row
    const place = shown.indexOf(row);
    const wanted = place < 0 ? first : place - (place % PAGE);
    if (wanted !== first) { first = wanted; show(); }
  };
  document.querySelectorAll("[data-step]").forEach((button) => button.addEventListener("click", () => {
    first += PAGE * Number(button.dataset.step);
    show();
    $("images-title").scrollIntoView();
  }));
  const typed = (event) => event.target === form.elements.text;
  form.addEventListener("input", (event) => { if (typed(event)) filter(); });
  // The text field says "change" when it is left: a tile that is clicked then would be drawn anew and miss the click.
  form.addEventListener("change", (event) => { if (!typed(event)) filter(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(filter));
  const focus = (item) => { item?.querySelector(".open").focus(); };
  tiles.addEventListener("keydown", (event) => {
    const item = event.target.closest("li");
    if (!item || event.ctrlKey || event.metaKey || event.altKey) return;
    const list = [...tiles.children];
    const place = list.indexOf(item);
    const columns = list.filter((other) => other.offsetTop === list[0].offsetTop).length;
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[event.key];
    const mark = keyMark(event.key);
    if (step !== undefined) {
      focus(list[place + step]);
      event.preventDefault();
    } else if (mark !== undefined) {
      setMark(shown[first + place], mark);
      if (mark && list[place + 1]) focus(list[place + 1]);
      event.preventDefault();
    }
  });

  // The lightbox.
  const box = $("box");
  let current = null;
  let full = false;
  const place = () => {
    const { clientWidth: width, clientHeight: height } = $("stage");
    const [h, w] = current.size ?? [1, 1];
    const fit = Math.min(width / w, height / h);
    const ratio = full ? 1 : Math.min(fit, 3);
    $("picture").style.width = `${Math.max(1, Math.round(w * ratio))}px`;
    $("picture").style.height = `${Math.max(1, Math.round(h * ratio))}px`;
    $("scale").setAttribute("aria-pressed", String(full));
  };
  const drawBoxes = (row) => {
    $("frame").querySelector("svg")?.remove();
    if (!row.size) return;
    const svg = draw($("frame"), "svg", { viewBox: `0 0 ${row.size[1]} ${row.size[0]}`, preserveAspectRatio: "none" });
    for (const [x, y, width, height] of row.boxes) {
      for (const name of ["edge", "line"]) draw(svg, "rect", { x, y, width, height, class: name });
    }
    svg.toggleAttribute("hidden", !$("boxes").checked);
  };
  const image = (element, type, text) => {
    if (text) element.src = `data:image/${type};base64,${text}`;
    else element.removeAttribute("src");
  };
  const openBox = (row) => {
    current = row;
    const own = data("native", row);
    image($("picture"), "jpeg", own || data("small", row));
    $("picture").alt = row.name;
    image($("heat"), "png", data("map", row));
    $("box-name").textContent = row.name;
    const size = row.size ? `${row.size[1]} × ${row.size[0]} pixels` : "";
    const small = !own && row.size ? "enlarged from a small picture: the others take all of the page's limit" : "";
    const drift = row.drift === null ? "" : `drift ${number(row.drift)}, p ${number(row.drift_p_value)}`;
    const numbers = [row.score === null ? "" : `score ${number(row.score)}`, row.p_value === null ? "" : `p ${number(row.p_value)}`];
    const boxes = row.more_boxes ? `${row.more_boxes} more boxes` : "";
    const why = row.decision === "ERROR" ? row.reason : "";
    $("box-facts").textContent = [said(row), ...numbers, drift, why, size, small, boxes, `image ${row.place} of ${rows.length}`]
      .filter(Boolean).join(" · ");
    markButtons($("box-marks"), row, { tab: true });
    drawBoxes(row);
    if (!box.open) box.showModal();
    $("heat").style.opacity = $("opacity").value / 100;
    place();
    const at = shown.indexOf(row);
    $("before").disabled = at <= 0;
    $("after").disabled = at < 0 || at === shown.length - 1;
    drawTimeline();
  };
  const step = (by) => {
    const next = shown[shown.indexOf(current) + by];
    if (next && shown.includes(current)) openBox(next);
  };
  let opacity = $("opacity").value;
  const setOpacity = (value) => {
    $("opacity").value = value;
    $("heat").style.opacity = value / 100;
  };
  const setFull = (value) => { full = value; place(); };
  $("opacity").addEventListener("input", (event) => setOpacity(event.target.value));
  $("boxes").addEventListener("change", () => drawBoxes(current));
  $("scale").addEventListener("click", () => setFull(!full));
  $("before").addEventListener("click", () => step(-1));
  $("after").addEventListener("click", () => step(1));
  $("close").addEventListener("click", () => box.close());
  box.addEventListener("close", () => {
    turn(current);
    focus(tiles.querySelector(`[data-place="${current.place}"]`));
    current = null;
    drawTimeline();
  });
  document.addEventListener("keydown", (event) => { // not the box's own: a button that is disabled loses the focus
    if (!box.open || event.ctrlKey || event.metaKey || event.altKey) return;
    const mark = keyMark(event.key);
    const sliding = event.target === $("opacity") && event.key.startsWith("Arrow");
    const scrolling = event.target === $("stage") && full;
    if (["ArrowLeft", "ArrowRight"].includes(event.key) && !sliding && !scrolling) step(event.key === "ArrowLeft" ? -1 : 1);
    else if (mark !== undefined) {
      setMark(current, mark);
      if (mark) step(1);
    } else if (event.key === "h") {
      if ($("opacity").value > 0) opacity = $("opacity").value;
      setOpacity($("opacity").value > 0 ? 0 : opacity);
    } else if (event.key === "x") $("boxes").click();
    else if (event.key === "z") setFull(!full);
    else return;
    event.preventDefault();
  });

  // Export: a line for each image of the batch, marked or not, in the order of the batch.
  const cell = (value) => {
    const text = String(value ?? "");
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const csv = () => {
    const ordered = [...rows].sort(ORDERS.place);
    const values = (row) => ({ ...row, file: row.file ?? row.name, mark: marks.get(row.place), of: rows.length });
    const lines = ordered.map((row) => batch.columns.map((column) => cell(values(row)[column])).join(","));
    return [batch.columns.join(","), ...lines].join("\n") + "\n";
  };
  $("export").addEventListener("click", () => {
    const address = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    make("a", { href: address, download: batch.csv }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  });

  // The timeline: a mark for each image, thresholds as lines.
  const DOTS = {
    ok: (x, y) => `M${x - 1.6} ${y}a1.6 1.6 0 1 0 3.2 0a1.6 1.6 0 1 0 -3.2 0z`,
    review: (x, y) => `M${x} ${y - 4}l4 4l-4 4l-4 -4z`,
    ng: (x, y) => `M${x} ${y - 4.5}l4.5 8h-9z`,
  };
  const series = (figure, field, limits, height) => {
    const points = rows.filter((row) => row[field] !== null);
    figure.hidden = !points.length;
    if (!points.length) return;
    figure.querySelector("svg")?.remove();
    const width = figure.clientWidth;
    const values = [...points.map((row) => row[field]), ...limits.map(([, value]) => value)];
    const low = values.reduce((a, b) => Math.min(a, b));
    const high = Math.max(values.reduce((a, b) => Math.max(a, b)), low + 1e-9);
    const x = (row) => Math.round(10 * (8 + (width - 16) * (rows.length > 1 ? (row.place - 1) / (rows.length - 1) : 0.5))) / 10;
    const y = (value) => Math.round(10 * (8 + (height - 16) * (1 - (value - low) / (high - low)))) / 10;
    const label = `${figure.querySelector("figcaption").textContent} of ${points.length} images, from ${number(low)} to ${number(high)}`;
    const svg = draw(figure, "svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": label });
    for (const kind of ["ok", "review", "ng"]) {
      const mine = points.filter((row) => (["REVIEW", "NG"].includes(row.decision) ? row.decision.toLowerCase() : "ok") === kind);
      draw(svg, "path", { class: kind, d: mine.map((row) => DOTS[kind](x(row), y(row[field]))).join("") });
    }
    for (const [name, value, kind] of limits) {
      draw(svg, "path", { class: `limit ${kind}`, d: `M0 ${y(value)}H${width}` });
      // On two sides, for the lines may be close: NG above its line, REVIEW below, where there is room.
      const [at, anchor] = kind === "ng" ? [6, "start"] : [width - 6, "end"];
      const below = kind === "ng" ? y(value) < 18 : y(value) < height - 18;
      const text = draw(svg, "text", { x: at, y: y(value) + (below ? 13 : -4), "text-anchor": anchor });
      text.textContent = `${name} ${number(value)}`;
    }
    if (current && current[field] !== null) draw(svg, "path", { class: "here", d: `M${x(current)} 0V${height}` });
    svg.addEventListener("click", (event) => {
      const at = event.clientX - svg.getBoundingClientRect().left;
      const distance = (row) => Math.hypot(x(row) - at, y(row[field]) - (event.clientY - svg.getBoundingClientRect().top));
      openBox(points.reduce((a, b) => (distance(b) < distance(a) ? b : a)));
    });
  };
  const drawTimeline = () => {
    const { review, ng } = batch.thresholds;
    const same = review === ng;
    const limits = [["NG above", ng, "ng"], ["REVIEW above", same ? null : review, "review"]];
    series($("scores"), "score", limits.filter(([, value]) => value !== null), 150);
    series($("drifts"), "drift", batch.drift === null ? [] : [["REVIEW above", batch.drift, "review"]], 100);
  };

  const of = counted(rows.map((row) => row.decision));
  $("flagged").textContent = `${(of.get("NG") ?? 0) + (of.get("REVIEW") ?? 0)} of ${rows.length}`;
  $("decisions").textContent = [...of].map(([decision, n]) => `${n} ${NAMES[decision] ?? decision}`).join(", ");
  const there = (kind) => document.querySelectorAll(`script[id^="${kind}-"]`).length;
  $("natives").textContent = there("native");
  $("smalls").textContent = `${there("small")} small`;
  tell();
  filter();
  drawTimeline();
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth !== width) drawTimeline();
    width = innerWidth;
    if (current) place();
  });
})();
