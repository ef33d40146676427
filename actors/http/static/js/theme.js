// The theme: as the system has it, light, or dark. Loaded before the page is drawn, so that it never flashes.
"use strict";

(() => {
  const KEY = "tickloom-theme";
  const ORDER = ["system", "light", "dark"];
  const root = document.documentElement;

  const stored = () => {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null; // storage is switched off: the choice lasts as long as the page
    }
  };

  const apply = (theme) => {
    if (theme === "system") delete root.dataset.theme;
    else root.dataset.theme = theme;
    root.dispatchEvent(new CustomEvent("themechange", { detail: theme }));
  };

  window.tickloomTheme = {
    get current() {
      return root.dataset.theme ?? "system";
    },
    next() {
      const theme = ORDER[(ORDER.indexOf(this.current) + 1) % ORDER.length];
      try {
        localStorage.setItem(KEY, theme);
      } catch {
        // as above
      }
      apply(theme);
      return theme;
    },
  };

  if (ORDER.includes(stored())) apply(stored());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => apply(window.tickloomTheme.current));
})();
