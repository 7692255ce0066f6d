/* notices.js: refreshes the numbers of a notice, its domains and its people while it goes out, every 2 seconds (less often where
   that would keep the server busy), and says the numbers aloud at most every 15. Without it, reloading the page shows the same. */
(function () {
  "use strict";
  var EVERY = 2000;
  var SAY_EVERY = 15000;
  /* Asking takes at most one part in so many of the time. */
  var LEISURE = 10;

  function get(url) {
    return fetch(url, { credentials: "same-origin", headers: { Accept: "application/json, text/html" } })
      .then(function (answer) { return answer.ok ? answer : Promise.reject(answer.status); });
  }
  /* Nothing is pulled from under the keyboard, nor typed text thrown away: the next round does it. */
  function inUse(element) {
    return element.contains(document.activeElement) || Array.prototype.some.call(element.querySelectorAll("input[type=search]"), function (input) {
      return input.value !== input.defaultValue;
    });
  }

  function watch(box) {
    var numbers = box.querySelector("[data-progress-numbers]");
    var said = box.querySelector("[data-progress-said]");
    var status = document.querySelector("[data-progress-status]");
    var saidAt = Date.now();
    var last = null;
    var stage = null;
    var parts = Array.prototype.map.call(document.querySelectorAll("[data-progress-part]"), function (element) {
      return { element: element, shows: null };
    });

    function mark(open) {
      document.querySelectorAll("[data-progress-open]").forEach(function (element) { element.hidden = !open; });
    }
    function show(state) {
      if (state.html !== last) { numbers.innerHTML = state.html; last = state.html; }
      /* By its stage, not its text, in which each answer has another token: a button must not be changed while it is pressed. */
      if (status && state.stage !== stage && !inUse(status)) { status.innerHTML = state.status; stage = state.stage; }
      if (state.finished || Date.now() - saidAt >= SAY_EVERY) {
        said.textContent = (state.finished ? "Finished. " : "") + state.summary;
        saidAt = Date.now();
      }
      mark(!state.finished);
      return Promise.all(parts.map(function (part) { return refresh(part, state.summary); })).then(function () {
        return state.finished && (!status || stage === state.stage) && parts.every(function (part) { return part.shows === state.summary; });
      });
    }
    function refresh(part, summary) {
      if (part.shows === summary || inUse(part.element)) { return null; }
      return get(part.element.getAttribute("data-progress-part")).then(function (answer) { return answer.text(); }).then(function (text) {
        if (!inUse(part.element)) {
          part.element.innerHTML = text;
          part.shows = summary;
        }
      });
    }
    function ask() {
      /* A hidden tab asks nothing; it catches up when it is looked at. */
      if (document.hidden) { setTimeout(ask, EVERY); return; }
      var began = Date.now();
      get(box.getAttribute("data-progress")).then(function (answer) { return answer.json(); }).then(show)
        .catch(function () { return false; })
        .then(function (finished) { if (!finished) { setTimeout(ask, Math.max(EVERY, LEISURE * (Date.now() - began))); } });
    }
    mark(true);
    setTimeout(ask, EVERY);
  }

  document.addEventListener("DOMContentLoaded", function () {
    document.querySelectorAll("[data-progress]:not([data-finished])").forEach(watch);
  });
})();
