/** Light and dark: as the system has it, until somebody chooses. */

import { button } from "./dom.js";

/** Make the button that changes between them. */
export function themeButton() {
  const root = document.documentElement;
  const dark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const toggle = button("", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    label();
  });
  const label = () => {
    toggle.textContent = dark() ? "Light" : "Dark";
  };
  label();
  return toggle;
}
