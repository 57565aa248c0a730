/* Tasks and what they wait for, drawn in layers: pan, zoom, open; the same as a list beside it. */

import { $, $$, calm, h, setText } from "./dom.js";
import { call } from "./api.js";
import { announce } from "./say.js";

const SPACE = "http://www.w3.org/2000/svg";
const [WIDE, HIGH, GAP_X, GAP_Y, HEAD] = [190, 50, 56, 10, 26];
const OVER = new Set(["cancelled", "duplicated"]); // drawn only where something is tied to them
const WORDS = { pending: "waiting", assigned: "taken", running: "running", completed: "completed", under_review: "under review", validating: "in review", needs_work: "sent back", blocked: "blocked", failed: "failed", cancelled: "cancelled", duplicated: "duplicate" };

function s(tag, props, ...children) {
  const element = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(props)) if (value !== null && value !== undefined) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/* How many waits lie before each node, the longest way counted; a circle ends where it began. */
export function depths(nodes, edges) {
  const before = new Map(nodes.map((node) => [node.id, []]));
  for (const { from, to } of edges) before.get(to).push(from);
  const depth = new Map();
  const visit = (id, path) => {
    if (depth.has(id)) return depth.get(id);
    if (path.has(id)) return 0;
    path.add(id);
    const deepest = before.get(id).reduce((most, from) => Math.max(most, visit(from, path) + 1), 0);
    path.delete(id);
    depth.set(id, deepest);
    return deepest;
  };
  for (const { id } of nodes) visit(id, new Set());
  return depth;
}

/* Places: a lane per ticket, in it from left to right by phase and by what waits for what. */
export function places(nodes, edges, orderOf) {
  const ids = new Set(nodes.map((node) => node.id));
  const inside = edges.filter(({ from, to }) => ids.has(from) && ids.has(to));
  const depth = depths(nodes, inside);
  const lanes = new Map();
  for (const node of nodes) {
    if (!lanes.has(node.ticket.number)) lanes.set(node.ticket.number, []);
    lanes.get(node.ticket.number).push(node);
  }
  const at = new Map();
  const heads = [];
  let top = 0;
  for (const [number, members] of [...lanes].sort(([a], [b]) => a - b)) {
    const step = (node) => orderOf(node.phase) * 10_000 + depth.get(node.id);
    const steps = [...new Set(members.map(step))].sort((a, b) => a - b);
    const filled = new Map();
    heads.push({ number, y: top, ticket: members[0].ticket });
    for (const node of members) {
      const column = steps.indexOf(step(node));
      const row = filled.get(column) || 0;
      filled.set(column, row + 1);
      at.set(node.id, { x: column * (WIDE + GAP_X), y: top + HEAD + row * (HIGH + GAP_Y) });
    }
    top += HEAD + Math.max(...filled.values()) * (HIGH + GAP_Y) + 14;
  }
  return { at, inside, heads, height: top };
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
  #label;
  #orderOf;
  #keep;
  #graph = null;

  /* `url()` is what is asked; `onOpen(node)` follows a click; `keep` leaves tickets out. */
  constructor(box, { url, onOpen, label, orderOf = () => 0, keep = () => true }) {
    this.#label = label;
    this.#orderOf = orderOf;
    this.#keep = keep;
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
      this.#graph = graph;
      this.draw();
      if (first || fit) this.fit();
    } catch (refusal) {
      if (stamp === this.#stamp) setText(this.note, `${refusal.message} ${refusal.remedy || ""}`.trim());
    }
  }

  /* What was read, without what the filters leave out. */
  draw() {
    if (!this.#graph) return;
    const { edges, truncated } = this.#graph;
    const tied = new Set(edges.flatMap(({ from, to }) => [from, to]));
    const nodes = this.#graph.nodes.filter((node) => this.#keep(node) && (!OVER.has(node.status) || tied.has(node.id)));
    this.nodes = nodes;
    const { at, inside, heads, height } = places(nodes, edges, this.#orderOf);
    this.#size = { width: Math.max(0, ...[...at.values()].map((p) => p.x)) + WIDE, height };
    const lines = inside.map(({ from, to, type, discovery_type: kind }) => {
      const [a, b] = [at.get(from), at.get(to)];
      const ahead = b.x > a.x;
      const [x1, y1] = ahead ? [a.x + WIDE, a.y + HIGH / 2] : [a.x + WIDE / 2, a.y + (b.y > a.y ? HIGH : 0)];
      const [x2, y2] = ahead ? [b.x - 2, b.y + HIGH / 2] : [b.x + WIDE / 2, b.y + (b.y > a.y ? -2 : HIGH + 2)];
      const bend = Math.max(24, Math.abs(ahead ? x2 - x1 : y2 - y1) / 2);
      const way = ahead ? `C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}` : `C${x1} ${y1 + Math.sign(y2 - y1) * bend} ${x2} ${y2 - Math.sign(y2 - y1) * bend} ${x2} ${y2}`;
      const path = s("path", { class: "graph-edge", "data-type": type, d: `M${x1} ${y1}${way}`, "marker-end": "url(#graph-tip)" });
      if (type === "discovery") path.append(s("title", {}, `discovery: ${(kind || "").replaceAll("_", " ")}`));
      return path;
    });
    const lanes = heads.map(({ number, y }) => s("text", { x: 0, y: y + 14, class: "graph-lane" }, `${this.#label}-${number}`));
    this.#drawing.replaceChildren(...lanes, ...lines, ...nodes.map((node) => this.#node(node, at.get(node.id))));
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
      return h("li", {}, h("button", { type: "button", data: { node: node.id }, on: { click: () => this.#onOpen(node) } }, `${this.#label}-${node.ticket.number} ${node.label}`), h("span", { class: "muted" }, parts.join(" · ")));
    }));
    if (focused) $$("button", this.list).find((button) => button.dataset.node === focused)?.focus({ preventScroll: true });
  }

  fit() {
    const box = this.#svg.getBoundingClientRect();
    if (!box.width || !this.#size.width) return;
    const scale = Math.min(1, (box.width - 48) / this.#size.width, (box.height - 48) / this.#size.height);
    // Small enough to see much, never too small to be read.
    this.#view = { scale: Math.max(0.75, scale), x: 24, y: 20 };
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
