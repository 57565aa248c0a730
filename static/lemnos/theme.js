/* The chosen theme, one for all pages: kept where the admin's own switch keeps it.
   Loaded before the first paint, so that it never flashes. */
(() => {
  const KEY = "adminTheme";
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");

  function chosen() {
    try {
      const kept = JSON.parse(localStorage.getItem(KEY));
      return kept === "light" || kept === "dark" ? kept : "system";
    } catch {
      return "system";
    }
  }

  function apply() {
    const now = chosen();
    if (now === "system") delete root.dataset.theme;
    else root.dataset.theme = now;
    // The name by which the API's page knows it.
    root.classList.toggle("dark-mode", now === "dark" || (now === "system" && system.matches));
    dispatchEvent(new CustomEvent("lemnos-theme", { detail: now }));
  }

  function choose(choice) {
    localStorage.setItem(KEY, JSON.stringify(choice === "system" ? "auto" : choice));
    apply();
  }

  // Another window's choice, and the system's own change of day and night.
  addEventListener("storage", ({ key }) => (key === KEY || key === null) && apply());
  system.addEventListener("change", apply);
  window.lemnosTheme = { chosen, choose };
  apply();
})();
