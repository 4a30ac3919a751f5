"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const make = (tag, text, name) => {
    const node = document.createElement(tag);
    if (text !== undefined && text !== null) node.textContent = text;
    if (name) node.className = name;
    return node;
  };
  const root = document.documentElement;
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const state = new URLSearchParams(location.hash.slice(1).includes("=") ? location.hash.slice(1) : "");
  const remember = (key, value) => {
    if (value) state.set(key, value); else state.delete(key);
    history.replaceState(null, "", "#" + state.toString());
  };

  /* Theme ------------------------------------------------------------------------------------------------------- */
  const setTheme = (theme) => {
    root.dataset.theme = theme;
    $("theme").textContent = theme === "dark" ? "Light" : "Dark";
    $("theme").setAttribute("aria-label", theme === "dark" ? "Switch to the light theme" : "Switch to the dark theme");
    all(".chart").forEach(repaint);
  };
  const toggleTheme = () => {
    const next = root.dataset.theme === "dark" ? "light" : "dark";
    remember("theme", next);
    setTheme(next);
  };

  /* Charts ------------------------------------------------------------------------------------------------------ */
  const figures = JSON.parse($("figures").textContent);
  const describe = (figure) => {
    const parts = figure.data.filter((t) => t.showlegend !== false && Array.isArray(t.y) && t.type !== "heatmap")
      .map((t) => {
        const ys = t.y.filter((y) => y !== null);
        return `${t.name}: ${Number(ys[0]).toPrecision(3)} at ${t.x[0]}, ${Number(ys[ys.length - 1]).toPrecision(3)} at ${t.x[t.x.length - 1]}`;
      });
    return `${figure.layout.title.text}. ${parts.join("; ")}`;
  };
  const painted = (figure) => {
    const data = figure.data.map((trace) => {
      const role = (trace.meta || {}).role;
      const copy = { ...trace };
      if (role === "heat") {
        copy.colorscale = [[0, colour("--heat")], [1, colour("--c-accent")]];
        copy.colorbar = { ...trace.colorbar, tickfont: { color: colour("--soft") }, title: { text: "pass rate", font: { color: colour("--soft") } } };
      } else if (role) {
        const own = trace.customColour || colour("--c-" + role);
        if (trace.line) copy.line = { ...trace.line, color: own };
        if (trace.marker) copy.marker = { ...trace.marker, color: own };
        if (trace.error_y) copy.error_y = { ...trace.error_y, color: own };
        if (trace.fill) { copy.fillcolor = fade(own, 0.16); copy.line = { width: 0 }; }
      }
      return copy;
    });
    const axis = (a) => ({ ...a, color: colour("--soft"), gridcolor: colour("--grid"), linecolor: colour("--line"), tickcolor: colour("--line"), title: { ...(a || {}).title, font: { color: colour("--soft"), size: 12 } } });
    const source = figure.layout;
    const xs = figure.data.filter((t) => t.type !== "heatmap").flatMap((t) => t.x).filter((x) => typeof x === "number");
    const few = xs.length && source.xaxis.type !== "log" && Math.max(...xs) - Math.min(...xs) <= 8 ? { dtick: 1 } : {};
    const layout = {
      ...source, title: undefined, height: undefined, autosize: true, showlegend: false, dragmode: false,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("--ink") },
      margin: { l: 46, r: 8, t: 8, b: 36 },
      hoverlabel: { bgcolor: colour("--raised"), bordercolor: colour("--line"), font: { color: colour("--ink"), size: 12 } },
      xaxis: { ...axis(source.xaxis), ...few }, yaxis: { ...axis(source.yaxis), exponentformat: "e" },
    };
    return [data, layout];
  };
  const fade = (hex, alpha) => {
    const n = parseInt(hex.slice(1), 16);
    return `rgba(${n >> 16}, ${(n >> 8) & 255}, ${n & 255}, ${alpha})`;
  };
  const frame = (node) => {
    const figure = figures[node.dataset.figure];
    const caption = make("figcaption");
    caption.append(make("b", figure.layout.title.text), make("span", (figure.layout.meta || {}).note || ""));
    const legend = make("ul", null, "legend");
    figure.data.filter((t) => t.showlegend !== false && t.type !== "heatmap").forEach((trace) => {
      const item = make("li");
      const key = make("i");
      key.dataset.role = (trace.meta || {}).role || "ink";
      item.append(key, document.createTextNode(trace.name || ""));
      legend.append(item);
    });
    const plot = make("div", null, "plot");
    plot.setAttribute("role", "img");
    plot.setAttribute("aria-label", describe(figure));
    node.replaceChildren(caption, legend, plot);
    if (!legend.children.length) legend.remove();
  };
  const keyColours = (node) => node.querySelectorAll("i[data-role]").forEach((key) => { key.style.background = colour("--c-" + key.dataset.role); });
  const repaint = (node) => {
    const plot = node.querySelector(".plot");
    if (!plot) return;
    keyColours(node);
    if (!plot.dataset.drawn) return;
    const [data, layout] = painted(figures[node.dataset.figure]);
    Plotly.react(plot, data, layout, { displayModeBar: false, responsive: true });
  };
  const draw = (node) => {
    const plot = node.querySelector(".plot");
    if (!plot || plot.dataset.drawn || node.hidden) return;
    plot.dataset.drawn = "yes";
    const [data, layout] = painted(figures[node.dataset.figure]);
    Plotly.newPlot(plot, data, layout, { displayModeBar: false, responsive: true });
    plot.on("plotly_click", (event) => {
      const point = event.points[0];
      if (node.dataset.figure === "map_train" && $("search")) {
        $("search").value = point.y;
        apply();
        $("rollouts").scrollIntoView();
      }
    });
  };
  const seen = new IntersectionObserver((entries) => {
    entries.filter((entry) => entry.isIntersecting).forEach((entry) => { draw(entry.target); seen.unobserve(entry.target); });
  }, { rootMargin: "300px" });
  const more = $("more");
  if (more) {
    more.open = innerWidth > 760;
    more.addEventListener("toggle", () => { if (more.open) more.querySelectorAll(".chart").forEach((node) => seen.observe(node)); });
  }
  const showCharts = () => all(".chart").forEach((node) => { frame(node); keyColours(node); seen.observe(node); });
  const chooseOne = (buttons, chosen) => buttons.forEach((b) => b.setAttribute("aria-pressed", String(b === chosen)));
  const maps = all("[data-map]");
  maps.forEach((button) => button.addEventListener("click", () => {
    chooseOne(maps, button);
    maps.forEach((other) => {
      const node = document.querySelector(`[data-figure="map_${other.dataset.map}"]`);
      node.hidden = other !== button;
      if (!node.hidden) draw(node);
    });
  }));
  const axes = all("[data-axis]");
  axes.forEach((button) => button.addEventListener("click", () => {
    chooseOne(axes, button);
    all("[data-of-axis]").forEach((node) => {
      node.hidden = node.dataset.ofAxis !== button.dataset.axis;
      if (!node.hidden) node.querySelectorAll(".chart").forEach(draw);
    });
  }));

  /* Packed data ------------------------------------------------------------------------------------------------- */
  const bytes = (text) => {
    if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
    const raw = atob(text);
    const out = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
    return out;
  };
  const unpack = async (text) => {
    const stream = new Blob([bytes(text.trim())]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  };
  const nats = (text) => {
    const raw = bytes(text);
    const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
    return Array.from({ length: raw.byteLength / 2 }, (_, i) => view.getUint16(2 * i, true) / 1000);
  };

  /* Rollouts ---------------------------------------------------------------------------------------------------- */
  const ROW = 58;
  const FIRST_TOKENS = 3000;
  const FIRST_LETTERS = 20000;
  let index = null;
  let view = [];
  let chosen = 0;
  const opened = new Map();
  const of = (name, i) => index[name].values[index[name].codes[i]];
  const FILTERS = {
    hard: (i) => index.prompt_accuracy[i] === 0,
    solved: (i) => index.solved[i],
    replayed: (i) => of("source", i) === "replay",
    wrong: (i) => !index.correct[i],
    truncated: (i) => of("finish", i) === "length",
    kept: (i) => index.kept[i],
  };
  const chips = all("[data-filter]");
  const active = () => chips.filter((c) => c.getAttribute("aria-pressed") === "true").map((c) => c.dataset.filter);
  const signed = (value) => (value === null || value === undefined ? "–" : (value > 0 ? "+" : value < 0 ? "−" : "") + Math.abs(value).toFixed(2));
  const apply = () => {
    const on = active();
    const step = $("step").value;
    const words = $("search").value.trim().toLowerCase();
    const matches = words ? new Set() : null;
    if (words) {
      ["id", "problem"].forEach((name) => index[name].values.forEach((value, code) => { if ((value || "").toLowerCase().includes(words)) matches.add(name + code); }));
    }
    const before = view[chosen];
    view = [];
    for (let i = 0; i < index.count; i++) {
      if (step && String(index.step[i]) !== step) continue;
      if (matches && !matches.has("id" + index.id.codes[i]) && !matches.has("problem" + index.problem.codes[i])) continue;
      if (on.every((name) => FILTERS[name](i))) view.push(i);
    }
    $("count").textContent = view.length === index.count ? `${index.count} rollouts` : `${view.length} of ${index.count} rollouts`;
    remember("filter", on.join(","));
    remember("step", step);
    remember("search", words);
    chosen = Math.max(0, view.indexOf(before));
    $("spacer").style.height = view.length * ROW + "px";
    choose(chosen);
  };
  const row = (place) => {
    const i = view[place];
    const node = make("div", null, "row");
    node.id = "row" + place;
    node.setAttribute("role", "option");
    node.setAttribute("aria-selected", String(place === chosen));
    node.setAttribute("aria-setsize", view.length);
    node.setAttribute("aria-posinset", place + 1);
    node.style.top = place * ROW + "px";
    const right = index.correct[i];
    const mark = make("span", right ? "✓" : "✗", right ? "mark ok" : "mark");
    mark.setAttribute("aria-label", right ? "right" : "wrong");
    mark.setAttribute("role", "img");
    const name = make("span", null, "name");
    shown(name, of("id", i));
    node.append(mark, name, make("span", signed(index.advantage[i]), "adv"));
    const meta = [`step ${index.step[i]}`, of("source", i), `${index.tokens[i]} tokens`];
    if (of("finish", i) === "length") meta.push("truncated");
    if (index.solved[i]) meta.push("solved by exploration");
    else if (index.prompt_accuracy[i] === 0) meta.push("hard");
    node.append(make("span", meta.join(" · "), "meta"));
    node.addEventListener("click", () => { choose(place); $("list").focus({ preventScroll: true }); });
    return node;
  };
  const paintList = () => {
    const list = $("list");
    const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 6);
    const last = Math.min(view.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + 6);
    const rows = [];
    for (let place = first; place < last; place++) rows.push(row(place));
    if (chosen < view.length && (chosen < first || chosen >= last)) rows.push(row(chosen));
    $("spacer").replaceChildren(...rows);
    if (view.length) list.setAttribute("aria-activedescendant", "row" + chosen);
    else list.removeAttribute("aria-activedescendant");
  };
  const choose = (place) => {
    chosen = Math.min(Math.max(0, place), Math.max(0, view.length - 1));
    const list = $("list");
    const top = chosen * ROW;
    if (top < list.scrollTop) list.scrollTop = top;
    else if (top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
    paintList();
    show();
  };
  const detail = async (i) => {
    const number = Math.floor(i / index.block);
    if (!opened.has(number)) {
      if (opened.size > 8) opened.delete(opened.keys().next().value);
      opened.set(number, unpack(all("script.block")[number].textContent));
    }
    return (await opened.get(number))[i % index.block];
  };

  /* A character that would turn the text around or is not visible is shown by its number. */
  const HIDDEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;
  const shown = (node, text) => {
    let start = 0;
    for (const match of String(text ?? "").matchAll(HIDDEN)) {
      if (match.index > start) node.append(text.slice(start, match.index));
      node.append(make("span", "U+" + match[0].codePointAt(0).toString(16).toUpperCase().padStart(4, "0"), "escape"));
      start = match.index + match[0].length;
    }
    node.append(String(text ?? "").slice(start));
  };
  const pairs = (entries) => {
    const list = make("dl", null, "numbers");
    entries.filter(([, value]) => value !== null && value !== undefined && value !== "").forEach(([name, value]) => {
      const box = make("div");
      const dd = make("dd");
      shown(dd, String(value));
      box.append(make("dt", name), dd);
      list.append(box);
    });
    return list;
  };
  const model = (found) => {
    const box = make("div", null, "model");
    const kind = $("colour").value;
    const values = kind === "none" || !found[kind] ? [] : nats(found[kind]);
    const most = Math.max(kind === "entropy" ? 1 : 2, ...values.slice(0, 200000).map(Number).filter(Number.isFinite).slice(0, 100000));
    const pieces = found.pieces || [found.text];
    let done = 0;
    const add = (limit, letters) => {
      const part = document.createDocumentFragment();
      let used = 0;
      for (; done < pieces.length && done < limit && used < letters; done++) {
        const span = make("span");
        let piece = pieces[done];
        if (piece.length > letters - used && used + piece.length > letters) {
          pieces.splice(done, 1, piece.slice(0, letters - used), piece.slice(letters - used));
          if (values.length) values.splice(done, 0, values[done]);
          piece = pieces[done];
        }
        used += piece.length;
        shown(span, piece);
        if (done < values.length) {
          span.dataset.v = values[done].toFixed(3);
          span.style.background = `rgba(${colour("--accent-rgb")}, ${(0.42 * Math.sqrt(Math.min(1, values[done] / most))).toFixed(3)})`;
        }
        part.append(span);
      }
      box.append(part);
    };
    add(FIRST_TOKENS, FIRST_LETTERS);
    return { box, kind, most, has: values.length > 0, more: () => done < pieces.length, add: () => add(done + 10 * FIRST_TOKENS, 10 * FIRST_LETTERS) };
  };
  const picture = (i, number, texts) => {
    const image = new Image();
    image.alt = `Picture ${number + 1} of the problem`;
    image.src = "data:" + texts[index.images[i][number]].textContent.trim();
    return image;
  };
  const head = (i) => {
    const header = make("header");
    const title = make("h3");
    shown(title, of("id", i));
    header.append(title, make("span", index.correct[i] ? "right" : "wrong", index.correct[i] ? "tag good" : "tag bad"));
    const reason = (of("reason", i) || "").replaceAll("_", " ");
    if (reason !== "wrong") header.append(make("span", reason, "tag"));
    const steps = make("span", null, "stepper");
    [["Previous", -1], ["Next", 1]].forEach(([label, by]) => {
      const button = make("button", label, "ghost");
      button.type = "button";
      button.addEventListener("click", () => choose(chosen + by));
      steps.append(button);
    });
    header.append(steps);
    return header;
  };
  let turn = 0;
  const show = async () => {
    const box = $("detail");
    const mine = ++turn;
    if (!view.length) {
      box.replaceChildren(make("p", "No rollout passes these filters.", "empty"));
      return;
    }
    const i = view[chosen];
    const found = await detail(i);
    if (mine !== turn) return;
    const problem = make("div", null, "problem");
    const texts = all("script.picture");
    const numbers = index.images[i].map((place, number) => number).filter((number) => index.images[i][number] !== null);
    if (numbers.length) {
      const pictures = make("div", null, "pictures");
      pictures.append(...numbers.map((number) => picture(i, number, texts)));
      problem.append(pictures);
    } else if (index.images[i].length) problem.append(make("p", "The picture is in the run folder only.", "tag"));
    const words = make("div", null, "words");
    const question = make("p", null, "said");
    shown(question, numbers.length ? of("problem", i).replaceAll("<image>", "").trim() : of("problem", i));
    const gold = make("p", null, "said");
    shown(gold, of("gold", i));
    const read = make("p", null, "said");
    shown(read, found.extracted === null ? "no answer found" : found.extracted);
    words.append(make("p", "Question", "label"), question, make("p", "Right answer", "label"), gold, make("p", "Answer read", "label"), read);
    problem.append(words);
    const told = model(found);
    const parts = [head(i), problem, make("p", "Completion", "label"), told.box];
    if (told.more()) {
      const more = make("button", "Show more of this completion", "ghost more");
      more.type = "button";
      more.addEventListener("click", () => { told.add(); if (!told.more()) more.remove(); });
      parts.push(more);
    }
    if (told.has) {
      const scale = make("p", null, "scale");
      scale.append(`0 nats`, make("i"), `${told.most.toFixed(2)} nats ${told.kind === "entropy" ? "of entropy" : "of surprise (−log p)"}`);
      parts.push(scale);
    } else if (told.kind !== "none") parts.push(make("p", `This rollout was not scored, so it has no ${told.kind} per token.`, "scale"));
    parts.push(pairs([
      ["advantage", signed(index.advantage[i])], ["reward", found.rewards[2]], ["accuracy, format", `${found.rewards[0]}, ${found.rewards[1]}`],
      ["after shaping", found.rewards[3]], ["in training", index.kept[i] ? of("why", i) : `no: ${(of("why", i) || "").replaceAll("_", " ")}`],
      ["finish", of("finish", i)], ["source", of("source", i)], ["temperature", index.temperature[i]], ["mean entropy", index.mean_entropy[i]],
      ["tokens", index.tokens[i]], ["prompt's pass rate", index.prompt_accuracy[i]], ["sampled in step", index.born[i]], ["uses before", index.uses[i]],
    ]));
    box.replaceChildren(...parts);
    box.scrollTop = 0;
  };
  const startRollouts = async () => {
    if (!$("index")) return;
    index = await unpack($("index").textContent);
    [...new Set(index.step)].sort((a, b) => a - b).forEach((step) => $("step").append(make("option", String(step))));
    (state.get("filter") || "").split(",").filter(Boolean).forEach((name) => { const chip = chips.find((c) => c.dataset.filter === name); if (chip) chip.setAttribute("aria-pressed", "true"); });
    $("step").value = state.get("step") || "";
    $("search").value = state.get("search") || "";
    if (state.get("colour")) $("colour").value = state.get("colour");
    chips.forEach((chip) => chip.addEventListener("click", () => { chip.setAttribute("aria-pressed", String(chip.getAttribute("aria-pressed") !== "true")); apply(); }));
    $("step").addEventListener("change", apply);
    $("search").addEventListener("input", apply);
    $("colour").addEventListener("change", () => { remember("colour", $("colour").value); show(); });
    $("list").addEventListener("scroll", paintList, { passive: true });
    new ResizeObserver(paintList).observe($("list"));
    $("list").addEventListener("keydown", (event) => {
      const page = Math.max(1, Math.floor($("list").clientHeight / ROW) - 1);
      const to = { ArrowDown: chosen + 1, ArrowUp: chosen - 1, PageDown: chosen + page, PageUp: chosen - page, Home: 0, End: view.length - 1 }[event.key];
      if (to !== undefined) { event.preventDefault(); choose(to); }
    });
    apply();
    const place = view.indexOf(Number(state.get("at")));
    if (state.has("at") && place >= 0) choose(place);
    root.dataset.ready = "yes";
  };

  /* Keys, tip, live --------------------------------------------------------------------------------------------- */
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (typing) { if (event.key === "Escape") event.target.blur(); return; }
    if (event.key === "t") { toggleTheme(); return; }
    if (!index) return;
    if (event.key === "j") choose(chosen + 1);
    else if (event.key === "k") choose(chosen - 1);
    else if (event.key === "c") { const select = $("colour"); select.selectedIndex = (select.selectedIndex + 1) % select.options.length; select.dispatchEvent(new Event("change")); }
    else if (event.key === "/") { event.preventDefault(); $("search").focus(); }
    else if (chips[Number(event.key) - 1]) chips[Number(event.key) - 1].click();
  });
  const tip = make("div", null, "tip");
  tip.hidden = true;
  tip.setAttribute("role", "tooltip");
  document.body.append(tip);
  document.addEventListener("pointerover", (event) => {
    const span = event.target.closest ? event.target.closest(".model span[data-v]") : null;
    tip.hidden = !span;
    if (!span) return;
    tip.textContent = `${span.dataset.v} nats`;
    const place = span.getBoundingClientRect();
    tip.style.left = Math.max(8, Math.min(place.left, innerWidth - 120)) + "px";
    tip.style.top = Math.max(8, place.top - 32) + "px";
  });
  const startLive = () => {
    const button = $("live");
    if (!button) return;
    let known = null;
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(on));
      remember("live", on ? "" : "off");
    });
    if (state.get("live") === "off") button.setAttribute("aria-pressed", "false");
    setInterval(async () => {
      if (button.getAttribute("aria-pressed") !== "true") return;
      try {
        const now = await (await fetch("version", { cache: "no-store" })).text();
        if (known !== null && now !== known) {
          remember("at", view.length ? String(view[chosen]) : "");
          location.reload();
        }
        known = now;
        button.lastChild.textContent = "Live";
      } catch { button.lastChild.textContent = "Not reached"; }
    }, Number(root.dataset.every || 3000));
  };

  $("theme").addEventListener("click", toggleTheme);
  setTheme(state.get("theme") || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
  showCharts();
  startLive();
  startRollouts();
})();
