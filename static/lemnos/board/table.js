/* The tickets as rows: sorted by any column, the same filters, and as CSV. */

import { $, ago, h, icon, setText } from "./dom.js";
import { call } from "./api.js";
import { announce, refuse } from "./say.js";
import { isOpen, PRIORITY } from "./cards.js";
import { priorityOrder } from "./store.js";

const MOST = 2_000; // rows that one page reads in all
const gate = (card) => (card.gate?.total ? `${card.gate.met}/${card.gate.total}` : "");
const state = (store, card) =>
  !isOpen(card) ? card.status.replace("_", " ") : card.blocked_reason ? "blocked" : card.queued ? "queued" : store.isWorking(card) ? "working" : "waiting";

/* key, heading, value to sort by, text to show */
const COLUMNS = [
  ["number", "Ticket", (card) => card.number, (card, store) => `${store.label}-${card.number}`],
  ["title", "Title", (card) => card.title.toLowerCase(), (card) => card.title],
  ["priority", "Priority", (card) => priorityOrder(card.priority), (card) => PRIORITY[card.priority]],
  ["phase", "Phase", (card, store) => store.phases.get(card.phase)?.order ?? 0, (card) => card.phase_name],
  ["state", "State", (card, store) => state(store, card), (card, store) => state(store, card)],
  ["holder", "Held by", (card) => (card.holder?.name || "").toLowerCase(), (card) => card.holder?.name || ""],
  ["assignee", "Assigned to", (card) => (card.assignee?.name || "").toLowerCase(), (card) => card.assignee?.name || ""],
  ["tasks", "Tasks", (card) => (card.tasks.total ? card.tasks.done / card.tasks.total : -1), (card) => (card.tasks.total ? `${card.tasks.done}/${card.tasks.total}` : "")],
  ["gate", "Gate", (card) => (card.gate?.total ? card.gate.met / card.gate.total : -1), gate],
  ["age", "In phase", (card) => Date.parse(card.phase_entered_at), (card) => ago(card.phase_entered_at)],
  ["labels", "Labels", (card) => card.labels.join(), (card) => card.labels.join(", ")],
];

export class Table {
  #store;
  #filters;
  #base;
  #box = $("#table");
  #sort = { key: "number", down: true };

  constructor(store, { filters, base }) {
    this.#store = store;
    this.#filters = filters;
    this.#base = base;
    const asked = new URLSearchParams(location.search).get("sort") || "";
    const key = asked.replace(/^-/, "");
    if (COLUMNS.some(([name]) => name === key)) this.#sort = { key, down: asked.startsWith("-") };
    $("#table-csv").addEventListener("click", () => this.#download());
    $("#table-all").addEventListener("click", (event) => this.#readAll(event.currentTarget));
    $("thead", this.#box).append(h("tr", {}, ...COLUMNS.map(([name, heading]) =>
      h("th", { scope: "col", data: { key: name } }, h("button", { type: "button", on: { click: () => this.#by(name) } }, heading, icon("down"))))));
  }

  #by(key) {
    this.#sort = { key, down: this.#sort.key === key ? !this.#sort.down : false };
    const query = new URLSearchParams(location.search);
    query.set("sort", `${this.#sort.down ? "-" : ""}${key}`);
    history.replaceState(history.state, "", `${location.pathname}?${query}`);
    this.draw();
    const heading = COLUMNS.find(([name]) => name === key)[1];
    announce(`Sorted by ${heading}, ${this.#sort.down ? "descending" : "ascending"}`);
  }

  #rows() {
    const [, , value] = COLUMNS.find(([name]) => name === this.#sort.key);
    const sign = this.#sort.down ? -1 : 1;
    const keyed = this.#store.all().filter((card) => this.#filters.match(card)).map((card) => [value(card, this.#store), card]);
    keyed.sort(([a, one], [b, other]) => (a < b ? -sign : a > b ? sign : one.number - other.number));
    return keyed.map(([, card]) => card);
  }

  draw() {
    if (this.#box.hidden) return;
    for (const head of this.#box.querySelectorAll("th")) {
      const here = head.dataset.key === this.#sort.key;
      if (here) head.setAttribute("aria-sort", this.#sort.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
    const rows = this.#rows();
    const body = $("tbody", this.#box);
    const focused = document.activeElement?.closest?.("tr")?.dataset.id;
    body.replaceChildren(...rows.map((card) => this.#row(card)));
    if (focused) body.querySelector(`tr[data-id="${focused}"] a`)?.focus({ preventScroll: true });
    const total = [...this.#store.columns.values()].reduce((sum, column) => sum + column.total, 0);
    const held = this.#store.all().length;
    setText($("#table-count"), `${rows.length} ${rows.length === 1 ? "ticket" : "tickets"}${held < total ? ` of the ${held} that are read; ${total} in all` : ""}`);
    $("#table-all").hidden = held >= total || held >= MOST;
    $("#table-none").hidden = rows.length > 0;
  }

  #row(card) {
    return h("tr", { data: { id: card.id } }, ...COLUMNS.map(([name, , , text]) => {
      const shown = text(card, this.#store);
      if (name === "title") return h("th", { scope: "row" }, h("a", { class: "row-link", href: `${this.#base}/tickets/${card.number}${location.search}`, data: { number: card.number } }, shown));
      if (name === "priority") return h("td", {}, h("span", { class: "priority", data: { priority: card.priority } }, shown));
      return h("td", { data: { column: name } }, shown);
    }));
  }

  /* Columns send their first fifty; here somebody wants them all. */
  async #readAll(button) {
    button.disabled = true;
    try {
      await this.readAll();
    } catch (refusal) {
      refuse("", refusal);
    }
    button.disabled = false;
    this.draw();
  }

  async readAll() {
    for (const column of this.#store.columns.values()) {
      let held = this.#store.inColumn(column.key);
      while (held.length && held.length < column.total && this.#store.all().length < MOST) {
        const query = new URLSearchParams({ workflow: this.#store.workflow.key, column: column.key, after: held.at(-1).id });
        const { cards } = await call("GET", `/api/v1/board/cards?${query}`);
        if (!cards.length) break;
        this.#store.add(cards);
        held = this.#store.inColumn(column.key);
      }
    }
  }

  /* What is shown, as it is sorted. A cell that begins like a formula is made text. */
  #download() {
    const cell = (value) => {
      const text = String(value);
      return `"${(/^[=+\-@\t\r]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;
    };
    const lines = [COLUMNS.map(([, heading]) => cell(heading)), ...this.#rows().map((card) => COLUMNS.map(([name, , , text]) => cell(name === "age" ? card.phase_entered_at : text(card, this.#store))))];
    const blob = new Blob([`\ufeff${lines.map((line) => line.join(",")).join("\r\n")}\r\n`], { type: "text/csv;charset=utf-8" });
    const link = h("a", { href: URL.createObjectURL(blob), download: `${this.#store.workflow.key}.csv` });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    announce("The table was saved as CSV");
  }
}
