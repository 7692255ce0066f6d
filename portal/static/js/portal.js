/* portal.js: loaded in <head> without defer, so the theme is set before first paint.
   Every page works without it: it copies, opens dialogs, closes the account menu, and takes a double click for one. */
(function () {
  "use strict";
  var root = document.documentElement;
  var dark = window.matchMedia("(prefers-color-scheme: dark)");
  function theme() { root.setAttribute("data-bs-theme", dark.matches ? "dark" : "light"); }
  theme();
  root.setAttribute("data-js", "");
  dark.addEventListener("change", theme);
  window.addEventListener("beforeprint", function () { root.setAttribute("data-bs-theme", "light"); });
  window.addEventListener("afterprint", theme);

  function copy(button) {
    var label = button.querySelector("[data-copy-label]");
    var before = label.getAttribute("data-copy-label") || label.textContent;
    label.setAttribute("data-copy-label", before);
    var copied = navigator.clipboard ? navigator.clipboard.writeText(button.getAttribute("data-copy")) : Promise.reject();
    copied.then(
      function () { label.textContent = "Copied"; },
      function () { label.textContent = "Select and copy by hand"; }
    ).then(function () { setTimeout(function () { label.textContent = before; }, 2500); });
  }

  document.addEventListener("click", function (event) {
    var menu = document.querySelector(".account[open]");
    if (menu && !menu.contains(event.target)) { menu.removeAttribute("open"); }
    /* A button that cannot act stays visible with its reason; the server refuses it as well. */
    if (event.target.closest("[aria-disabled='true']")) { event.preventDefault(); return; }
    var button = event.target.closest("[data-copy]");
    if (button) { copy(button); }
    /* Openers are links to a full page, so they work without JavaScript and in a new tab too. */
    var opener = event.target.closest("[data-dialog]");
    var dialog = opener && document.getElementById(opener.getAttribute("data-dialog"));
    if (dialog && !(event.ctrlKey || event.metaKey || event.shiftKey)) {
      event.preventDefault();
      dialog.showModal();
    }
  });
  /* The second press of a double click would do the act twice. The way out of a dialog sends nothing. */
  document.addEventListener("submit", function (event) {
    var method = (event.submitter && event.submitter.formMethod) || event.target.method;
    if (event.defaultPrevented || method !== "post") { return; }
    if (Date.now() - Number(event.target.dataset.sent || 0) < 2000) { event.preventDefault(); return; }
    event.target.dataset.sent = Date.now();
  });
  document.addEventListener("keydown", function (event) {
    var menu = document.querySelector(".account[open]");
    if (event.key === "Escape" && menu) { menu.removeAttribute("open"); menu.querySelector("summary").focus(); }
  });
})();
