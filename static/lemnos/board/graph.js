/* Tasks and what they wait for, drawn in layers: pan, zoom, open; the same as a list beside it. */

import { $, $$, calm, h, setText } from "./dom.js";
import { call } from "./api.js";
import { announce } from "./say.js";

const SPACE = "http://www.w3.org/2000/svg";
const [WIDE, HIGH, GAP_X, GAP_Y] = [190, 52, 70, 18];
const WORDS = { pending: "waiting", assigned: "taken", running: "running", completed: "completed", under_review: "under review", validating: "in review", needs_work: "sent back", blocked: "blocked", failed: "failed", cancelled: "cancelled", duplicated: "duplicate" };

function s(tag, props, ...children) {
  const element = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(props)) if (value !== null && value !== undefined) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/* Layer of each node: behind all that it waits for. What is left of a circle goes last. */
export function layers(nodes, edges) {
  const ids = new Set(nodes.map((node) => node.id));
  const inside = edges.filter(({ from, to }) => ids.has(from) && ids.has(to));
  const waits = new Map(nodes.map((node) => [node.id, 0]));
  const next = new Map(nodes.map((node) => [node.id, []]));
  for (const { from, to } of inside) {
    waits.set(to, waits.get(to) + 1);
    next.get(from).push(to);
  }
  const layer = new Map();
  let front = nodes.filter((node) => !waits.get(node.id)).map((node) => node.id);
  for (let depth = 0; front.length; depth += 1) {
    const then = [];
    for (const id of front) {
      layer.set(id, depth);
      for (const to of next.get(id)) {
        waits.set(to, waits.get(to) - 1);
        if (!waits.get(to)) then.push(to);
      }
    }
    front = then;
  }
  for (const { id } of nodes) if (!layer.has(id)) layer.set(id, 0);
  return { layer, inside };
}

/* Places: a column per layer, in it below those it comes from, so that lines cross little. */
export function places(nodes, edges) {
  const { layer, inside } = layers(nodes, edges);
  const rows = [];
  for (const node of nodes) (rows[layer.get(node.id)] ||= []).push(node.id);
  const row = new Map();
  for (const ids of rows) {
    const weight = (id) => {
      const before = inside.filter(({ to }) => to === id).map(({ from }) => row.get(from) ?? 0);
      return before.length ? before.reduce((a, b) => a + b, 0) / before.length : Number.MAX_SAFE_INTEGER;
    };
    const ordered = ids.map((id, at) => [weight(id), at, id]).sort(([a, i], [b, j]) => a - b || i - j);
    ordered.forEach(([, , id], at) => row.set(id, at));
  }
  const at = new Map(nodes.map(({ id }) => [id, { x: layer.get(id) * (WIDE + GAP_X), y: row.get(id) * (HIGH + GAP_Y) }]));
  return { at, inside };
}

export class Graph {
  #box;
  #url;
  #onOpen;
  #svg;
  #drawing;
  #view = { x: 0, y: 0, scale: 1 };
  #size = { width: 0, height: 0 };
  #stamp = 0;
  #told = "";

  /* `url()` is what is asked; `onOpen(node)` follows a click. */
  constructor(box, { url, onOpen }) {
    this.#box = box;
    this.#url = url;
    this.#onOpen = onOpen;
    this.#drawing = s("g", {});
    this.#svg = s("svg", { class: "graph-canvas", tabindex: "0", role: "group", "aria-roledescription": "graph", "aria-label": "Tasks and what they wait for; arrow keys pan, plus and minus zoom" }, s("defs", {}, s("marker", { id: "graph-tip", viewBox: "0 0 8 8", refX: "7", refY: "4", markerWidth: "7", markerHeight: "7", orient: "auto-start-reverse" }, s("path", { d: "M0 0L8 4L0 8z" }))), this.#drawing);
    const tools = h("div", { class: "graph-tools", role: "group", "aria-label": "Zoom" },
      h("button", { type: "button", on: { click: () => this.#zoom(1.25) }, "aria-label": "Zoom in" }, "+"),
      h("button", { type: "button", on: { click: () => this.#zoom(0.8) }, "aria-label": "Zoom out" }, "−"),
      h("button", { type: "button", on: { click: () => this.fit() } }, "Fit"));
    this.list = h("ol", { class: "graph-list", "aria-label": "The same as a list" });
    this.note = h("p", { class: "graph-note muted", role: "status" });
    box.replaceChildren(h("div", { class: "graph-stage" }, this.#svg, tools, this.note), this.list);
    this.#wire();
  }

  #wire() {
    let held = null;
    this.#svg.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      held = { x: event.clientX, y: event.clientY, moved: false };
    });
    this.#svg.addEventListener("pointermove", (event) => {
      if (!held) return;
      const [dx, dy] = [event.clientX - held.x, event.clientY - held.y];
      if (!held.moved && Math.hypot(dx, dy) < 4) return;
      if (!held.moved) this.#svg.setPointerCapture(event.pointerId);
      held = { x: event.clientX, y: event.clientY, moved: true };
      this.#pan(dx, dy);
    });
    const end = () => setTimeout(() => (held = null), 0);
    this.#svg.addEventListener("pointerup", end);
    this.#svg.addEventListener("pointercancel", end);
    this.#svg.addEventListener("click", (event) => {
      if (held?.moved) return;
      this.#follow(event.target.closest("[data-node]"));
    });
    this.#svg.addEventListener("wheel", (event) => {
      event.preventDefault();
      if (event.ctrlKey || event.metaKey) this.#zoom(event.deltaY < 0 ? 1.12 : 0.89, event);
      else this.#pan(-event.deltaX, -event.deltaY);
    }, { passive: false });
    this.#svg.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] }[event.key];
      if (by) this.#pan(...by);
      else if (event.key === "+" || event.key === "=") this.#zoom(1.25);
      else if (event.key === "-") this.#zoom(0.8);
      else if (event.key === "0") this.fit();
      else return;
      event.preventDefault();
    });
  }

  #follow(element) {
    const node = element && this.nodes?.find((one) => one.id === element.dataset.node);
    if (node) this.#onOpen(node);
  }

  /* Ask and draw; what is drawn already is left alone where nothing changed. */
  async load({ fit = false } = {}) {
    const stamp = ++this.#stamp;
    if (!this.nodes) setText(this.note, "Reading the graph…");
    try {
      const graph = await call("GET", this.#url());
      if (stamp !== this.#stamp) return;
      const told = JSON.stringify(graph);
      if (told === this.#told && !fit) return;
      const first = !this.nodes;
      this.#told = told;
      this.#draw(graph);
      if (first || fit) this.fit();
    } catch (refusal) {
      if (stamp === this.#stamp) setText(this.note, `${refusal.message} ${refusal.remedy || ""}`.trim());
    }
  }

  #draw({ nodes, edges, truncated }) {
    this.nodes = nodes;
    const { at, inside } = places(nodes, edges);
    this.#size = { width: Math.max(0, ...[...at.values()].map((p) => p.x)) + WIDE, height: Math.max(0, ...[...at.values()].map((p) => p.y)) + HIGH };
    const lines = inside.map(({ from, to, type, discovery_type: kind }) => {
      const [a, b] = [at.get(from), at.get(to)];
      const [x1, y1, x2, y2] = [a.x + WIDE, a.y + HIGH / 2, b.x - 2, b.y + HIGH / 2];
      const bend = Math.max(24, Math.abs(x2 - x1) / 2);
      const path = s("path", { class: "graph-edge", "data-type": type, d: `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`, "marker-end": "url(#graph-tip)" });
      if (type === "discovery") path.append(s("title", {}, `discovery: ${(kind || "").replaceAll("_", " ")}`));
      return path;
    });
    this.#drawing.replaceChildren(...lines, ...nodes.map((node) => this.#node(node, at.get(node.id))));
    this.#drawList(nodes, inside);
    setText(this.note, nodes.length ? (truncated ? `Only the newest ${nodes.length} tasks are drawn.` : "") : "No task is open here.");
  }

  #node(node, { x, y }) {
    const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
    return s("g", { class: "graph-node", "data-node": node.id, "data-status": node.status, "data-critical": node.critical ? "yes" : null, transform: `translate(${x} ${y})` },
      s("rect", { width: WIDE, height: HIGH, rx: 8 }),
      s("text", { x: 10, y: 21, class: "graph-name" }, cut(node.label, 27)),
      s("text", { x: 10, y: 39, class: "graph-state" }, cut(`${WORDS[node.status] || node.status}${node.holder ? ` · ${node.holder.name || node.holder}` : ""}`, 30)),
      s("title", {}, node.label));
  }

  #drawList(nodes, edges) {
    const names = new Map(nodes.map((node) => [node.id, node.label]));
    const focused = document.activeElement?.dataset?.node;
    this.list.replaceChildren(...nodes.map((node) => {
      const before = edges.filter(({ to, type }) => to === node.id && type === "dependency").map(({ from }) => names.get(from));
      const from = edges.find(({ to, type }) => to === node.id && type === "discovery");
      const parts = [WORDS[node.status] || node.status];
      if (node.critical) parts.push("on the longest way");
      if (before.length) parts.push(`waits for ${before.join(", ")}`);
      if (from) parts.push(`found at ${names.get(from.from)} (${(from.discovery_type || "").replaceAll("_", " ")})`);
      return h("li", {}, h("button", { type: "button", data: { node: node.id }, on: { click: () => this.#onOpen(node) } }, node.label), h("span", { class: "muted" }, parts.join(" · ")));
    }));
    if (focused) $$("button", this.list).find((button) => button.dataset.node === focused)?.focus({ preventScroll: true });
  }

  fit() {
    const box = this.#svg.getBoundingClientRect();
    if (!box.width || !this.#size.width) return;
    const scale = Math.min(1, (box.width - 48) / this.#size.width, (box.height - 48) / this.#size.height);
    this.#view = { scale: Math.max(0.15, scale), x: 24, y: 24 };
    this.#place();
  }

  #pan(dx, dy) {
    this.#view.x += dx;
    this.#view.y += dy;
    this.#place();
  }

  #zoom(by, around = null) {
    const box = this.#svg.getBoundingClientRect();
    const [x, y] = around ? [around.clientX - box.left, around.clientY - box.top] : [box.width / 2, box.height / 2];
    const scale = Math.min(2.5, Math.max(0.15, this.#view.scale * by));
    const ratio = scale / this.#view.scale;
    this.#view = { scale, x: x - (x - this.#view.x) * ratio, y: y - (y - this.#view.y) * ratio };
    this.#place();
    announce(`${Math.round(scale * 100)} percent`);
  }

  #place() {
    const { x, y, scale } = this.#view;
    this.#drawing.setAttribute("transform", `translate(${x} ${y}) scale(${scale})`);
    this.#drawing.classList.toggle("calm", calm());
  }
}
