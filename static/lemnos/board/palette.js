/* Ctrl+K: every command of the page and every ticket by number or words, from one field. */

import { $, h, setText } from "./dom.js";
import { call } from "./api.js";
import { PRIORITY } from "./cards.js";

const SHOWN = 12;
const NUMBER = /^(?:[a-z]+-)?(\d{1,9})$/i;

export class Palette {
  #store;
  #commands;
  #open;
  #dialog = $("#palette");
  #field = $("#palette-q");
  #list = $("#palette-list");
  #at = 0;
  #rows = [];
  #found = [];
  #timer = 0;

  /* `commands()` gives [{words, hint, act}], `open(card)` follows a ticket. */
  constructor(store, { commands, open }) {
    this.#store = store;
    this.#commands = commands;
    this.#open = open;
    this.#field.addEventListener("input", () => {
      this.#found = [];
      this.#draw();
      this.#ask();
    });
    this.#field.addEventListener("keydown", (event) => this.#keys(event));
    this.#list.addEventListener("click", ({ target }) => {
      const row = target.closest("[role=option]");
      if (row) this.#do(Number(row.dataset.at));
    });
  }

  open() {
    if ($("dialog[open]")) return;
    this.#field.value = "";
    this.#found = [];
    this.#dialog.showModal();
    this.#draw();
    this.#field.focus();
  }

  /* Tickets beyond the first fifty of their columns are found by the server. */
  #ask() {
    clearTimeout(this.#timer);
    const words = this.#field.value.trim();
    if (words.length < 2) return;
    this.#timer = setTimeout(async () => {
      const number = words.match(NUMBER)?.[1];
      const query = new URLSearchParams({ workflow: this.#store.workflow.key, limit: "8", ...(number ? { number } : { search: words }) });
      try {
        const { results } = await call("GET", `/api/v1/tickets?${query}`);
        if (words !== this.#field.value.trim()) return;
        this.#found = results.map(({ id, number: n, title, priority }) => ({ id, number: n, title, priority }));
        this.#draw();
      } catch {
        setText($("#palette-note"), "The server could not be asked; only what is on this page is searched.");
      }
    }, 180);
  }

  #matches() {
    const words = this.#field.value.trim().toLowerCase();
    const parts = words.split(/\s+/).filter(Boolean);
    const fits = (text) => parts.every((part) => text.toLowerCase().includes(part));
    const commands = this.#commands().filter((one) => fits(one.words)).map((one) => ({ ...one, kind: "command" }));
    const known = words ? this.#store.all().filter((card) => fits(`${this.#store.label}-${card.number} ${card.title}`)) : [];
    const tickets = new Map([...known, ...this.#found].map((card) => [card.id, card]));
    // A number that is written out is meant, not one that begins so.
    const number = Number(words.match(NUMBER)?.[1]) || null;
    const ordered = [...tickets.values()].sort((a, b) => (b.number === number) - (a.number === number));
    if (number && ordered[0]?.number !== number) ordered.unshift({ number, title: "" });
    const rows = ordered.slice(0, SHOWN).map((card) => ({
      kind: "ticket",
      words: `${this.#store.label}-${card.number} ${card.title}`.trim(),
      hint: PRIORITY[card.priority] || "",
      act: () => this.#open(card),
    }));
    return [...commands, ...rows].slice(0, SHOWN + 4);
  }

  #draw() {
    this.#rows = this.#matches();
    this.#at = Math.max(0, Math.min(this.#at, this.#rows.length - 1));
    setText($("#palette-note"), this.#rows.length ? "" : "Nothing is called so.");
    this.#list.replaceChildren(...this.#rows.map((row, at) =>
      h("li", { role: "option", id: `palette-${at}`, data: { at: String(at), kind: row.kind }, "aria-selected": String(at === this.#at) }, h("span", {}, row.words), h("span", { class: "muted" }, row.hint || ""))));
    this.#mark();
  }

  #mark() {
    for (const [at, row] of [...this.#list.children].entries()) row.setAttribute("aria-selected", String(at === this.#at));
    const row = this.#list.children[this.#at];
    row?.scrollIntoView({ block: "nearest" });
    if (row) this.#field.setAttribute("aria-activedescendant", row.id);
    else this.#field.removeAttribute("aria-activedescendant");
  }

  #keys(event) {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (by) {
      event.preventDefault();
      this.#at = (this.#at + by + this.#rows.length) % Math.max(1, this.#rows.length);
      this.#mark();
    } else if (event.key === "Enter") {
      event.preventDefault();
      this.#do(this.#at);
    }
  }

  #do(at) {
    const row = this.#rows[at];
    if (!row) return;
    this.#dialog.close();
    row.act();
  }
}
