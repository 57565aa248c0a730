/* Draw the columns and their cards; a card that did not change is not touched. */

import { $, $$, ago, calm, h, icon, initials, narrow, setText } from "./dom.js";

import { call } from "./api.js";
import { refuse } from "./say.js";
import { standing } from "./store.js";

const SHORT = 50; // characters that fit into two lines of the narrowest column
export const PRIORITY = { CRITICAL: "Critical", HIGH: "High", MEDIUM: "Medium", LOW: "Low" };

export class Cards {
  #drawn = new Map(); // id → text of what is drawn
  #unfolded = new Set(); // ids of the cards whose reason is read in full
  #store;
  #base;
  #may;

  constructor(store, { base, filters, onMove, onPick }) {
    this.#store = store;
    this.#base = base;
    this.filters = filters;
    this.#may = store.me.write;
    this.onMove = onMove;
    this.onPick = onPick;
    this.open = null;
    this.chosen = new Set(); // ids; the selection puts its own here
    this.watching = new Map(); // id → who has the ticket open
  }

  element(id) {
    return document.getElementById(`card-${id}`);
  }

  link(id) {
    return this.element(id)?.querySelector(".card-link");
  }

  /* All cards shown, column by column. */
  shown() {
    return $$(".column").map((column) => ({ key: column.dataset.column, column, cards: $$(".card", column) }));
  }

  draw() {
    const focused = document.activeElement?.closest?.(".card");
    const focusedPart = document.activeElement?.className;
    const first = this.#drawn.size === 0;
    const lists = new Map();
    for (const card of this.#store.all()) {
      if (!lists.has(card.column)) lists.set(card.column, []);
      lists.get(card.column).push(card);
    }
    const moved = this.#whereMovedOnesAre();
    for (const column of $$(".column")) {
      const data = this.#store.columns.get(column.dataset.column);
      if (!data) continue;
      const cards = this.#store.sort(data.key, lists.get(data.key) || []);
      this.#drawHead(column, data);
      this.#drawList($("[data-cards]", column), data, cards, first);
    }
    for (const id of [...this.#drawn.keys()]) if (!this.#store.get(id)) this.#drawn.delete(id);
    if (focused && document.activeElement !== focused && !focused.contains(document.activeElement)) {
      const again = document.getElementById(focused.id);
      (again?.getElementsByClassName(focusedPart)[0] || again?.querySelector(".card-link"))?.focus({ preventScroll: true });
    }
    for (const glide of moved) this.#glide(glide);
  }

  /* Only cards that change their column are measured: reading all of them would cost a layout. */
  #whereMovedOnesAre() {
    if (calm() || narrow()) return [];
    const found = [];
    for (const element of document.getElementsByClassName("card")) {
      const column = element.closest(".column");
      const card = this.#store.get(element.dataset.id);
      if (column && card && card.column !== column.dataset.column) found.push({ element, rect: element.getBoundingClientRect() });
    }
    return found.length > 12 ? [] : found;
  }

  #drawHead(column, data) {
    const over = data.wip_limit && data.admitted > data.wip_limit;
    const full = data.wip_limit && data.admitted >= data.wip_limit;
    column.dataset.load = over ? "over" : full ? "full" : "";
    const count = $("[data-count]", column);
    const text = data.wip_limit ? `${data.admitted} / ${data.wip_limit}` : String(standing(data));
    if (count.textContent !== text) {
      setText(count, text);
      count.classList.remove("tick");
      if (!calm()) requestAnimationFrame(() => count.classList.add("tick"));
    }
    count.title = data.wip_limit ? `${data.admitted} admitted, ${data.wip_limit} allowed at once` : `${standing(data)} ${data.newest_first ? "done" : "open"}, ${data.total} shown here`;
    $("[data-meter]", column).style.width = data.wip_limit ? `${Math.min(100, (data.admitted / data.wip_limit) * 100)}%` : "0";
    column.querySelector(".meter").style.visibility = data.wip_limit ? "" : "hidden";
    const notes = [];
    if (over) notes.push(`${data.admitted - data.wip_limit} over the limit`);
    else if (full) notes.push("full");
    if (data.queued) notes.push(`+${data.queued} queued`);
    const note = $("[data-note]", column);
    const words = notes.join(" · ");
    if (note.dataset.words !== words && !column.dataset.refused) {
      note.dataset.words = words;
      note.replaceChildren(...(over ? [icon("warn")] : []), words);
    }
  }

  #drawList(list, data, cards, first) {
    const visible = cards.filter((card) => this.filters.match(card));
    let at = list.firstElementChild;
    for (const card of visible) {
      const isNew = !this.#drawn.has(card.id);
      const element = this.#cardElement(card);
      if (element !== at) list.insertBefore(element, at);
      else at = at.nextElementSibling;
      if (isNew && !first && !calm()) {
        element.dataset.new = "";
        element.addEventListener("animationend", () => delete element.dataset.new, { once: true });
      }
    }
    const keep = new Set(visible.map((card) => `card-${card.id}`));
    for (const child of $$(".card", list)) if (!keep.has(child.id)) child.remove();
    const held = cards.length;
    const rest = data.total - held;
    const words = held ? "No match here" : data.is_terminal ? "Nothing yet" : "Empty";
    if (rest > 0 && held) this.#last(list, `more ${rest}`, () => this.#more(data, cards));
    else if (!visible.length) this.#last(list, words, () => h("li", { class: "nothing-here" }, words));
    else this.#last(list, "", null);
  }

  /* What stands below the cards; the same thing stays, with the focus it may have. */
  #last(list, what, make) {
    const old = $(".nothing-here", list);
    if (old?.dataset.what === what) {
      if (old !== list.lastElementChild) list.append(old);
      return;
    }
    old?.remove();
    if (!make) return;
    const made = make();
    made.dataset.what = what;
    list.append(made);
  }

  /* Beyond the first fifty; what the server holds and this page does not. */
  #more(data, cards) {
    const button = h("button", { type: "button", class: "more" }, `Show more of ${data.total - cards.length}`);
    button.addEventListener("click", async () => {
      button.disabled = true;
      const query = new URLSearchParams({ workflow: this.#store.workflow.key, column: data.key, after: cards.at(-1).id });
      try {
        this.#store.add((await call("GET", `/api/v1/board/cards?${query}`)).cards);
      } catch (refusal) {
        refuse("", refusal);
        button.disabled = false;
      }
    });
    return h("li", { class: "nothing-here" }, button);
  }

  #cardElement(card) {
    const text = JSON.stringify([card, this.open === card.number, this.chosen.has(card.id), this.chosen.size > 0, this.watching.get(card.id), this.#doing(card), location.search]);
    let element = this.element(card.id);
    if (this.#drawn.get(card.id) === text && element) return element;
    if (!element) element = h("li", { class: "card", id: `card-${card.id}`, data: { id: card.id } });
    this.#drawn.set(card.id, text);
    this.#fill(element, card);
    return element;
  }

  #fill(element, card) {
    element.toggleAttribute("data-open", this.open === card.number);
    element.toggleAttribute("data-busy", Boolean(card.busy));
    element.toggleAttribute("data-chosen", this.chosen.has(card.id));
    const held = element.contains(document.activeElement) ? document.activeElement.className : null;
    const name = `${this.#store.label}-${card.number}`;
    element.replaceChildren(
      h("div", { class: "card-top" },
        h("span", { class: "ref" }, name),
        h("span", { class: "priority", data: { priority: card.priority } }, PRIORITY[card.priority]),
        h("time", { class: "age", datetime: card.phase_entered_at, title: `in ${card.phase_name} since ${new Date(card.phase_entered_at).toLocaleString()}`, data: { age: card.phase_entered_at } }, ago(card.phase_entered_at))),
      h("a", { class: "card-link", href: `${this.#base}/tickets/${card.number}${location.search}`, draggable: "false", "aria-current": this.open === card.number ? "true" : null, "aria-describedby": `about-${card.id}` }, h("span", { class: "sr" }, `${name} `), card.title),
      this.#about(card),
      this.#doingLine(card) || "",
    );
    const here = this.watching.get(card.id) || [];
    if (here.length) element.querySelector(".card-top").append(h("span", { class: "card-watchers", title: `${here.join(", ")} ${here.length === 1 ? "has" : "have"} it open` }, h("span", { class: "sr" }, `open at ${here.join(", ")}`), h("span", { "aria-hidden": "true" }, `◉ ${here.length}`)));
    if (this.#may && isOpen(card)) {
      const chosen = this.chosen.has(card.id);
      element.append(h("button", { type: "button", class: "card-pick", "aria-label": `Choose ${name}`, "aria-pressed": String(chosen), title: "Choose (X)", data: { shown: this.chosen.size ? "yes" : null }, on: { click: () => this.onPick(card.id) } }, chosen ? icon("check") : ""));
      element.append(h("button", { type: "button", class: "card-move", "aria-label": `Move ${name} to…`, title: "Move to…", "aria-haspopup": "dialog", on: { click: () => this.onMove(card.id) } }, icon("more")));
    }
    if (held) (element.getElementsByClassName(held)[0] || element.querySelector(".card-link")).focus({ preventScroll: true });
  }

  #about(card) {
    const { done, total } = card.tasks;
    const parts = [];
    if (total) {
      const bar = h("span", { class: "bar-small", "aria-hidden": "true" }, h("span"));
      bar.firstChild.style.width = `${(done / total) * 100}%`;
      parts.push(h("span", { class: "figures", title: "tasks completed" }, h("span", { class: "sr" }, "tasks "), `${done}/${total}`));
      parts.unshift(bar);
    }
    for (const [words, tone, sign] of this.#badges(card)) parts.push(h("span", { class: "badge", data: { tone } }, sign ? icon(sign) : "", words));
    for (const label of card.labels.slice(0, 3)) parts.push(h("span", { class: "badge" }, label));
    const phase = this.#shared(card) ? h("span", { class: "badge" }, card.phase_name) : "";
    return h("div", { id: `about-${card.id}` },
      h("div", { class: "badges" }, ...parts.slice(0, total ? 2 : 0), phase, ...parts.slice(total ? 2 : 0)),
      card.blocked_reason && isOpen(card) ? this.#because(card) : "");
  }

  /* A long reason opens where it stands, by mouse, finger and keyboard. */
  #because({ id, blocked_reason: reason }) {
    if (reason.length <= SHORT) return h("p", { class: "because" }, reason);
    const details = h("details", { class: "because", open: this.#unfolded.has(id) }, h("summary", {}, reason));
    details.addEventListener("toggle", () => (details.open ? this.#unfolded.add(id) : this.#unfolded.delete(id)));
    return details;
  }

  /* The phase is named where its column holds several. */
  #shared(card) {
    return (this.#store.columns.get(card.column)?.phases.length || 0) > 1;
  }

  #badges(card) {
    const badges = [];
    const { gate, tasks, reviews } = card;
    const deciding = { pending_review: ["waits for approval", "accent", null], timed_out: ["approval not given in time", "accent", null], rejected: ["rejected", "bad", "cross"] }[card.approval];
    if (deciding && isOpen(card)) badges.push(deciding);
    if (reviews.escalated && isOpen(card)) badges.push(["review needs you", "accent", null]);
    else if (reviews.begun && isOpen(card)) badges.push(["in review", "info", null]);
    else if (reviews.waiting && isOpen(card)) badges.push(["waits for review", "warn", null]);
    if (gate && gate.total && isOpen(card) && !card.blocked_reason) {
      if (gate.status === "passed") badges.push(["gate passed", "ok", "check"]);
      else {
        badges.push([`gate ${gate.met}/${gate.total}${gate.met ? " verified" : ""}`, gate.met ? "ok" : "", null]);
        if (gate.missing) badges.push([`evidence missing: ${gate.missing}`, "warn", null]);
        if (gate.reported) badges.push([`${gate.reported} reported`, "warn", null]);
      }
    }
    if (tasks.failed && isOpen(card)) badges.push([`${tasks.failed} failed`, "bad", "cross"]);
    if (card.blocked_by.length && isOpen(card)) badges.push([card.blocked_by.length === 1 ? `blocked by ${this.#store.label}-${card.blocked_by[0]}` : `blocked by ${card.blocked_by.length}`, "bad", null]);
    if (card.locks.length) badges.push([card.locks.length === 1 ? `lock: ${card.locks[0]}` : `${card.locks.length} locks`, "agent", null]);
    if (tasks.blocked > reviews.escalated && isOpen(card)) badges.push([`${tasks.blocked - reviews.escalated} held back`, "bad", null]);
    if (card.queued) badges.push(["queued, column full", "warn", null]);
    if (card.facts?.cost) badges.push([`$${card.facts.cost}`, "", null]);
    if (card.status === "cancelled") badges.push(["cancelled", "", null]);
    if (card.status === "failed") badges.push(["failed", "bad", null]);
    return badges;
  }

  #doing(card) {
    if (!isOpen(card)) return null;
    const { holder } = card;
    if (holder) {
      const left = Math.round((Date.parse(holder.lease_expires_at) - Date.now()) / 1000);
      if (left <= 0) return [holder, "silent, being taken back", "warn"];
      if (left <= 12) return [holder, `silent, taken back in ${Math.ceil(left / 3) * 3} s`, "warn"];
      const percent = holder.progress > 0 ? ` ${Math.round(holder.progress * 100)} %` : "";
      if (holder.status === "assigned") return [holder, "taking it up", ""];
      return [holder, (holder.note || `at “${holder.task}”`) + percent, ""];
    }
    if (["pending_review", "timed_out", "rejected"].includes(card.approval)) return card.assignee ? [card.assignee, "assigned", ""] : null;
    if (card.waits?.reason === "wip_full") return [card.assignee, "done here, waiting for a place", "warn"];
    if (card.blocked_reason || card.queued) return card.assignee ? [card.assignee, "assigned", ""] : null;
    const { reviews } = card;
    const ready = card.tasks.total - card.tasks.done - card.tasks.failed - card.tasks.blocked - reviews.waiting - reviews.begun;
    if (ready > 0) return [card.assignee, this.#held(card) || "waiting for an agent", ""];
    return card.assignee ? [card.assignee, "assigned", ""] : null;
  }

  /* Work does not begin while there is no place for what comes out of it. */
  #held(card) {
    if (this.#store.stopped) return "waiting, new work is stopped";
    const next = this.#store.columns.get(this.#store.phases.get(card.phase)?.next);
    const full = next && next.key !== card.column && next.wip_limit && next.admitted >= next.wip_limit;
    return full ? `waiting, ${next.name} is full` : "";
  }

  #doingLine(card) {
    const doing = this.#doing(card);
    if (!doing) return null;
    const [who, words, tone] = doing;
    const mark = who ? h("span", { class: `face ${who.kind}`, "aria-hidden": "true" }, initials(who.name)) : "";
    const text = who ? `${who.name} · ${words}` : words;
    return h("p", { class: "doing", data: { tone }, title: text }, mark, h("span", {}, text));
  }

  /* Seconds pass without frames: ages, and leases that run out. */
  tick() {
    for (const age of $$("[data-age]")) setText(age, ago(age.dataset.age));
    const leased = this.#store.all().some((card) => card.holder && Date.parse(card.holder.lease_expires_at) - Date.now() < 13_000);
    if (leased) this.draw();
  }

  /* One glide from where it was, as a copy: the columns' scroll boxes would cut the card itself. */
  #glide({ element, rect }) {
    const now = element.getBoundingClientRect();
    if (!now.width || !rect.width) return;
    const ghost = element.cloneNode(true);
    ghost.removeAttribute("id");
    ghost.classList.add("ghost");
    ghost.inert = true;
    Object.assign(ghost.style, { left: `${rect.left}px`, top: `${rect.top}px`, width: `${now.width}px` });
    document.body.append(ghost);
    element.style.visibility = "hidden";
    const glide = ghost.animate([{ transform: "none" }, { transform: `translate(${now.left - rect.left}px, ${now.top - rect.top}px)` }], { duration: 190, easing: "cubic-bezier(.2,.7,.3,1)" });
    const end = () => {
      ghost.remove();
      element.style.visibility = "";
    };
    glide.addEventListener("finish", end);
    glide.addEventListener("cancel", end);
  }
}

export const isOpen = (card) => card.status === "pending" || card.status === "in_progress";
