/* The dialog "New ticket": fields, a file where the workflow checks one, errors at the field. */

import { $, $$, setText } from "./dom.js";
import { call } from "./api.js";
import { toast } from "./say.js";
import { ArchiveField } from "./archive.js";

export class Creator {
  #store;
  #dialog = $("#new-dialog");
  #form = $("#new-form");
  #archive = null;
  #onCreated;
  #busy = false;
  #key = null;

  constructor(store, { onCreated }) {
    this.#store = store;
    this.#onCreated = onCreated;
    if (!this.#dialog) return;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#form.elements.phase?.addEventListener("change", () => this.#note());
    this.#form.addEventListener("input", (event) => this.#error(event.target.name || "file", ""));
    $("[data-discard]", this.#form).addEventListener("click", () => this.#discard());
    if ($("#new-file")) this.#wireFile();
  }

  get possible() {
    return Boolean(this.#dialog);
  }

  open({ source = null } = {}) {
    if (!this.#dialog || this.#dialog.open) return;
    this.#clearErrors();
    // One key per ticket meant: sending it twice makes one.
    this.#key = crypto.randomUUID();
    this.#note();
    if (source) $(`input[name=source][value=${source}]`, this.#form).checked = true;
    this.#sourceChosen();
    this.#dialog.showModal();
    $("#new-name").focus();
  }

  /* A ticket in a full first column will wait; that is said before, not after. */
  #note() {
    const start = this.#startColumn();
    const full = start?.wip_limit && start.admitted >= start.wip_limit;
    const note = $("#new-note");
    note.hidden = !full;
    setText(note, full ? `${start.name} is full (${start.admitted} of ${start.wip_limit}). The new ticket will wait for a place.` : "");
  }

  #startColumn() {
    const chosen = this.#form.elements.phase?.value;
    return this.#store.columns.get(this.#store.phases.get(chosen)?.column || this.#store.start);
  }

  #wireFile() {
    this.#archive = new ArchiveField($("#drop"), { onChange: (file, fault) => this.#fileChosen(file, fault) });
    for (const radio of $$("input[name=source]", this.#form)) radio.addEventListener("change", () => this.#sourceChosen());
  }

  #source() {
    return this.#archive ? new FormData(this.#form).get("source") : null;
  }

  #sourceChosen() {
    if (!this.#archive) return;
    this.#archive.off = this.#source() !== "archive";
    this.#error("file", "");
  }

  #fileChosen(file, fault) {
    this.#error("file", fault);
    const title = $("#new-name");
    if (file && !title.value.trim()) title.value = `Check ${file.name.replace(/\.(tar\.gz|tgz|tar|zip)$/, "")}`;
  }

  async #submit() {
    if (this.#busy) return;
    this.#clearErrors();
    const data = new FormData(this.#form);
    if (!this.#check(data)) return;
    this.#working(true);
    try {
      const ticket = await call("POST", "/api/v1/tickets", await this.#body(data), { key: this.#key });
      this.#done(ticket);
    } catch (refusal) {
      this.#show(refusal);
    } finally {
      this.#working(false);
    }
  }

  #check(data) {
    const wrong = [];
    if (!data.get("title").trim()) wrong.push(["title", "Give it a title."]);
    if (this.#source() === "archive" && this.#archive.fault) wrong.push(["file", this.#archive.fault]);
    for (const [name, text] of wrong) this.#error(name, text);
    if (wrong.length) this.#input(wrong[0][0])?.focus();
    return !wrong.length;
  }

  async #body(data) {
    const labels = data.get("labels").split(",").map((label) => label.trim()).filter(Boolean);
    const body = { workflow: this.#store.workflow.key, title: data.get("title").trim(), description: data.get("description"), priority: data.get("priority"), labels };
    if (data.get("assignee")) body.assignee = data.get("assignee");
    if (data.get("deadline")) body.deadline = new Date(data.get("deadline")).toISOString();
    if (data.get("phase") && data.get("phase") !== this.#store.initial) body.phase = data.get("phase");
    if (this.#source() === "self") body.context = { source: { kind: "self" } };
    if (this.#source() === "archive") {
      const stored = await this.#archive.upload();
      body.context = { source: { kind: "archive", file_id: stored.id } };
    }
    return body;
  }

  /* Close, with nothing left of what was written. */
  #discard() {
    this.#dialog.close();
    this.#form.reset();
    if (this.#archive) {
      this.#archive.chosen();
      this.#sourceChosen();
    }
  }

  #done(ticket) {
    this.#discard();
    const name = `${this.#store.label}-${ticket.number}`;
    toast(ticket.admitted_at ? `${name} is on the board.` : `${name} waits: ${this.#startColumn()?.name || "its column"} is full.`);
    this.#onCreated(ticket);
  }

  #show(refusal) {
    // An answer to what was sent is stored under its key; what is corrected is meant anew.
    this.#key = crypto.randomUUID();
    let shown = false;
    for (const [path, text] of Object.entries(refusal.fields)) {
      const name = this.#place(path);
      this.#error(name, text);
      if (!shown) this.#input(name)?.focus();
      shown = true;
    }
    if (!shown) this.#error("", `${refusal.message} ${refusal.remedy}`.trim());
  }

  #place(path) {
    const name = path.split(/[.[]/)[0];
    return $(`[data-error="${name}"]`, this.#form) ? name : "";
  }

  #input(name) {
    return name === "file" ? this.#archive?.input : name ? this.#form.elements[name] : null;
  }

  #error(name, text) {
    setText($(`[data-error="${name}"]`, this.#form), text);
    const input = this.#input(name);
    if (!(input instanceof HTMLElement)) return;
    if (text) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
  }

  #clearErrors() {
    for (const place of $$("[data-error]", this.#form)) this.#error(place.dataset.error, "");
  }

  #working(on) {
    this.#busy = on;
    $("#new-submit").disabled = on;
    setText($("#new-submit"), on ? "Creating…" : "Create ticket");
    if (!on) this.#archive?.rest();
  }
}
