/* feedback.js: a choice applies at once, and severity is asked for problems alone. Everything works without it. */
(function () {
  "use strict";
  document.querySelectorAll("[data-apply]").forEach(function (form) {
    form.querySelector("button").hidden = true;
    form.addEventListener("change", function () { form.requestSubmit(); });
  });
  document.querySelectorAll("[data-kinds]").forEach(function (form) {
    var severity = form.querySelector(".severity");
    function show() { severity.hidden = form.querySelector("[name=kind]:checked").value !== "problem"; }
    form.addEventListener("change", show);
    show();
  });
})();
