/* releases.js: uploads with progress. The form works without it. */
(function () {
  "use strict";

  function megabytes(bytes) { return (bytes / 1e6).toFixed(1); }

  function prepareUpload(form) {
    var input = form.querySelector("input[type=file]");
    var box = form.querySelector("[data-upload-progress]");
    var bar = form.querySelector("progress");
    var status = form.querySelector("[data-upload-status]");
    var send = form.querySelector("button:not([type=button])");
    var running = null;

    function fail(text) {
      var shown = form.querySelector("[data-upload-error]");
      var line = form.querySelector("[data-upload-error-template]").content.cloneNode(true);
      line.querySelector("span").textContent = text;
      shown.replaceChildren(line);
      input.setAttribute("aria-invalid", "true");
      input.setAttribute("aria-describedby", "file-help file-error");
      end();
    }
    function end() {
      running = null;
      box.hidden = true;
      send.removeAttribute("aria-disabled");
    }
    function reason(request) {
      try { return JSON.parse(request.responseText).error; } catch (error) { return null; }
    }

    form.addEventListener("submit", function (event) {
      var file = input.files[0];
      event.preventDefault();
      if (running) { return; }
      if (!file) { return fail("Choose a file."); }
      if (file.size > Number(form.dataset.limit)) {
        return fail("We could not take the file. It has " + megabytes(file.size) + "\u00a0MB and the limit is " + form.dataset.limitText + ". Zip it, or split it.");
      }
      var began = Date.now();
      var announced = Date.now();
      var data = new FormData(form);
      form.querySelector("[data-upload-error]").replaceChildren();
      input.removeAttribute("aria-invalid");
      form.querySelector("[data-upload-name]").textContent = file.name;
      status.textContent = "Uploading " + file.name;
      bar.value = 0;
      box.hidden = false;
      send.setAttribute("aria-disabled", "true");

      running = new XMLHttpRequest();
      running.open("POST", form.action);
      running.setRequestHeader("Accept", "application/json");
      running.setRequestHeader("X-CSRFToken", form.elements.csrf_token.value);
      running.upload.addEventListener("progress", function (step) {
        if (!step.lengthComputable) { return; }
        var percent = Math.floor(100 * step.loaded / step.total);
        var left = Math.round((Date.now() - began) / 1000 * (step.total - step.loaded) / Math.max(step.loaded, 1));
        bar.value = percent;
        bar.textContent = percent + "%";
        form.querySelector("[data-upload-count]").textContent =
          megabytes(Math.min(step.loaded, file.size)) + " of " + megabytes(file.size) + "\u00a0MB, " + percent + "%" +
          (left > 1 ? ", about " + left + "\u00a0s left" : "");
        if (Date.now() - announced > 15000) { announced = Date.now(); status.textContent = percent + "% uploaded"; }
        if (step.loaded === step.total) { form.querySelector("[data-upload-count]").textContent = status.textContent = "Checking the file"; }
      });
      running.addEventListener("load", function () {
        if (running.status === 201) { window.location.reload(); return; }
        fail(reason(running) || "The portal did not take the file (answer " + running.status + "). Reload the page and try again.");
      });
      running.addEventListener("error", function () { fail("The connection broke. Nothing was half saved; upload the file again."); });
      running.addEventListener("abort", function () { fail("You cancelled the upload. Nothing was saved."); });
      running.send(data);
    });
    form.querySelector("[data-upload-cancel]").addEventListener("click", function () { if (running) { running.abort(); } });
    window.addEventListener("beforeunload", function (event) { if (running && running.readyState < 4) { event.preventDefault(); } });
  }

  document.querySelectorAll("form[data-upload]").forEach(prepareUpload);
})();
