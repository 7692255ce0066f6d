/* preview.js: a live preview beside an editor of Markdown. Without it the editor's "Preview" button does the same. */
(function () {
  "use strict";

  function preparePreview(box) {
    var form = document.getElementById(box.dataset.previewOf);
    var waiting = null;
    var latest = 0;

    function refresh() {
      var mine = ++latest;
      fetch(box.dataset.preview, { method: "POST", body: new URLSearchParams(new FormData(form)) }).then(function (answer) {
        return answer.ok ? answer.text() : null;
      }).then(function (html) {
        /* The server cleaned this HTML; it is the same that readers get. */
        if (html !== null && mine === latest) { box.innerHTML = html; }
      }, function () { /* The last preview stays; saving still works. */ });
    }
    form.addEventListener("input", function () { clearTimeout(waiting); waiting = setTimeout(refresh, 400); });
    form.querySelector("[name=preview]").hidden = true;
  }

  document.querySelectorAll("[data-preview]").forEach(preparePreview);
})();
