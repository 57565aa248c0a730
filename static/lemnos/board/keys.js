/* The keyboard. Single keys can be switched off; none works while something is typed. */

import { $, $$, narrow } from "./dom.js";

const typing = (target) => target.matches?.("input, textarea, select, [contenteditable]");

export class Keys {
  constructor({ cards, panel, mover, creator, help, selection, views, palette }) {
    Object.assign(this, { cards, panel, mover, creator, help, selection, views, palette });
    const box = $("#keys-on");
    box.checked = this.on;
    box.addEventListener("change", () => localStorage.setItem("lemnos.keys", box.checked ? "on" : "off"));
    addEventListener("keydown", (event) => this.#pressed(event));
  }

  get on() {
    return localStorage.getItem("lemnos.keys") !== "off";
  }

  #pressed(event) {
    const dialog = $("dialog[open]");
    if ((event.ctrlKey || event.metaKey) && event.key === "Enter" && dialog) {
      event.preventDefault();
      $("form", dialog).requestSubmit();
      return;
    }
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
      event.preventDefault();
      this.palette.open();
      return;
    }
    if (event.key === "Escape" && !dialog) this.#escape(event);
    if (!this.on || dialog || typing(event.target) || event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const act = this.#second(key) || (event.shiftKey && this.#shifted[key]) || this.#acts[key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  /* G begins a pair: B, T or G behind it, within a second and a half. */
  #second(key) {
    const waits = this.#pair && performance.now() - this.#pair < 1_500;
    this.#pair = 0;
    const view = waits && { b: "board", t: "table", g: "graph" }[key];
    return view && (() => this.views.choose(view));
  }

  #pair = 0;

  #shifted = {
    j: () => this.#extend(1),
    k: () => this.#extend(-1),
  };

  /* The card one stands on is chosen, and the next one with it. */
  #extend(by) {
    const here = this.#focused();
    if (here) this.selection.toggle(here.dataset.id, true);
    this.#step(by);
    const there = this.#focused();
    if (there) this.selection.toggle(there.dataset.id, true);
  }

  #escape(event) {
    if ($("[popover]:popover-open")) return;
    if (event.target.id === "q" && event.target.value) return;
    if (event.target.id === "q") event.target.blur();
    else if (this.panel.number !== null) this.panel.close();
    else this.selection.clear();
  }

  #acts = {
    "?": () => this.help(),
    "/": () => $("#q").focus(),
    c: () => this.creator.open(),
    j: () => this.#step(1),
    k: () => this.#step(-1),
    h: () => this.#side(-1),
    l: () => this.#side(1),
    g: () => (this.#pair = performance.now()),
    x: () => this.#current() && this.selection.toggle(this.#current()),
    m: () => (this.selection.size ? this.selection.openMove() : this.#current() && this.mover.open(this.#current())),
    a: () => this.#current() && this.panel.assign(this.#current()),
    "[": () => this.panel.number !== null && this.panel.step(-1),
    "]": () => this.panel.number !== null && this.panel.step(1),
    ...Object.fromEntries([1, 2, 3, 4, 5, 6, 7].map((n) => [String(n), () => this.panel.tabAt(n - 1)])),
  };

  #focused() {
    return document.activeElement?.closest?.(".card");
  }

  #current() {
    return this.#focused()?.dataset.id || this.panel.card?.id;
  }

  #columns() {
    return $$(narrow() ? ".column[data-shown]" : ".column").map((column) => $$(".card", column));
  }

  #focus(card) {
    card?.querySelector(".card-link").focus();
    card?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  #step(by) {
    const all = this.#columns().flat();
    const from = this.#focused() || this.cards.element(this.panel.card?.id);
    this.#focus(from ? all[all.indexOf(from) + by] : all[0]);
  }

  #side(by) {
    const columns = this.#columns();
    const from = this.#focused();
    const at = columns.findIndex((cards) => cards.includes(from));
    if (at === -1) return this.#step(1);
    const row = columns[at].indexOf(from);
    for (let i = at + by; i >= 0 && i < columns.length; i += by) {
      if (columns[i].length) return this.#focus(columns[i][Math.min(row, columns[i].length - 1)]);
    }
    return undefined;
  }
}
