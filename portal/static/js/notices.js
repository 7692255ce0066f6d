/* notices.js: refreshes the numbers of a notice and its people every 2 seconds while it goes out, and says the numbers aloud
   at most every 15. Without it, reloading the page shows the same. */
(function () {
  "use strict";
  var EVERY = 2000;
  var SAY_EVERY = 15000;

  function watch(box) {
    var numbers = box.querySelector("[data-progress-numbers]");
    var said = box.querySelector("[data-progress-said]");
    var saidAt = Date.now();
    var people = document.querySelector("[data-progress-people]");
    var last = numbers.innerHTML;
    var peopleOf = last;

    function show(state) {
      if (state.html !== last) { numbers.innerHTML = state.html; last = state.html; }
      if (state.finished || Date.now() - saidAt >= SAY_EVERY) {
        said.textContent = (state.finished ? "Finished. " : "") + state.summary;
        saidAt = Date.now();
      }
      document.querySelectorAll("[data-progress-open]").forEach(function (mark) { mark.hidden = state.finished; });
      document.querySelectorAll("[data-progress-done]").forEach(function (mark) { mark.hidden = !state.finished; });
      return refreshPeople(state.html).then(function () { return state.finished && peopleOf === state.html; });
    }
    /* Not while the keyboard is in there: the next round does it. */
    function refreshPeople(html) {
      if (!people || peopleOf === html || people.contains(document.activeElement)) {
        if (!people) { peopleOf = html; }
        return Promise.resolve();
      }
      return get(people.getAttribute("data-progress-people")).then(function (answer) { return answer.text(); }).then(function (text) {
        people.innerHTML = text;
        peopleOf = html;
      });
    }
    function get(url) {
      return fetch(url, { credentials: "same-origin", headers: { Accept: "application/json, text/html" } })
        .then(function (answer) { return answer.ok ? answer : Promise.reject(answer.status); });
    }
    function ask() {
      /* A hidden tab asks nothing; it catches up when it is looked at. */
      if (document.hidden) { setTimeout(ask, EVERY); return; }
      get(box.getAttribute("data-progress")).then(function (answer) { return answer.json(); }).then(show)
        .catch(function () { return false; })
        .then(function (finished) { if (!finished) { setTimeout(ask, EVERY); } });
    }
    setTimeout(ask, EVERY);
  }

  document.addEventListener("DOMContentLoaded", function () {
    document.querySelectorAll("[data-progress]:not([data-finished])").forEach(watch);
  });
})();
