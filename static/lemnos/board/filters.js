/* Search and filters: all in the address, so that a reload or a link keeps them. */

import { $, $$, h, icon } from "./dom.js";
import { priorityOrder } from "./store.js";

const KEYS = ["q", "priority", "state", "phase", "assignee", "holder", "label"];
const WORDS = {
  priority: (value) => (value === "CRITICAL" ? "Priority: Critical" : `Priority ≥ ${value[0]}${value.slice(1).toLowerCase()}`),
  state: (value) => ({ working: "Somebody is at it", waiting: "Waiting", queued: "Queued", blocked: "Blocked", review: "In review", approval: "Waiting for approval", needs: "Needs you" })[value] || value,
  phase: (value, store) => `Phase: ${store.phases.get(value)?.name || value}`,
  assignee: (value) => (value === "-" ? "Assigned to nobody" : `Assigned to ${value}`),
  holder: (value) => `Held by ${value}`,
  label: (value) => `Label: ${value}`,
};

export class Filters extends EventTarget {
  constructor(store) {
    super();
    this.store = store;
    this.#recall();
    this.read();
    $("#q").addEventListener("input", (event) => this.set("q", event.target.value.trim()));
    for (const select of $$("[data-filter]")) select.addEventListener("change", () => this.set(select.dataset.filter, select.value));
  }

  /* Whoever comes without a question finds the filters they left with. */
  #recall() {
    const query = new URLSearchParams(location.search);
    if (KEYS.some((key) => query.has(key))) return;
    const kept = new URLSearchParams(localStorage.getItem(this.#kept) || "");
    for (const key of KEYS) if (key !== "q" && kept.get(key)) query.set(key, kept.get(key));
    const text = query.toString();
    if (text !== location.search.slice(1)) history.replaceState(history.state, "", `${location.pathname}${text ? `?${text}` : ""}`);
  }

  get #kept() {
    return `lemnos.filters.${this.store.workflow.key}`;
  }

  read() {
    const query = new URLSearchParams(location.search);
    this.values = Object.fromEntries(KEYS.map((key) => [key, query.get(key) || ""]));
    $("#q").value = this.values.q;
    this.show();
  }

  set(key, value) {
    this.values[key] = value;
    const query = new URLSearchParams(location.search);
    if (value) query.set(key, value);
    else query.delete(key);
    const text = query.toString();
    history.replaceState(history.state, "", `${location.pathname}${text ? `?${text}` : ""}`);
    const set = KEYS.filter((name) => this.values[name]).map((name) => [name, this.values[name]]);
    localStorage.setItem(this.#kept, new URLSearchParams(set).toString());
    this.show();
    this.dispatchEvent(new Event("change"));
  }

  clear() {
    $("#q").value = "";
    for (const key of KEYS) if (this.values[key]) this.set(key, "");
  }

  get active() {
    return KEYS.some((key) => this.values[key]);
  }

  match(card) {
    const { q, priority, state, phase, assignee, holder, label } = this.values;
    if (priority && priorityOrder(card.priority) > (priorityOrder(priority) || 4)) return false;
    if (label && !card.labels.includes(label)) return false;
    if (phase && card.phase !== phase) return false;
    if (holder && card.holder?.name !== holder) return false;
    if (assignee && (card.assignee?.name || "-") !== assignee) return false;
    if (state && !this.#matchState(card, state)) return false;
    return !q || this.#text(card).includes(q.toLowerCase());
  }

  #matchState(card, state) {
    const open = card.status === "pending" || card.status === "in_progress";
    const tests = {
      working: () => this.store.isWorking(card),
      waiting: () => open && !card.holder && !card.blocked_reason,
      queued: () => card.queued,
      blocked: () => open && (Boolean(card.blocked_reason) || card.tasks.blocked > 0),
      review: () => open && card.reviews.waiting + card.reviews.begun + card.reviews.escalated > 0,
      approval: () => open && ["pending_review", "timed_out", "rejected"].includes(card.approval),
      needs: () => this.store.needsPerson(card),
    };
    return (tests[state] || (() => true))();
  }

  #text(card) {
    return [`${this.store.label}-${card.number}`, card.title, card.holder?.name, card.assignee?.name, ...card.labels, card.phase_name, card.blocked_reason].filter(Boolean).join(" ").toLowerCase();
  }

  /* Chips for what is set, and the choices that the present cards offer. */
  show() {
    const chips = Object.keys(WORDS).filter((key) => this.values[key]).map((key) =>
      h("button", { type: "button", class: "chip", "aria-label": `Remove filter ${WORDS[key](this.values[key], this.store)}`, on: { click: () => this.set(key, "") } }, WORDS[key](this.values[key], this.store), icon("close")));
    if (this.active) chips.push(h("button", { type: "button", class: "chip clear", on: { click: () => this.clear() } }, "Clear filters"));
    $("#chips").replaceChildren(...chips);
    const cards = this.store.all();
    this.#offer("holder", cards.map((card) => card.holder?.name), "Anybody");
    this.#offer("assignee", cards.map((card) => card.assignee?.name), "Anybody", ["-", "Nobody"]);
    this.#offer("label", cards.flatMap((card) => card.labels), "Any");
    for (const select of $$("[data-filter]")) select.value = this.values[select.dataset.filter];
    $("#needs").setAttribute("aria-pressed", String(this.values.state === "needs"));
  }

  #offer(key, values, any, extra = null) {
    const select = $(`[data-filter=${key}]`);
    if (document.activeElement === select) return;
    const wanted = [...new Set([...values, this.values[key]].filter((value) => value && value !== extra?.[0]))].sort();
    if (wanted.join("\n") === select.dataset.offered) return;
    select.dataset.offered = wanted.join("\n");
    select.replaceChildren(h("option", { value: "" }, any), extra && h("option", { value: extra[0] }, extra[1]) || "", ...wanted.map((value) => h("option", { value }, value)));
  }
}
