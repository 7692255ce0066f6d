/* releases.js: uploads with progress, to be cancelled and tried again. The form works without it. */
(function () {
  "use strict";

  function megabytes(bytes) { return (bytes / 1e6).toFixed(1); }

  function prepareUpload(form) {
    var part = function (name) { return form.querySelector("[data-upload-" + name + "]"); };
    var input = form.querySelector("#file");
    var box = part("progress");
    var bar = form.querySelector("progress");
    var status = part("status");
    var count = part("count");
    var cancel = part("cancel");
    var retry = part("retry");
    var send = form.querySelector("button:not([type=button])");
    var running = null;
    var arrived = false; // every byte is sent, so the portal may have taken the file

    function clear() {
      form.querySelectorAll("[data-upload-error]").forEach(function (place) {
        var field = form.querySelector("#" + place.dataset.uploadError);
        place.replaceChildren();
        field.removeAttribute("aria-invalid");
        field.setAttribute("aria-describedby", field.id + "-help");
      });
      retry.hidden = true;
    }
    /* Say what went wrong, at its field. again: whether the same file can be sent once more. */
    function fail(text, again, fieldName) {
      var field = (fieldName && form.querySelector("#" + fieldName)) || input;
      var place = form.querySelector('[data-upload-error="' + field.id + '"]') || form.querySelector('[data-upload-error="file"]');
      var line = part("error-template").content.cloneNode(true);
      line.querySelector("span").textContent = text;
      place.replaceChildren(line);
      field.setAttribute("aria-invalid", "true");
      if (place.id === field.id + "-error") { field.setAttribute("aria-describedby", field.id + "-help " + place.id); }
      retry.hidden = !again;
      end();
      (again ? retry : field).focus();
    }
    function end() {
      running = null;
      arrived = false;
      box.hidden = true;
      status.textContent = "";
      send.removeAttribute("aria-disabled");
    }
    function answer(request) {
      try { return JSON.parse(request.responseText); } catch (error) { return {}; }
    }

    form.addEventListener("submit", function (event) {
      var file = input.files[0];
      event.preventDefault();
      if (running) { return; }
      clear();
      if (!file) { return fail("Choose a file.", false); }
      if (file.size > Number(form.dataset.limit)) {
        return fail("We could not take the file. It has " + megabytes(file.size) + "\u00a0MB and the limit is " + form.dataset.limitText + ". Zip it, or split it.", false);
      }
      var began = Date.now();
      var announced = Date.now();
      var data = new FormData(form);
      part("name").textContent = file.name;
      status.textContent = "Uploading " + file.name;
      count.textContent = "";
      bar.value = 0;
      box.hidden = false;
      cancel.hidden = false;
      send.setAttribute("aria-disabled", "true");
      cancel.focus();

      running = new XMLHttpRequest();
      running.open("POST", form.action);
      running.setRequestHeader("Accept", "application/json");
      running.setRequestHeader("X-CSRFToken", form.elements.csrf_token.value);
      running.upload.addEventListener("progress", function (step) {
        if (!step.lengthComputable || !running || arrived) { return; }
        var percent = Math.floor(100 * step.loaded / step.total);
        var left = Math.round((Date.now() - began) / 1000 * (step.total - step.loaded) / Math.max(step.loaded, 1));
        bar.value = percent;
        bar.textContent = percent + "%";
        count.textContent =
          megabytes(Math.min(step.loaded, file.size)) + " of " + megabytes(file.size) + "\u00a0MB, " + percent + "%" +
          (left > 1 ? ", about " + left + "\u00a0s left" : "");
        if (Date.now() - announced > 15000) { announced = Date.now(); status.textContent = percent + "% uploaded"; }
      });
      running.upload.addEventListener("load", function () {
        arrived = true;
        if (document.activeElement === cancel) { send.focus(); }
        cancel.hidden = true; // too late: what the portal has, it keeps
        count.textContent = status.textContent = "Checking the file";
      });
      running.addEventListener("load", function () {
        if (running.status === 201) { running = null; window.location.reload(); return; }
        var said = answer(running);
        fail(said.error || "The portal did not take the file (answer " + running.status + "). Try again, or reload the page.", !said.error, said.field);
      });
      running.addEventListener("error", function () {
        if (arrived) { return fail("The connection broke while the portal checked the file. Reload the page to see whether it has it.", false); }
        fail("The connection broke, or the file was changed meanwhile. Nothing was half saved.", true);
      });
      running.addEventListener("abort", function () { fail("You cancelled the upload. Nothing was saved.", true); });
      running.send(data);
    });
    input.addEventListener("change", function () { if (!running) { clear(); } });
    cancel.addEventListener("click", function () { if (running && !arrived) { running.abort(); } });
    retry.addEventListener("click", function () { form.requestSubmit(); });
    window.addEventListener("beforeunload", function (event) { if (running && running.readyState < 4) { event.preventDefault(); } });
  }

  document.querySelectorAll("form[data-upload]").forEach(prepareUpload);
})();
