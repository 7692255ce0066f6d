/* preview.js: a live preview beside an editor of Markdown. Without it the editor's "Preview" button does the same. */
(function () {
  "use strict";

  function preparePreview(box) {
    var form = document.getElementById(box.dataset.previewOf);
    var waiting = null;
    var latest = 0;

    /* Where the box waits in a part that is hidden, it comes up with the first preview. */
    function reveal() {
      var part = box.closest("[hidden]");
      if (part) { part.hidden = false; }
    }
    function refresh() {
      var mine = ++latest;
      fetch(box.dataset.preview, { method: "POST", body: new URLSearchParams(new FormData(form)) }).then(function (answer) {
        return answer.ok && !answer.redirected ? answer.text() : null; // redirected: to signing in
      }).then(function (html) {
        /* The server cleaned this HTML; it is the same that readers get. */
        if (html !== null && mine === latest) { box.innerHTML = html; reveal(); }
      }, function () { /* The last preview stays; saving still works. */ });
    }
    form.addEventListener("input", function () { clearTimeout(waiting); waiting = setTimeout(refresh, 400); });
    form.querySelector("[name=preview]").hidden = true;
  }

  document.querySelectorAll("[data-preview]").forEach(preparePreview);
})();
