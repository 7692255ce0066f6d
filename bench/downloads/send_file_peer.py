"""The peer: a build as Flask's documentation sends one, with `send_file`, and a page beside it. No one asks who it is for."""

import os

from flask import Flask, Response, send_file

app = Flask("peer")


@app.get("/file")
def file() -> Response:
    return send_file(os.environ["BENCH_FILE"], as_attachment=True, conditional=True)


@app.get("/page")
def page() -> str:
    return "<!doctype html><title>A page</title><p>A page, made of nothing.</p>"
