/* Moving a card: shown at once, undone with the reason when the server refuses. */

import { $, $$, h, setText } from "./dom.js";
import { call } from "./api.js";
import { announce, refuse, toast } from "./say.js";
import { standing } from "./store.js";

const OVERRIDES = { gate_not_passed: "override", wip_exceeded: "force" };
// Characters of a reason, as the API asks.
const LEAST = 10;
const WAYS_BACK = new Set(["backward", "unblock"]);

export class Mover {
  #store;
  #cards;
  #dialog = $("#move-dialog");
  #id = null;
  #rows = [];

  constructor(store, cards) {
    this.#store = store;
    this.#cards = cards;
    const form = $("form", this.#dialog);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    form.addEventListener("change", () => this.#chosen());
    for (const button of $$("[data-order]", form)) button.addEventListener("click", () => this.#order(button.dataset.order));
  }

  name(card) {
    return `${this.#store.label}-${card.number}`;
  }

  /* Why each column would take or refuse the card, asked from the server. */
  async ask(id) {
    return this.#byColumn(id, await this.#transitions(id));
  }

  async #transitions(id) {
    return (await call("GET", `/api/v1/tickets/${id}/transitions`)).results;
  }

  /* Where the dialog leads: each column by its default phase, and phases that no column names. */
  async #ways(id) {
    const results = await this.#transitions(id);
    const columns = this.#byColumn(id, results);
    const named = new Set(columns.map((row) => row.to_phase));
    const others = results
      .filter((row) => !named.has(row.to_phase) && row.code !== "illegal_transition")
      .map((row) => ({ ...row, column: this.#store.columns.get(row.column), byPhase: true }));
    return [...others, ...columns];
  }

  #byColumn(id, results) {
    return [...this.#store.columns.values()]
      .filter((column) => column.key !== this.#store.get(id)?.column)
      .map((column) => {
        const rows = results.filter((row) => row.column === column.key);
        return { ...(rows.find((row) => row.default) || rows[0]), column };
      })
      .filter((row) => row.to_phase);
  }

  /* Move at once; spring back with the reason on a refusal. Returns whether it moved. */
  async move(id, column, { position, reason = "", ...powers } = {}) {
    const card = this.#store.get(id);
    const target = this.#store.columns.get(column);
    if (!card || !target) return false;
    const from = this.#store.columns.get(card.column);
    const phase = [...this.#store.phases.values()].find((p) => p.column === column);
    this.#store.wish(id, column === card.column ? { rank: this.#rankAt(card, column, position) } : { column, rank: this.#rankAt(card, column, position), phase_entered_at: new Date().toISOString(), phase_name: phase?.name });
    const body = { ticket_id: id, column, version: card.v, reason, ...powers };
    if (position !== undefined) body.position = position;
    try {
      const moved = await call("POST", "/api/v1/board/move", body);
      this.#store.wishes.delete(id);
      this.#store.put(moved);
      announce(column === from.key ? `${this.name(card)} is at place ${(position ?? 0) + 1}` : `${this.name(card)} moved from ${from.name} to ${target.name}`);
      return true;
    } catch (refusal) {
      this.#store.unwish(id);
      refuse(`${this.name(card)} stays in ${from.name}.`, this.#withWays(refusal));
      announce(`${this.name(card)} stays in ${from.name}. ${refusal.message} ${refusal.remedy}`);
      return false;
    }
  }

  /* Where it may go instead, in the words of this board. */
  #withWays(refusal) {
    const names = (refusal.problem?.allowed || []).map((key) => this.#store.phases.get(key)?.name).filter(Boolean);
    return names.length ? { message: refusal.message, remedy: `From here it may go to ${names.join(", ")}.` } : refusal;
  }

  /* To a phase, also one of the card's own column; live news bring the card after it. */
  async toPhase(id, phase, { reason = "", ...powers } = {}) {
    const card = this.#store.get(id);
    try {
      await call("POST", `/api/v1/tickets/${id}/transition`, { to_phase: phase, reason, ...powers }, { version: card.v });
    } catch (refusal) {
      refuse(`${this.name(card)} stays in ${card.phase_name}.`, refusal);
      announce(`${this.name(card)} stays in ${card.phase_name}. ${refusal.message} ${refusal.remedy}`);
      return false;
    }
    announce(`${this.name(card)} moved from ${card.phase_name} to ${this.#store.phases.get(phase)?.name ?? phase}`);
    return true;
  }

  #rankAt(card, column, position) {
    if (position === undefined) return Date.now() / 1000;
    const others = this.#peers(card, column).filter((other) => other.id !== card.id);
    const before = others[position - 1]?.rank;
    const after = others[position]?.rank;
    if (before === undefined) return (after ?? card.rank) - 1;
    return after === undefined ? before + 1 : (before + after) / 2;
  }

  /* The server orders within a priority, so that is what a place counts. */
  #peers(card, column = card.column) {
    return this.#store.inColumn(column).filter((other) => other.priority === card.priority && ["pending", "in_progress"].includes(other.status));
  }

  positionFor(card, column, index) {
    const above = this.#store.inColumn(column).filter((other) => this.#cards.filters.match(other) && other.id !== card.id).slice(0, index);
    return above.filter((other) => other.priority === card.priority).length;
  }

  async #order(way) {
    const card = this.#store.get(this.#id);
    const peers = this.#peers(card);
    const now = peers.findIndex((other) => other.id === card.id);
    const to = { top: 0, up: Math.max(0, now - 1), down: Math.min(peers.length - 1, now + 1) }[way];
    this.#dialog.close();
    if (to !== now) await this.move(card.id, card.column, { position: to });
    else announce(`${this.name(card)} is there already`);
    this.#cards.link(card.id)?.focus();
  }

  /* The dialog "Move to…", with the refused columns and their reasons. */
  async open(id, { column = null } = {}) {
    const card = this.#store.get(id);
    if (!card) return;
    this.#id = id;
    setText($("#move-title"), `Move ${this.name(card)}`);
    setText($("#move-from"), `${card.title} · now in ${this.#store.columns.get(card.column).name}`);
    $("#move-targets").replaceChildren(h("legend", { class: "sr" }, "Column"), h("p", { class: "loading" }, "Asking what is possible…"));
    $("#move-reason").value = "";
    this.#rows = [];
    this.#chosen();
    if (!this.#dialog.open) this.#dialog.showModal();
    try {
      this.#rows = await this.#ways(id);
    } catch (refusal) {
      $("#move-targets").replaceChildren(h("p", { class: "field-error" }, `${refusal.message} ${refusal.remedy}`));
      return;
    }
    if (this.#id === id) this.#drawTargets(column);
  }

  #drawTargets(wanted) {
    const powerful = this.#store.me.authority >= 4 && this.#store.me.human;
    $("#move-targets").replaceChildren(h("legend", { class: "sr" }, "Column"), ...this.#rows.map((row) => {
      row.power = powerful && OVERRIDES[row.code];
      row.queues = row.code === "wip_exceeded" && WAYS_BACK.has(row.kind);
      const usable = row.allowed || row.power || row.queues;
      const { column } = row;
      const remedy = row.remedy.replace(/PHASE_[A-Z0-9_]+/g, (key) => this.#store.phases.get(key)?.name ?? key);
      const notes = row.allowed ? [] : [...row.reasons, row.queues ? "It may wait there for a place." : remedy].filter(Boolean);
      if (row.power && !row.queues) notes.push(row.power === "override" ? "You may skip the gate, with a reason." : "You may exceed the limit, with a reason.");
      const key = row.to_phase;
      const place = column.wip_limit ? `${column.admitted} / ${column.wip_limit}` : String(standing(column));
      return h("label", { class: "target", data: { refused: usable ? null : "yes" } },
        h("input", { type: "radio", name: "target", value: key, disabled: !usable, checked: !row.byPhase && column.key === wanted && usable, "aria-labelledby": `to-${key}`, "aria-describedby": notes.length ? `to-${key}-why` : null }),
        h("strong", { id: `to-${key}` }, row.byPhase ? row.name : column.name),
        h("span", { class: "muted" }, row.byPhase ? `in ${column.name}` : place),
        notes.length ? h("small", { id: `to-${key}-why` }, notes.join(" ")) : "");
    }));
    this.#chosen();
    const first = $("input:checked", this.#dialog) || $("input:not(:disabled)", this.#dialog);
    first?.focus();
  }

  #row() {
    const chosen = $("input[name=target]:checked", this.#dialog);
    return chosen && this.#rows.find((row) => row.to_phase === chosen.value);
  }

  #chosen() {
    const row = this.#row();
    setText($("#move-error"), "");
    $("#move-submit").disabled = !row;
    const overriding = row && !row.allowed && !row.queues;
    const needs = row && (row.kind === "block" || overriding);
    $("#move-reason-box").hidden = !needs;
    setText($("#move-reason-hint"), `at least ${LEAST} characters; ${overriding ? "it is recorded" : "shown on the card"}`);
    setText($("#move-submit"), !row || row.allowed ? "Move" : row.queues ? "Move and queue" : row.power === "override" ? "Move without the gate" : "Move over the limit");
  }

  async #submit() {
    const row = this.#row();
    if (!row) return;
    const reason = $("#move-reason").value.trim();
    if (!$("#move-reason-box").hidden && reason.length < LEAST) {
      setText($("#move-error"), `Give a reason of at least ${LEAST} characters.`);
      $("#move-reason").focus();
      return;
    }
    const powers = {};
    if (!row.allowed) powers[row.queues ? "queue" : row.power] = true;
    const id = this.#id;
    this.#dialog.close();
    const moved = row.byPhase ? await this.toPhase(id, row.to_phase, { reason, ...powers }) : await this.move(id, row.column.key, { reason, ...powers });
    if (moved) toast(`${this.name(this.#store.get(id))} is in ${row.byPhase ? row.name : row.column.name} now.`);
    this.#cards.link(id)?.focus();
  }
}
