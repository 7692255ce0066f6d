/* passkeys.js: forms marked data-passkey ("create" or "get") ask the browser for a passkey, put its answer into the field
   "answer", and are sent. What to ask stands in data-options, with bytes as base64url (WebAuthn level 2). */
(function () {
  "use strict";
  var OLD = 9 * 60 * 1000; /* after ten minutes the server takes no answer to what stands on the page */
  var opened = Date.now();

  function bytes(text) {
    var raw = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
    return Uint8Array.from(raw, function (character) { return character.charCodeAt(0); });
  }
  function text(buffer) {
    if (!buffer) { return null; }
    var raw = Array.from(new Uint8Array(buffer), function (octet) { return String.fromCharCode(octet); }).join("");
    return btoa(raw).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  }
  function readable(options) {
    var publicKey = Object.assign({}, options, { challenge: bytes(options.challenge) });
    if (options.user) { publicKey.user = Object.assign({}, options.user, { id: bytes(options.user.id) }); }
    ["allowCredentials", "excludeCredentials"].forEach(function (list) {
      if (options[list]) {
        publicKey[list] = options[list].map(function (key) {
          var known = { type: key.type, id: bytes(key.id) };
          if (key.transports.length) { known.transports = key.transports; }
          return known;
        });
      }
    });
    return { publicKey: publicKey };
  }
  function written(credential) {
    var given = credential.response, response = { clientDataJSON: text(given.clientDataJSON) };
    if (given.attestationObject) {
      response.attestationObject = text(given.attestationObject);
      response.transports = given.getTransports ? given.getTransports() : [];
    } else {
      response.authenticatorData = text(given.authenticatorData);
      response.signature = text(given.signature);
      response.userHandle = text(given.userHandle);
    }
    return JSON.stringify({
      id: credential.id, rawId: text(credential.rawId), type: credential.type, response: response, clientExtensionResults: {}
    });
  }
  function why(error) {
    if (error.name === "InvalidStateError") { return "This device or key is registered already."; }
    if (error.name === "NotAllowedError") { return "No passkey was used: it was cancelled, took too long, or none fits. Try again."; }
    return "The browser could not use a passkey. Try again, or take another way to sign in.";
  }

  var forms = Array.from(document.querySelectorAll("form[data-passkey]"));
  if (!window.PublicKeyCredential) {
    forms.forEach(function (form) { form.hidden = true; });
    document.querySelectorAll(".needs-passkeys").forEach(function (element) { element.hidden = true; });
    return;
  }
  /* One question at a time: a press of the button takes the place of the one that waits in the field's suggestions. */
  var waiting = null;
  function ask(form, more) {
    if (waiting) { waiting.abort(); }
    waiting = new AbortController();
    var asked = Object.assign(readable(JSON.parse(form.getAttribute("data-options"))), { signal: waiting.signal }, more);
    var act = form.getAttribute("data-passkey") === "create" ? "create" : "get";
    return navigator.credentials[act](asked).then(function (credential) {
      form.elements.answer.value = written(credential);
      form.submit(); /* not an event: this listener is not asked again */
    });
  }
  forms.forEach(function (form) {
    var problem = form.querySelector("[data-passkey-problem]");
    var busy = false;
    form.addEventListener("submit", function (event) {
      event.preventDefault();
      if (busy) { return; }
      if (Date.now() - opened > OLD) { location.reload(); return; }
      busy = true;
      problem.hidden = true;
      ask(form).catch(function (error) {
        busy = false;
        problem.textContent = why(error);
        problem.hidden = false;
      });
    });
  });

  /* Where the browser can, it offers passkeys in the field of the email address, too. */
  var offered = document.querySelector("form[data-passkey-suggest]");
  if (offered && PublicKeyCredential.isConditionalMediationAvailable) {
    PublicKeyCredential.isConditionalMediationAvailable().then(function (can) {
      if (!can || waiting) { return; }
      ask(offered, { mediation: "conditional" }).catch(function () { /* the button says what is wrong; this was only an offer */ });
      var mine = waiting;
      setTimeout(function () { mine.abort(); }, OLD);
    });
  }
})();
