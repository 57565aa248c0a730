/* The operators' sidebar and its content for those who have no mouse. */
(() => {
  /** Headings that open a part of the sidebar become buttons that say whether it is open. */
  function makeButton(heading) {
    const list = heading.parentElement.querySelector("ol");
    if (!list || heading.getAttribute("role") === "button") return;
    heading.setAttribute("role", "button");
    heading.tabIndex = 0;
    const tell = () =>
      heading.setAttribute("aria-expanded", String(getComputedStyle(list).display !== "none"));
    new MutationObserver(tell).observe(list, { attributes: true, attributeFilter: ["style"] });
    tell();
    heading.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      heading.click();
    });
  }

  /** Past the sidebar with one key. */
  function addSkip() {
    const content = document.getElementById("content");
    if (!content) return;
    content.tabIndex = -1;
    const skip = document.createElement("a");
    skip.className = "lem-skip";
    skip.href = "#content";
    skip.textContent = "To the content";
    document.body.prepend(skip);
  }

  addEventListener("DOMContentLoaded", () => {
    const sidebar = document.getElementById("nav-sidebar-apps");
    sidebar?.querySelectorAll("h2.cursor-pointer").forEach(makeButton);
    // Their icons are words to a screen reader: "account_balance_wallet Budgets".
    sidebar
      ?.querySelectorAll(".material-symbols-outlined")
      .forEach((icon) => icon.setAttribute("aria-hidden", "true"));
    addSkip();
  });
})();
