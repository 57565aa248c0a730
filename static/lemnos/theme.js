/* Loaded before the first paint, so that the chosen theme never flashes. */
(() => {
  const chosen = localStorage.getItem("lemnos.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
