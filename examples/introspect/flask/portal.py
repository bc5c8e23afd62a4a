"""A portal in one file, with Flask. Try it with:
KEYWARD_SECRET=0011…eeff python3 portal.py 127.0.0.1:8080
"""

import hmac
import json
import os
import pathlib
import secrets
import sys
import time
from urllib.parse import urlsplit

from flask import Flask, jsonify, redirect, render_template_string, request

COOKIE = "portal_session"
COOKIE_DOMAIN = "example.test"  # the portal's host and the webmail's are both below it
GO_ON_TO = {"webmail.example.test", "intranet.example.test"}  # where people may be sent after signing in
LIFETIME = 8 * 3600
PAGE = """<!doctype html><html lang="en"><title>Portal</title><p>{{ said }}
{% if user %}Signed in as {{ user }}<form method="post" action="/logout"><button>Sign out</button></form>
{% else %}<form method="post" action="/login"><input type="hidden" name="next" value="{{ next }}">
<label>User <input name="user" autocomplete="username"></label>
<label>Password <input name="password" type="password" autocomplete="current-password"></label>
<button>Sign in</button></form>{% endif %}"""

SECRET = os.environ.get("KEYWARD_SECRET", "")
if len(SECRET) < 32:
    sys.exit("set KEYWARD_SECRET, the same as in keyward.toml")
# A real portal has a database, and hashes of passwords in it.
PEOPLE = json.loads((pathlib.Path(__file__).parent.parent / "people.json").read_text("utf-8"))

app = Flask(__name__)
# Here and not in Flask's own session cookie: that one can be read by whoever has it, and cannot be ended.
# A real portal keeps it where all its processes find it.
sessions = {}


def session_of_request():
    session = sessions.get(request.cookies.get(COOKIE, ""))
    return session if session and session["expires"] > time.time() else None


def form(said="", status=200):
    return render_template_string(PAGE, said=said, next=request.values.get("next", "")), status


def go_on():
    url = urlsplit(request.values.get("next", ""))
    known = url.scheme == "https" and url.netloc in GO_ON_TO
    return redirect(url.geturl() if known else "/", 303)


@app.get("/")
def first_page():
    session = session_of_request()
    return render_template_string(PAGE, user=session["user"]) if session else form()


@app.get("/login")
def ask_who():
    return go_on() if session_of_request() else form()


@app.post("/login")
def sign_in():
    user, password = request.form.get("user", ""), request.form.get("password", "")
    known = PEOPLE.get(user, {"password": secrets.token_urlsafe()})
    if not hmac.compare_digest(known["password"].encode(), password.encode()):
        return form("That is not right.", 403)
    now = time.time()
    for cookie in [cookie for cookie, session in list(sessions.items()) if session["expires"] <= now]:
        sessions.pop(cookie, None)
    sessions.pop(request.cookies.get(COOKIE, ""), None)
    cookie = secrets.token_urlsafe(32)  # a new one for every sign-in
    sessions[cookie] = {"user": user, "sid": secrets.token_hex(16), "expires": int(now) + LIFETIME}
    if os.environ.get("HAND_OVER_PASSWORD") == "yes":
        sessions[cookie]["password"] = password
    answer = go_on()
    answer.set_cookie(COOKIE, cookie, domain=COOKIE_DOMAIN, secure=True, httponly=True, samesite="Lax")
    return answer


@app.post("/logout")  # SameSite=Lax keeps other sites' forms from it
def sign_out():
    sessions.pop(request.cookies.get(COOKIE, ""), None)
    answer = redirect("/login", 303)
    answer.delete_cookie(COOKIE, domain=COOKIE_DOMAIN)
    return answer


@app.get("/session")
def introspect():
    """Whose session is this? For Keyward alone."""
    shown = request.headers.get("Authorization", "")
    if not hmac.compare_digest(shown.encode(), f"Bearer {SECRET}".encode()):
        return "", 403  # not 200: whoever guesses learns nothing of anybody
    session = session_of_request()
    if not session or session["user"] not in PEOPLE:
        return jsonify(active=False)
    person = {name: value for name, value in PEOPLE[session["user"]].items() if name != "password"}
    answer = {**person, "active": True, "username": session["user"], "sid": session["sid"], "exp": session["expires"]}
    if "password" in session:
        answer["password"] = session["password"]
    return jsonify(answer)


@app.after_request
def keep_nowhere(answer):
    answer.headers["Cache-Control"] = "no-store"
    return answer


if __name__ == "__main__":
    host, port = sys.argv[1].rsplit(":", 1)
    app.run(host, int(port))  # for trying; behind a real server otherwise
