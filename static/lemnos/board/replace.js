/* The dialog "Replace archive": a blocked checkup begins anew with another source. */

import { $, setText } from "./dom.js";
import { call } from "./api.js";
import { announce, toast } from "./say.js";
import { ArchiveField } from "./archive.js";

export class Replacer {
  #dialog = $("#replace-dialog");
  #field;
  #ticket = null;
  #turn = 0;

  constructor() {
    if (!this.#dialog) return;
    this.#field = new ArchiveField($(".drop", this.#dialog), { onChange: (_, fault) => this.#error(fault) });
    $("form", this.#dialog).addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    // Whoever closes it while it uploads has changed their mind: nothing is replaced then.
    this.#dialog.addEventListener("close", () => this.#working(false, ++this.#turn));
  }

  /* `version()` is the ticket's version when it is sent, `file` what it has now, `after` follows. */
  open(ticket) {
    if (!this.#dialog || this.#dialog.open) return;
    this.#ticket = ticket;
    this.#field.clear();
    setText($("#replace-title"), `Replace the archive of ${ticket.name}`);
    setText($("#replace-error"), "");
    this.#dialog.showModal();
    this.#field.input.focus();
  }

  async #submit() {
    if ($("#replace-submit").disabled) return;
    setText($("#replace-error"), "");
    this.#error(this.#field.fault);
    if (this.#field.fault) return this.#field.input.focus();
    const turn = ++this.#turn;
    this.#working(true);
    try {
      await this.#replace(turn);
    } catch (refusal) {
      // Told once the newest is there: the second try is meant for that.
      if (refusal.isStale) await this.#ticket.after();
      if (turn === this.#turn) this.#refused(refusal);
    }
    if (turn === this.#turn) this.#working(false);
  }

  async #replace(turn) {
    const { url, version, file, name, after } = this.#ticket;
    const stored = await this.#field.upload();
    if (turn !== this.#turn) return;
    if (stored.id === file) {
      this.#error("This is the archive that was checked. Choose another one, or close this and retry.");
      this.#field.input.focus();
      return;
    }
    setText($("#replace-submit"), "Replacing…");
    const ticket = await call("PATCH", url, { context: { source: { kind: "archive", file_id: stored.id } } }, { version: version() });
    this.#dialog.close();
    const text = ticket.admitted_at ? `${name} begins anew with the new archive.` : `${name} begins anew when its column has a place.`;
    toast(text);
    announce(text);
    await after();
  }

  #refused(refusal) {
    const [path, text] = Object.entries(refusal.fields)[0] || [];
    const atField = path === "file" || path?.startsWith("context.source");
    if (atField) {
      this.#error(text);
      this.#field.input.focus();
    } else setText($("#replace-error"), `${refusal.message} ${refusal.remedy}`.trim());
  }

  #error(text) {
    setText($("#replace-file-error"), text);
    if (text) this.#field.input.setAttribute("aria-invalid", "true");
    else this.#field.input.removeAttribute("aria-invalid");
  }

  #working(on) {
    $("#replace-submit").disabled = on;
    setText($("#replace-submit"), on ? "Uploading…" : "Replace and check");
    this.#dialog.setAttribute("aria-busy", String(on));
    if (!on) this.#field.rest();
  }
}
