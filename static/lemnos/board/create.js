/* The dialog "New ticket": fields, a file where the workflow checks one, errors at the field. */

import { $, $$, setText } from "./dom.js";
import { call, upload } from "./api.js";
import { toast } from "./say.js";

const FILE_LIMIT = 20 * 1024 * 1024;

export class Creator {
  #store;
  #dialog = $("#new-dialog");
  #form = $("#new-form");
  #file = $("#new-file");
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
    this.#form.addEventListener("input", (event) => this.#error(event.target.name || "file", ""));
    $("[data-discard]", this.#form).addEventListener("click", () => this.#discard());
    if (this.#file) this.#wireFile();
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
    return this.#store.columns.get(this.#store.start);
  }

  #wireFile() {
    const drop = $("#drop");
    this.#file.addEventListener("change", () => this.#fileChosen());
    for (const radio of $$("input[name=source]", this.#form)) radio.addEventListener("change", () => this.#sourceChosen());
    drop.addEventListener("dragover", (event) => {
      event.preventDefault();
      drop.dataset.over = "";
    });
    drop.addEventListener("dragleave", () => delete drop.dataset.over);
    drop.addEventListener("drop", (event) => {
      event.preventDefault();
      delete drop.dataset.over;
      if (event.dataTransfer.files.length) {
        this.#file.files = event.dataTransfer.files;
        this.#fileChosen();
      }
    });
  }

  #source() {
    return this.#file ? new FormData(this.#form).get("source") : null;
  }

  #sourceChosen() {
    if (!this.#file) return;
    const own = this.#source() === "archive";
    this.#file.disabled = !own;
    $("#drop").toggleAttribute("data-off", !own);
    this.#error("file", "");
  }

  #fileChosen() {
    const file = this.#file.files[0];
    setText($("#drop-label"), file ? `${file.name} · ${size(file.size)}` : "Choose a file, or drop it here");
    this.#error("file", file && file.size > FILE_LIMIT ? `${size(file.size)} is too much; 20 MiB are allowed.` : "");
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
    const file = this.#file?.files[0];
    if (this.#source() === "archive") {
      if (!file) wrong.push(["file", "Choose the archive to check."]);
      else if (!file.size) wrong.push(["file", "This file is empty."]);
      else if (file.size > FILE_LIMIT) wrong.push(["file", `${size(file.size)} is too much; 20 MiB are allowed.`]);
    }
    for (const [name, text] of wrong) this.#error(name, text);
    if (wrong.length) this.#input(wrong[0][0])?.focus();
    return !wrong.length;
  }

  async #body(data) {
    const labels = data.get("labels").split(",").map((label) => label.trim()).filter(Boolean);
    const body = { workflow: this.#store.workflow.key, title: data.get("title").trim(), description: data.get("description"), priority: data.get("priority"), labels };
    if (this.#source() === "self") body.context = { source: { kind: "self" } };
    if (this.#source() === "archive") {
      const bar = $("#new-progress");
      bar.hidden = false;
      const stored = await upload(this.#file.files[0], (part) => (bar.value = part * 100)).catch((refusal) => {
        refusal.problem.errors = [{ path: "file", message: refusal.fields.file || refusal.message }];
        throw refusal;
      });
      body.context = { source: { kind: "archive", file_id: stored.id } };
    }
    return body;
  }

  /* Close, with nothing left of what was written. */
  #discard() {
    this.#dialog.close();
    this.#form.reset();
    if (this.#file) {
      this.#fileChosen();
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
    return name === "file" ? this.#file : name ? this.#form.elements[name] : null;
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
    const bar = $("#new-progress");
    if (!on && bar) {
      bar.hidden = true;
      bar.value = 0;
    }
  }
}

const size = (bytes) => (bytes < 1024 * 1024 ? `${Math.ceil(bytes / 1024)} KiB` : `${(bytes / 1024 / 1024).toFixed(1)} MiB`);
