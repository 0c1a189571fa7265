"""Drives Chromium by WebDriver over the pages of a demo; needs Python's standard library alone."""

import argparse
import base64
import gzip
import json
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

# A demo in which somebody is crowned, as short as can be.
DEMO = ["demo", "--json", "--keep", "--seed", "1", "--rounds", "4", "--steps", "30"]
PATIENCE = 150.0
PHONE = (360, 740)
WIDE = (1280, 900)
PACKED_BYTES_MAX = 300 << 10
# What tells an element apart in the answers of WebDriver.
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"

failures = []


def check(is_so, what):
    """Notes a failure, and goes on."""
    if not is_so:
        failures.append(what)
        print(f"FAILED {what}", flush=True)


def wait_for(what, found, seconds=PATIENCE):
    """What `found` gives once it gives something."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        value = found()
        if value:
            return value
        time.sleep(0.1)
    raise SystemExit(f"FAILED waited in vain for {what}")


class Demo:
    """A demo that runs, and what it says."""

    def __init__(self, agon, home):
        command = [agon, *DEMO, "--home", str(home)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.said, self.printed = [], []
        streams = (self.process.stderr, self.said), (self.process.stdout, self.printed)
        for stream, lines in streams:
            threading.Thread(target=lambda s=stream, l=lines: l.extend(s), daemon=True).start()

    def url(self, pattern):
        if self.process.poll() is not None:
            raise SystemExit("FAILED demo: " + "".join(self.said[-5:]))
        for line in list(self.said):
            match = re.search(pattern, line)
            if match:
                return match.group(1)
        return None

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return None


class Browser:
    """A session of WebDriver."""

    def __init__(self, work):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with open(work / "driver.log", "wb") as log:
            self.driver = subprocess.Popen(
                ["chromedriver", f"--port={port}"], stdout=log, stderr=subprocess.STDOUT
            )
        self.base = f"http://127.0.0.1:{port}"
        self.session = ""
        wait_for("chromedriver", self.is_ready, 20)
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        arguments += ["--hide-scrollbars", f"--user-data-dir={work / 'profile'}"]
        options = {"args": arguments}
        always = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        made = self.ask("POST", "/session", {"capabilities": {"alwaysMatch": always}})
        self.session = "/session/" + made["sessionId"]

    def is_ready(self):
        try:
            return self.ask("GET", "/status")["ready"]
        except OSError:
            return False

    def ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data=data, method=method)
        request.add_header("content-type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            told = json.load(error)["value"]
            raise SystemExit(f"FAILED WebDriver {path}: {told.get('message')}") from None

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

    def click(self, selector):
        element = self.find(selector)
        # At once: a page that still glides is not clicked where it was.
        into_view = "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})"
        self.run(into_view, {ELEMENT: element})
        self.ask("POST", f"{self.session}/element/{element}/click", {})

    def follow(self, selector):
        """Clicks on what leads to another page, and waits for that."""
        self.run("window.isLeft = true")
        self.click(selector)
        arrived = "return window.isLeft === undefined && document.readyState === 'complete'"
        wait_for(f"where {selector} leads", lambda: self.run(arrived), 20)

    def write(self, selector, text):
        element = f"{self.session}/element/{self.find(selector)}"
        self.ask("POST", element + "/clear", {})
        self.ask("POST", element + "/value", {"text": text})

    def errors(self):
        """What the console has of errors since it was last asked."""
        logged = self.ask("POST", self.session + "/se/log", {"type": "browser"})
        return [entry["message"] for entry in logged if entry["level"] == "SEVERE"]

    def size(self, width, height, mobile=False):
        """A window for the mouse to click in, or what a phone would show."""
        self.devtools("Emulation.clearDeviceMetricsOverride")
        if not mobile:
            rect = {"width": width, "height": height}
            self.ask("POST", self.session + "/window/rect", rect)
            return
        self.show(width, height, mobile)

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
        """The whole page, as far as a picture of it is of use."""
        width, height = self.run(
            "return [innerWidth, Math.min(document.documentElement.scrollHeight, 6000)]"
        )
        self.show(width, height, mobile=width == PHONE[0])
        shot = self.ask("GET", self.session + "/screenshot")
        path.write_bytes(base64.b64decode(shot))

    def end(self):
        try:
            self.ask("DELETE", self.session)
        except (OSError, SystemExit):
            pass
        self.driver.terminate()
        self.driver.wait(20)


def fetched(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read()


def rows(base, path, table):
    return json.loads(fetched(base + path))["tables"][table]["rows"]


def measured(base, at):
    """The newest block whose round measured two models, and their rows of the leaderboard: with
    duels a round in which nothing is to be decided measures nobody."""
    for record in rows(base, at + "/rounds.json", "records"):
        board = rows(base, f"{at}.json?block={record['block']}", "board")
        found = [row for row in board if row["loss"] is not None]
        if len(found) > 1:
            return record["block"], found
    raise SystemExit("FAILED: no round measured two models")


def addresses(base):
    """An address of each kind of page, by a name for its picture."""
    name = rows(base, "/overview.json", "competitions")[0]["competition"]
    at = f"/c/{name}"
    _, models = measured(base, at)
    roots = [row["root"].removeprefix("sha256:") for row in models]
    crowns = rows(base, at + ".json", "crowns")
    judge = rows(base, at + ".json", "judges")[0]["validator"]
    newest = rows(base, at + "/rounds.json", "records")[0]
    pages = {
        "overview": "/",
        "competition": at,
        "rounds": at + "/rounds",
        "round": f"{at}/round/{newest['number']}",
        "crown": f"{at}/crown/{crowns[0]['number']}",
        "compare": f"{at}/compare?a={roots[0]}&b={roots[-1]}",
        "model": f"/model/{roots[0]}",
        "miner": f"/miner/{models[0]['miner']}",
        "validator": f"/validator/{judge}",
        "network": "/network",
        "past": f"/?block={crowns[-1]['block']}",
        "missing": at + "/round/999999",
    }
    return name, pages


def news_arrive(browser, base):
    """The page is open while rounds come."""
    browser.open(base + "/")
    told = wait_for("news of a round", lambda: browser.run(
        "const said = document.getElementById('live').textContent;"
        "return said.startsWith('round ') ? said : null"
    ))
    print(f"   live: {told}", flush=True)
    wait_for("the page to renew itself", lambda: browser.run(
        "return document.querySelectorAll('#competitions tbody tr td:not(.empty)').length > 0"
    ), 20)
    check(not browser.errors(), "news: the console has errors")


def page_is_whole(browser, base, name, path, axe):
    is_missing = name == "missing"
    browser.size(*WIDE)
    browser.scheme("light")
    browser.open(base + path)
    errors = [e for e in browser.errors() if not (is_missing and "404" in e)]
    check(not errors, f"{name}: the console has {errors}")
    heading = browser.run("return document.querySelector('h1').textContent.trim()")
    check(heading, f"{name}: no heading")
    if not is_missing:
        packed = len(gzip.compress(fetched(base + path), 1))
        check(packed <= PACKED_BYTES_MAX, f"{name}: {packed} bytes packed")
    if axe:
        browser.run(axe + "; return null")
        accessible(browser, f"{name}, light", {})
        browser.scheme("dark")
        accessible(browser, f"{name}, dark", {"runOnly": ["color-contrast"]})


def accessible(browser, name, options):
    found = browser.run_later(
        "const done = arguments[1];"
        "axe.run(document, arguments[0]).then(r => done(r.violations.map(v => [v.impact, v.id,"
        " v.nodes.length, v.nodes[0].html, v.nodes[0].failureSummary])), e => done([['critical',"
        " String(e), 0, '', '']]))", options
    )
    for impact, rule, n_nodes, html, summary in found:
        if impact in ("serious", "critical"):
            check(False, f"{name}: {rule} ({impact}, {n_nodes} times): {html[:160]} {summary}")


def fits_a_phone(browser, base, name, path):
    browser.size(*PHONE, mobile=True)
    browser.scheme("light")
    browser.open(base + path)
    browser.errors()
    width, shown = browser.run(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    check(width <= shown, f"{name}: {width} pixels on a phone of {shown}")


def pictured(browser, base, pages, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, path in pages.items():
        for kind, size, scheme in (
            ("wide", WIDE, "light"), ("dark", WIDE, "dark"), ("phone", PHONE, "light")
        ):
            browser.size(*size, mobile=size == PHONE)
            browser.scheme(scheme)
            browser.open(base + path)
            browser.picture(folder / f"{name}-{kind}.png")
    browser.errors()


COLUMN = (
    "const at = [...document.querySelectorAll('#board thead th')].findIndex(th =>"
    " th.textContent.startsWith('Loss'));"
    "return [...document.querySelectorAll('#board tbody tr')].map(tr =>"
    " parseFloat(tr.cells[at].textContent)).filter(n => !Number.isNaN(n))"
)


def tables_answer(browser, base, name):
    browser.size(*WIDE)
    browser.scheme("light")
    block, _ = measured(base, f"/c/{name}")
    browser.open(f"{base}/c/{name}?block={block}")
    heading = "#board thead th a[href*='sort=board.loss']"
    browser.follow(heading)
    up = browser.run(COLUMN)
    check(len(up) > 1 and up == sorted(up), f"sorting upwards: {up}")
    browser.follow("#board thead th[aria-sort=ascending] a")
    down = browser.run(COLUMN)
    check(down == sorted(down, reverse=True), f"sorting downwards: {down}")

    miner = rows(base, f"/c/{name}.json?block={block}", "board")[0]["miner"]
    all_rows = browser.run("return document.querySelectorAll('#board tbody tr').length")
    browser.write("input[name=q]", miner)
    browser.follow(".top button")
    left = browser.run("return document.querySelectorAll('#board tbody tr').length")
    check(left == 1 < all_rows, f"filtering: {left} of {all_rows} rows")
    check("q=" in browser.run("return location.search"), "filtering has an address")

    csv = fetched(f"{base}/c/{name}.csv?table=board&block={block}").decode().splitlines()
    check(len(csv) == 1 + all_rows, f"CSV has {len(csv)} lines, the page {all_rows} rows")


def past_is_shown(browser, base, name):
    records = rows(base, f"/c/{name}/rounds.json", "records")
    first, last = records[-1], records[0]
    browser.open(f"{base}/c/{name}")
    browser.write("input[name=block]", str(first["block"]))
    browser.follow(".top button")
    said = browser.run("return document.querySelector('main').textContent")
    check(f"As of block {first['block']}" in said, "the past is not named")
    check(f"From record {first['number']} " in said, "the past is not what it was")
    browser.follow(".notice a")
    said = browser.run("return document.querySelector('main').textContent")
    check(f"From record {last['number']} " in said, "the newest is not shown again")
    check(not browser.errors(), "the past: the console has errors")


def crowns_have_evidence(browser, base, name):
    """Each page says what its record says."""
    crowns = rows(base, f"/c/{name}.json", "crowns")
    paths = [f"/c/{name}/crown/{crown['number']}" for crown in crowns]
    n_duels = sum(crown_has_evidence(browser, base, path) for path in paths)
    print(f"   {len(paths)} crowns, {n_duels} by duels", flush=True)


def crown_has_evidence(browser, base, path):
    """Whether it passed by a duel, whose evidence is there."""
    browser.open(base + path)
    said = browser.run("return document.querySelector('main').textContent")
    for part in ("New champion", "Former champion", "See for yourself", "agon replay"):
        check(part in said, f"crown: no `{part}`")
    judge = rows(base, path + ".json", "judges")[0]
    record = json.loads(fetched(urllib.parse.urljoin(base, browser.run(
        "return document.querySelector('a[download]').getAttribute('href')"
    ))))["record"]
    champion = next(m for m in record["models"] if m["model"]["uid"] == record["champion"])
    fight = champion.get("fight")
    if fight is None:
        # It filled an empty throne: there is no duel to tell.
        check("empty" in said, f"crown: no word of an empty throne; {judge['champion']}")
        return False
    n_rows = browser.run("return document.querySelectorAll('#documents tbody tr').length")
    check(n_rows > 0, "crown: no document of the duel is listed")
    check("The duel" in said and "do not believe it" not in said, "crown: the duel is not told")
    return True


def script_is_blocked(browser, base):
    browser.open(base + "/")
    browser.errors()
    browser.run(
        "const script = document.createElement('script');"
        "script.textContent = 'window.slipped = 1'; document.body.append(script);"
        "const image = '<img src=x onerror=\"window.slipped = 1\">';"
        "document.body.insertAdjacentHTML('beforeend', image)"
    )
    time.sleep(0.5)
    check(browser.run("return window.slipped === undefined"), "a script that was injected ran")
    check(any("Content Security Policy" in e for e in browser.errors()), "no policy kept it away")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("agon")
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("--pictures", type=pathlib.Path)
    parser.add_argument("--axe", type=pathlib.Path)
    args = parser.parse_args()
    axe = args.axe.read_text() if args.axe else None
    demo = Demo(args.agon, args.work / "home")
    browser = None
    try:
        base = wait_for("the address", lambda: demo.url(r"watch it at (http://\S+)"))
        browser = Browser(args.work)
        news_arrive(browser, base)
        kept = wait_for("the end", lambda: demo.url(r"watch it at (http://\S+) until Ctrl-C"))
        check(kept == base, f"the pages were at {base} and stay at {kept}")
        wait_for("the index", lambda: rows(base, "/overview.json", "competitions"), 20)
        report = json.loads("".join(demo.printed))
        check(len(report["rounds"]) == 4, "stdout has the report and nothing else")
        name, pages = addresses(base)
        for kind, path in pages.items():
            page_is_whole(browser, base, kind, path, axe)
            fits_a_phone(browser, base, kind, path)
        tables_answer(browser, base, name)
        past_is_shown(browser, base, name)
        crowns_have_evidence(browser, base, name)
        script_is_blocked(browser, base)
        if args.pictures:
            pictured(browser, base, pages, args.pictures)
        print(f"   {len(pages)} kinds of pages, {len(failures)} failures", flush=True)
    finally:
        if browser:
            browser.end()
        code = demo.end()
    check(code == 0, f"the demo ended with {code}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
