/* Several cards at once: chosen by X, Shift+J/K or Ctrl-click, moved and assigned together. */

import { $, h, icon, setText } from "./dom.js";
import { call } from "./api.js";
import { announce, toast } from "./say.js";
import { isOpen } from "./cards.js";
import { standing } from "./store.js";

const MOST = 100; // of one request, as the API allows

export class Selection extends EventTarget {
  #store;
  #cards;
  #ids = new Set();
  #bar = $("#selection");
  #dialog = $("#bulk-dialog");

  constructor(store, cards) {
    super();
    this.#store = store;
    this.#cards = cards;
    cards.chosen = this.#ids;
    if (!this.#bar) return; // who may only read
    store.addEventListener("change", () => this.#tidy());
    $("#board").addEventListener("click", (event) => this.#clicked(event), true);
    this.#bar.addEventListener("click", ({ target }) => {
      const act = target.closest("[data-bulk]")?.dataset.bulk;
      if (act === "move") this.openMove();
      if (act === "assign") this.#assign();
      if (act === "clear") this.clear();
    });
    const form = $("form", this.#dialog);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#move();
    });
  }

  get size() {
    return this.#ids.size;
  }

  get ids() {
    return [...this.#ids];
  }

  /* Ctrl- or ⌘-click on a card chooses it; the plain click opens it as ever. */
  #clicked(event) {
    const card = event.target.closest(".card");
    if (!card || !(event.ctrlKey || event.metaKey) || !this.#store.me.write) return;
    event.preventDefault();
    event.stopPropagation();
    this.toggle(card.dataset.id);
  }

  toggle(id, on = !this.#ids.has(id)) {
    const card = this.#store.get(id);
    if (!card || !this.#store.me.write) return;
    if (on && !isOpen(card)) return announce(`${this.#name(card)} is closed and cannot be chosen`);
    if (on && this.#ids.size >= MOST) return announce(`At most ${MOST} tickets at once`);
    if (on) this.#ids.add(id);
    else this.#ids.delete(id);
    this.#show();
    announce(`${this.#name(card)} ${on ? "chosen" : "no longer chosen"}, ${this.size} in all`);
    return undefined;
  }

  clear() {
    if (!this.size) return;
    this.#ids.clear();
    this.#show();
    announce("Nothing is chosen any more");
  }

  #name(card) {
    return `${this.#store.label}-${card.number}`;
  }

  /* What closed or left the board meanwhile is chosen no longer. */
  #tidy() {
    const gone = this.ids.filter((id) => !isOpen(this.#store.get(id) || {}));
    for (const id of gone) this.#ids.delete(id);
    if (gone.length) this.#show();
  }

  #show() {
    if (!this.#bar) return;
    this.#bar.hidden = !this.size;
    setText($("#selection-count"), this.size === 1 ? "1 ticket chosen" : `${this.size} tickets chosen`);
    this.dispatchEvent(new Event("change"));
  }

  openMove() {
    if (!this.size) return;
    const rows = [...this.#store.columns.values()].map((column) =>
      h("label", { class: "target" },
        h("input", { type: "radio", name: "bulk-target", value: column.key, required: true }),
        h("strong", {}, column.name),
        h("span", { class: "muted" }, column.wip_limit ? `${column.admitted} / ${column.wip_limit}` : String(standing(column)))));
    $("#bulk-targets").replaceChildren(h("legend", { class: "sr" }, "Column"), ...rows);
    setText($("#bulk-title"), this.size === 1 ? "Move 1 ticket" : `Move ${this.size} tickets`);
    setText($("#bulk-error"), "");
    $("#bulk-reason").value = "";
    $("#bulk-results").replaceChildren();
    $("#bulk-choice").hidden = false;
    $("#bulk-submit").hidden = false;
    this.#dialog.showModal();
    $("input", $("#bulk-targets")).focus();
  }

  async #move() {
    const column = $("input[name=bulk-target]:checked", this.#dialog)?.value;
    if (!column) return setText($("#bulk-error"), "Choose a column.");
    const reason = $("#bulk-reason").value.trim();
    const moves = this.ids.map((id) => ({ ticket_id: id, column, version: this.#store.get(id).v }));
    $("#bulk-submit").disabled = true;
    setText($("#bulk-error"), "");
    try {
      const { results } = await call("POST", "/api/v1/board/bulk-move", { moves, ...(reason ? { reason } : {}) }, { key: crypto.randomUUID() });
      this.#results(results, column);
    } catch (refusal) {
      setText($("#bulk-error"), `${refusal.message} ${refusal.remedy}`.trim());
    }
    $("#bulk-submit").disabled = false;
    return undefined;
  }

  /* What moved is chosen no longer; what was refused stays chosen, with its reason. */
  #results(results, key) {
    const name = this.#store.columns.get(key).name;
    const refused = results.filter((one) => !one.ok);
    for (const one of results) if (one.ok) this.#ids.delete(one.ticket_id);
    this.#show();
    const done = results.length - refused.length;
    const text = refused.length ? `${done} of ${results.length} moved to ${name}` : done === 1 ? `1 ticket moved to ${name}` : `${done} tickets moved to ${name}`;
    announce(text);
    if (!refused.length) {
      this.#dialog.close();
      return toast(`${text}.`);
    }
    setText($("#bulk-title"), text);
    $("#bulk-choice").hidden = true;
    $("#bulk-submit").hidden = true;
    $("#bulk-results").replaceChildren(...results.map((one) => {
      const card = this.#store.get(one.ticket_id);
      return h("li", { data: { ok: one.ok ? "yes" : "no" } }, icon(one.ok ? "check" : "cross"),
        h("span", {}, h("strong", {}, card ? `${this.#name(card)} ${card.title}` : "A ticket"), h("small", {}, one.ok ? `moved to ${name}` : `stays: ${one.detail || one.code}`)));
    }));
    $("[data-close]", this.#dialog).focus();
    return undefined;
  }

  /* One after the other: each is an edit of its own, with its own refusal. */
  async #assign() {
    const refused = [];
    for (const id of this.ids) {
      const card = this.#store.get(id);
      try {
        await call("PATCH", `/api/v1/tickets/${id}`, { assignee: this.#store.me.id }, { version: card.v });
        this.#ids.delete(id);
      } catch (refusal) {
        refused.push(`${this.#name(card)}: ${refusal.message}`);
      }
    }
    this.#show();
    if (refused.length) toast(`${refused.length} could not be assigned.`, { tone: "bad", more: refused.slice(0, 3).join(" ") });
    else toast("They are yours.");
    this.#cards.draw();
  }
}
