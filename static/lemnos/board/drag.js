/* Drag a card with mouse or pen. Touch scrolls; there and by keyboard, "Move to…" does the same. */

import { $, $$, calm, narrow } from "./dom.js";
import { isOpen } from "./cards.js";

const SLACK = 5;

export class Drag {
  #store;
  #mover;
  #now = null;

  constructor(store, mover) {
    this.#store = store;
    this.#mover = mover;
    const board = $("#board");
    board.addEventListener("pointerdown", (event) => this.#down(event));
    board.addEventListener("dragstart", (event) => event.preventDefault());
    // The click that ends a drag opens nothing.
    board.addEventListener("click", (event) => {
      if (this.#justDropped) {
        event.preventDefault();
        event.stopPropagation();
      }
    }, true);
  }

  #justDropped = false;

  #down(event) {
    const element = event.target.closest(".card");
    if (!element || event.button !== 0 || event.pointerType === "touch" || event.target.closest(".card-move, summary") || narrow()) return;
    const card = this.#store.get(element.dataset.id);
    if (!this.#store.me.write || !card || !isOpen(card) || card.busy) return;
    const stop = new AbortController();
    const options = { signal: stop.signal };
    this.#now = { card, element, stop, x: event.clientX, y: event.clientY, ghost: null };
    addEventListener("pointermove", (e) => this.#move(e), options);
    addEventListener("pointerup", (e) => this.#up(e), options);
    addEventListener("pointercancel", () => this.#end(), options);
    addEventListener("blur", () => this.#end(), options);
    addEventListener("keydown", (e) => {
      if (e.key === "Escape" && this.#now?.ghost) {
        e.preventDefault();
        e.stopPropagation();
        this.#end();
      }
    }, { ...options, capture: true });
  }

  #move(event) {
    const drag = this.#now;
    const dx = event.clientX - drag.x;
    const dy = event.clientY - drag.y;
    if (!drag.ghost) {
      if (Math.hypot(dx, dy) < SLACK) return;
      this.#lift();
    }
    event.preventDefault();
    drag.ghost.style.transform = `translate(${dx}px, ${dy}px)`;
    this.#scroll(event);
    this.#aim(event);
  }

  #lift() {
    const drag = this.#now;
    const element = document.getElementById(`card-${drag.card.id}`) || drag.element;
    const rect = element.getBoundingClientRect();
    const ghost = element.cloneNode(true);
    ghost.removeAttribute("id");
    ghost.className = "card ghost held";
    ghost.inert = true;
    Object.assign(ghost.style, { left: `${rect.left}px`, top: `${rect.top}px`, width: `${rect.width}px` });
    document.body.append(ghost);
    document.body.classList.add("dragging");
    getSelection()?.removeAllRanges();
    element.dataset.lifted = "";
    Object.assign(drag, { ghost, element, refused: new Map() });
    // What each column would say is known by the time the card is over it.
    this.#mover.ask(drag.card.id).then((rows) => {
      if (this.#now !== drag) return;
      for (const row of rows) {
        if (row.allowed) continue;
        drag.refused.set(row.column.key, row);
        $(`.column[data-column="${row.column.key}"]`).dataset.refused = "";
      }
    }, () => {});
  }

  #scroll(event) {
    const board = $("#board");
    const box = board.getBoundingClientRect();
    if (event.clientX > box.right - 60) board.scrollLeft += 14;
    if (event.clientX < box.left + 60) board.scrollLeft -= 14;
  }

  #aim(event) {
    const drag = this.#now;
    const column = document.elementsFromPoint(event.clientX, event.clientY).map((e) => e.closest?.(".column")).find(Boolean);
    for (const other of $$(".column[data-drop]")) if (other !== column) this.#unmark(other);
    $(".drop-line")?.remove();
    drag.column = column || null;
    if (!column) return;
    const refusal = drag.refused.get(column.dataset.column);
    column.dataset.drop = refusal ? "refused" : "yes";
    const note = $("[data-note]", column);
    if (refusal && note.dataset.words !== "refusal") {
      note.dataset.words = "refusal";
      note.textContent = refusal.reasons[0] || "It cannot go there.";
    }
    // Finished tickets stand by when they ended.
    if (refusal || this.#store.columns.get(column.dataset.column).newest_first) drag.index = undefined;
    else this.#line(column, event.clientY);
  }

  /* Where it would come to lie. */
  #line(column, y) {
    const list = $("[data-cards]", column);
    const others = $$(".card:not([data-lifted])", list);
    const after = others.findIndex((other) => {
      const box = other.getBoundingClientRect();
      return y < box.top + box.height / 2;
    });
    this.#now.index = after === -1 ? others.length : after;
    const line = document.createElement("li");
    line.className = "drop-line";
    list.insertBefore(line, after === -1 ? others.at(-1)?.nextSibling ?? null : others[after]);
  }

  #unmark(column) {
    delete column.dataset.drop;
    const note = $("[data-note]", column);
    if (note.dataset.words !== "refusal") return;
    // What a refusal said ends with the look at it; the column's own note is drawn anew.
    note.replaceChildren();
    delete note.dataset.words;
  }

  #up() {
    const { card, column, ghost, index, refused } = this.#now;
    if (!ghost) return this.#end();
    this.#justDropped = true;
    setTimeout(() => (this.#justDropped = false), 0);
    const key = column?.dataset.column;
    const phase = [...this.#store.phases.values()].find((p) => p.column === key);
    const from = ghost.getBoundingClientRect();
    this.#end();
    if (!key) return undefined;
    const position = index === undefined ? undefined : this.#mover.positionFor(card, key, index);
    if (key === card.column) return this.#mover.move(card.id, key, { position: position ?? 0 });
    // Blocking needs a reason, so it is asked for before anything moves.
    if (phase?.kind === "blocked" && !refused.has(key)) return this.#mover.open(card.id, { column: key });
    this.#settle(card, from);
    return this.#mover.move(card.id, key, { position });
  }

  /* The card goes on from where the hand let go. */
  #settle(card, from) {
    if (calm()) return;
    requestAnimationFrame(() => {
      const element = document.getElementById(`card-${card.id}`);
      const to = element?.getBoundingClientRect();
      if (to?.width) element.animate([{ transform: `translate(${from.left - to.left}px, ${from.top - to.top}px)` }, { transform: "none" }], { duration: 150, easing: "ease-out" });
    });
  }

  #end() {
    const drag = this.#now;
    if (!drag) return;
    this.#now = null;
    drag.stop.abort();
    drag.ghost?.remove();
    $(".drop-line")?.remove();
    document.body.classList.remove("dragging");
    delete drag.element.dataset.lifted;
    for (const column of $$(".column")) {
      delete column.dataset.refused;
      this.#unmark(column);
    }
    this.#store.dispatchEvent(new CustomEvent("change", { detail: { touched: new Set() } }));
  }
}
