"""Chromium by WebDriver; needs Python's standard library alone."""

import base64
import json
import re
import subprocess
import time
import urllib.error
import urllib.request

# Seconds for what only has to arrive.
A_WHILE = 20.0
PHONE = (360, 740)
WIDE = (1280, 900)
PICTURE_HEIGHT_MAX = 2400
# What tells an element apart in the answers of WebDriver.
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


def wait_for(what, found, seconds=A_WHILE):
    """What `found` gives once it gives something."""
    until = time.monotonic() + seconds
    while True:
        value = found()
        if value:
            return value
        if time.monotonic() > until:
            raise SystemExit(f"FAILED waited in vain for {what}")
        time.sleep(0.05)


class Refused(Exception):
    """The browser cannot do what it was told."""


class Browser:
    """A session of WebDriver."""

    def __init__(self, work):
        self.work = work
        self.log = work / "driver.log"
        with open(self.log, "wb") as log:
            self.driver = subprocess.Popen(
                ["chromedriver", "--port=0"], stdout=log, stderr=subprocess.STDOUT
            )
        self.base = self.session = ""

    def begin(self):
        port = wait_for("chromedriver", self.port)
        self.base = f"http://127.0.0.1:{port}"
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        arguments += ["--hide-scrollbars", f"--user-data-dir={self.work / 'profile'}"]
        always = {
            "browserName": "chrome",
            "timeouts": {"script": 50_000, "pageLoad": 50_000},
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        made = self.ask("POST", "/session", {"capabilities": {"alwaysMatch": always}})
        self.session = "/session/" + made["sessionId"]

    def port(self):
        if self.driver.poll() is not None:
            raise SystemExit("FAILED chromedriver: " + self.log.read_text(errors="replace"))
        found = re.search(r"successfully on port (\d+)", self.log.read_text(errors="replace"))
        return found and found.group(1)

    def ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data=data, method=method)
        request.add_header("content-type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            told = json.load(error)["value"].get("message", "")
            raise Refused(f"WebDriver {path}: {told.splitlines()[:1]}") from None

    def open(self, url):
        self.ask("POST", self.session + "/url", {"url": url})

    def run(self, script, *args):
        return self.ask("POST", self.session + "/execute/sync", {"script": script, "args": args})

    def run_later(self, script, *args):
        return self.ask("POST", self.session + "/execute/async", {"script": script, "args": args})

    def devtools(self, command, **params):
        body = {"cmd": command, "params": params}
        self.ask("POST", self.session + "/goog/cdp/execute", body)

    def find(self, selector):
        body = {"using": "css selector", "value": selector}
        return self.ask("POST", self.session + "/element", body)[ELEMENT]

    def follow(self, selector):
        """Clicks on what leads to another page, and waits for that."""
        element = self.find(selector)
        # At once: a page that still glides is not clicked where it was.
        into_view = "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})"
        self.run("window.isLeft = true;" + into_view, {ELEMENT: element})
        self.ask("POST", f"{self.session}/element/{element}/click", {})
        wait_for(f"where {selector} leads", self.has_arrived)

    def has_arrived(self):
        arrived = "return window.isLeft === undefined && document.readyState === 'complete'"
        try:
            return self.run(arrived)
        except Refused:
            # Between two pages there is none to run it in.
            return False

    def write(self, selector, text):
        element = f"{self.session}/element/{self.find(selector)}"
        self.ask("POST", element + "/clear", {})
        self.ask("POST", element + "/value", {"text": text})

    def said(self):
        return self.run("return document.querySelector('main').textContent")

    def errors(self):
        """What the console has of errors since it was last asked."""
        logged = self.ask("POST", self.session + "/se/log", {"type": "browser"})
        return [entry["message"] for entry in logged if entry["level"] == "SEVERE"]

    def size(self, width, height, mobile=False):
        """A window for the mouse to click in, or what a phone would show."""
        if mobile:
            self.show(width, height, mobile)
            return
        self.devtools("Emulation.clearDeviceMetricsOverride")
        rect = {"width": width, "height": height}
        self.ask("POST", self.session + "/window/rect", rect)

    def show(self, width, height, mobile):
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=mobile,
        )

    def scheme(self, name):
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.devtools("Emulation.setEmulatedMedia", features=features)

    def picture(self, path):
        """The page, as far as a picture of it is of use."""
        width, height = self.run(
            "return [innerWidth, Math.min(document.documentElement.scrollHeight, arguments[0])]",
            PICTURE_HEIGHT_MAX,
        )
        self.show(width, height, mobile=width == PHONE[0])
        shot = self.ask("GET", self.session + "/screenshot")
        path.write_bytes(base64.b64decode(shot))

    def end(self):
        try:
            if self.session:
                self.ask("DELETE", self.session)
        except (OSError, Refused):
            pass
        self.driver.terminate()
        try:
            self.driver.wait(10)
        except subprocess.TimeoutExpired:
            self.driver.kill()
            self.driver.wait()
