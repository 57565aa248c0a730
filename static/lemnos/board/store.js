/* The board as this page knows it: cards by id, columns by key, the number reached. */

const ORDER = { CRITICAL: 1, HIGH: 2, MEDIUM: 3, LOW: 4 };

export class Store extends EventTarget {
  constructor(snapshot) {
    super();
    this.me = snapshot.me;
    this.label = snapshot.label;
    this.workflow = snapshot.workflow;
    this.phases = new Map(snapshot.phases.map((phase) => [phase.key, phase]));
    this.wishes = new Map(); // id → fields of a move the server has not answered yet
    this.aside = new Map(); // opened by their address, not on the page: below the first fifty
    this.load(snapshot);
  }

  /* Begin afresh from GET /board. */
  load(snapshot) {
    this.seq = snapshot.seq;
    this.stopped = snapshot.stopped || null;
    this.columns = new Map();
    this.cards = new Map();
    this.aside.clear();
    for (const { cards, ...column } of snapshot.columns) {
      this.columns.set(column.key, column);
      for (const card of cards) this.cards.set(card.id, card);
    }
    this.#changed({ all: true });
  }

  /* A frame of the socket. Values are present ones, so applying one twice does no harm. */
  apply({ seq, cards, columns }) {
    const touched = new Set();
    for (const patch of cards) {
      if (this.#applyCard(patch)) touched.add(patch.id);
    }
    for (const column of columns) {
      if (this.columns.has(column.key)) Object.assign(this.columns.get(column.key), column);
    }
    this.seq = seq;
    this.#changed({ touched });
  }

  /* New work is stopped by somebody, or goes on again (null). */
  stop(stopped) {
    if (JSON.stringify(stopped || null) === JSON.stringify(this.stopped)) return;
    this.stopped = stopped || null;
    this.#changed({ all: true });
  }

  #applyCard({ id, v, gone, set }) {
    const held = this.cards.get(id) || this.aside.get(id);
    if (gone) return this.cards.delete(id) || this.aside.delete(id);
    if (held) {
      if (v < held.v) return false;
      Object.assign(held, set, { v });
      return true;
    }
    // A card below the first fifty of its column: it is shown once we are sent all of it.
    if (!set.title || !set.column) return false;
    this.cards.set(id, { id, v, ...set });
    return true;
  }

  /* A whole card, as a move answers it. */
  put(card) {
    const held = this.cards.get(card.id);
    this.aside.delete(card.id);
    if (!held || card.v >= held.v) this.cards.set(card.id, card);
    this.#changed({ touched: new Set([card.id]) });
  }

  /* The card of an opened ticket: known, but shown in its column only once that is read so far. */
  learn(card) {
    const held = this.cards.get(card.id) || this.aside.get(card.id);
    if (held && held.v >= card.v) return;
    (this.cards.has(card.id) ? this.cards : this.aside).set(card.id, card);
    this.#changed({ touched: new Set() });
  }

  /* Older cards of a column that a page asked for. */
  add(cards) {
    for (const card of cards) {
      this.aside.delete(card.id);
      const held = this.cards.get(card.id);
      if (!held || card.v > held.v) this.cards.set(card.id, card);
    }
    this.#changed({ touched: new Set(cards.map((card) => card.id)) });
  }

  wish(id, fields) {
    this.wishes.set(id, fields);
    this.#changed({ touched: new Set([id]) });
  }

  unwish(id) {
    this.wishes.delete(id);
    this.#changed({ touched: new Set([id]) });
  }

  get(id) {
    const card = this.cards.get(id) || this.aside.get(id);
    return card && this.wishes.has(id) ? { ...card, ...this.wishes.get(id), busy: true } : card;
  }

  byNumber(number) {
    for (const cards of [this.cards, this.aside]) for (const card of cards.values()) if (card.number === number) return this.get(card.id);
    return undefined;
  }

  all() {
    return [...this.cards.keys()].map((id) => this.get(id));
  }

  inColumn(key) {
    return this.sort(key, this.all().filter((card) => card.column === key));
  }

  /* In the order of this column. */
  sort(key, cards) {
    return cards.sort(this.columns.get(key)?.newest_first ? newest : compare);
  }

  /* Fields that others can derive from: an agent at work, a person needed. */
  isWorking(card) {
    return Boolean(card.holder) && Date.parse(card.holder.lease_expires_at) > Date.now();
  }

  /* Whether this very person is needed: to decide, to confirm, or because nobody else goes on. */
  needsPerson(card) {
    if (isEnded(card)) return false;
    const { tasks, gate, approval, reviews } = card;
    if (["pending_review", "timed_out"].includes(approval)) return this.me.decide && this.me.human && card.created_by !== this.me.id;
    if (approval === "rejected") return card.created_by === this.me.id;
    if (reviews.escalated) return this.me.decide && this.me.human;
    // All work is done and the gate stays shut: nobody else will go on.
    const stands = tasks.total > 0 && tasks.done === tasks.total && gate?.total > 0 && gate.status !== "passed";
    return Boolean(card.blocked_reason) || tasks.failed > 0 || (gate?.reported || 0) > 0 || stands;
  }

  #changed(detail) {
    this.dispatchEvent(new CustomEvent("change", { detail }));
  }
}

/* What a column without a limit counts: tickets that are open, or those that ended in it. */
export const standing = (column) => (column.newest_first ? column.total : column.admitted + column.queued);

export const isEnded = (card) => !["pending", "in_progress"].includes(card.status);

/* What is open comes first, as the server has it. */
export function compare(a, b) {
  return isEnded(a) - isEnded(b) || ORDER[a.priority] - ORDER[b.priority] || a.rank - b.rank || (a.id < b.id ? -1 : 1);
}
/* Finished tickets: what ended last comes first. */
function newest(a, b) {
  return isEnded(a) - isEnded(b) || b.rank - a.rank || (a.id < b.id ? 1 : -1);
}
export const priorityOrder = (word) => ORDER[word];
