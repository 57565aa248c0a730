/* The field that takes a source archive: chosen or dropped, judged before it is sent, uploaded. */

import { $, setText } from "./dom.js";
import { upload } from "./api.js";

const LIMIT = 20 * 1024 * 1024;
const ASK = "Choose a file, or drop it here";

export class ArchiveField {
  #box;
  #label;
  #bar;
  #onChange;

  constructor(box, { onChange }) {
    this.#box = box;
    this.input = $("input", box);
    this.#label = $("label", box);
    this.#bar = $("progress", box);
    this.#onChange = onChange;
    this.input.addEventListener("change", () => this.chosen());
    box.addEventListener("dragover", (event) => {
      event.preventDefault();
      box.dataset.over = "";
    });
    box.addEventListener("dragleave", () => delete box.dataset.over);
    box.addEventListener("drop", (event) => {
      event.preventDefault();
      delete box.dataset.over;
      if (!event.dataTransfer.files.length) return;
      this.input.files = event.dataTransfer.files;
      this.chosen();
    });
  }

  get file() {
    return this.input.files[0];
  }

  /* Why this cannot be sent; empty: it can. */
  get fault() {
    const file = this.file;
    if (!file) return "Choose the archive to check.";
    if (!file.size) return "This file is empty.";
    return file.size > LIMIT ? `${size(file.size)} is too much; 20 MiB are allowed.` : "";
  }

  chosen() {
    setText(this.#label, this.file ? `${this.file.name} · ${size(this.file.size)}` : ASK);
    this.#onChange(this.file, this.file ? this.fault : "");
  }

  clear() {
    this.input.value = "";
    this.chosen();
  }

  set off(off) {
    this.input.disabled = off;
    this.#box.toggleAttribute("data-off", off);
  }

  /* The stored file; a refusal stands at this field. */
  async upload() {
    this.#bar.hidden = false;
    try {
      return await upload(this.file, (part) => (this.#bar.value = part * 100));
    } catch (refusal) {
      refusal.problem.errors = [{ path: "file", message: refusal.fields.file || refusal.message }];
      throw refusal;
    }
  }

  rest() {
    this.#bar.hidden = true;
    this.#bar.value = 0;
  }
}

const size = (bytes) => (bytes < 1024 * 1024 ? `${Math.ceil(bytes / 1024)} KiB` : `${(bytes / 1024 / 1024).toFixed(1)} MiB`);
