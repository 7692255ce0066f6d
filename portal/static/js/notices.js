/* notices.js: refreshes the numbers of a notice every 2 seconds while it goes out, and says them aloud at most every 15.
   Without it, reloading the page shows the same. */
(function () {
  "use strict";
  var EVERY = 2000;
  var SAY_EVERY = 15000;

  function watch(box) {
    var numbers = box.querySelector("[data-progress-numbers]");
    var said = box.querySelector("[data-progress-said]");
    var saidAt = Date.now();
    var last = "";

    function show(state) {
      if (state.html !== last) { numbers.innerHTML = state.html; last = state.html; }
      if (state.finished || Date.now() - saidAt >= SAY_EVERY) {
        said.textContent = (state.finished ? "Finished. " : "") + state.summary;
        saidAt = Date.now();
      }
      document.querySelectorAll("[data-progress-open]").forEach(function (mark) { mark.hidden = state.finished; });
      document.querySelectorAll("[data-progress-done]").forEach(function (mark) { mark.hidden = !state.finished; });
      return state.finished;
    }
    function ask() {
      /* A hidden tab asks nothing; it catches up when it is looked at. */
      if (document.hidden) { setTimeout(ask, EVERY); return; }
      fetch(box.getAttribute("data-progress"), { credentials: "same-origin", headers: { Accept: "application/json" } })
        .then(function (answer) { return answer.ok ? answer.json() : Promise.reject(answer.status); })
        .then(show)
        .catch(function () { return false; })
        .then(function (finished) { if (!finished) { setTimeout(ask, EVERY); } });
    }
    setTimeout(ask, EVERY);
  }

  document.addEventListener("DOMContentLoaded", function () {
    document.querySelectorAll("[data-progress]:not([data-finished])").forEach(watch);
  });
})();
