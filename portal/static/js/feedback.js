/* feedback.js: a choice applies at once, severity is asked for problems alone, what is similar comes up while somebody types, and
   files that are too large are named before they are sent. Everything works without it. */
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

  document.querySelectorAll("[data-similar]").forEach(function (box) {
    var form = box.closest("form");
    var said = form.querySelector("[data-similar-said]");
    var waiting = null;
    var latest = 0;
    var shown = box.innerHTML.trim();

    function field(name) { return form.elements[name] ? form.elements[name].value : ""; }
    function announce() {
      var rows = box.querySelector("[data-count]");
      var count = rows ? Number(rows.dataset.count) : 0;
      said.textContent = count ? count + (count === 1 ? " entry looks" : " entries look") + " similar" : "";
    }
    function ask() {
      var mine = ++latest;
      var words = { csrf_token: field("csrf_token"), product: field("product"), title: field("title"), body: field("body").slice(0, 200) };
      if (words.title.trim().length < 3) { return; }
      fetch(box.dataset.similar, { method: "POST", body: new URLSearchParams(words) }).then(function (answer) {
        return answer.ok && !answer.redirected ? answer.text() : null;
      }).then(function (html) {
        if (html === null || mine !== latest || html.trim() === shown) { return; }
        if (box.contains(document.activeElement)) { return; } // nothing moves under somebody's hands
        shown = html.trim();
        box.innerHTML = html;
        announce();
      }, function () { /* The last list stays; writing still works. */ });
    }
    form.addEventListener("input", function (event) {
      if (event.target.name !== "title" && event.target.name !== "body" && event.target.name !== "product") { return; }
      clearTimeout(waiting);
      waiting = setTimeout(ask, 350);
    });
  });

  document.querySelectorAll("input[type=file][data-limit]").forEach(function (input) {
    input.addEventListener("change", function () {
      var large = Array.from(input.files).filter(function (file) { return file.size > Number(input.dataset.limit); });
      var limit = (Number(input.dataset.limit) / 1e6).toFixed(1) + "\u00a0MB";
      input.setCustomValidity(
        large.length ? large[0].name + " is larger than " + limit + ", the most for one file. Zip it, or send part of it." :
        input.files.length > Number(input.dataset.most) ? "Choose " + input.dataset.most + " files at most, or zip them." : ""
      );
      input.reportValidity();
    });
  });
})();
