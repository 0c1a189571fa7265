"""Drives Chromium by WebDriver over the pages of a demo; needs Python's standard library alone."""

import argparse
import gzip
import json
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request

from webdriver import PHONE, WIDE, Browser, Refused, wait_for

# A demo in which somebody is crowned by a duel, as short as can be.
N_ROUNDS = 4
DEMO = ["demo", "--json", "--keep", "--seed", "1", "--rounds", str(N_ROUNDS), "--steps", "30"]
# For what takes the machine's time.
PATIENCE = 150.0
# Seconds in which a demo that is told to end has ended.
END_MAX = 10.0
PACKED_BYTES_MAX = 300 << 10
# Rows of a page of a table.
ROWS_MAX = 256

failures = []


def check(is_so, what):
    """Notes a failure, and goes on."""
    if not is_so:
        failures.append(what)
        print(f"FAILED {what}", flush=True)


class Demo:
    """A demo that runs, and what it says."""

    def __init__(self, agon, home):
        command = [agon, *DEMO, "--home", str(home)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
        )
        self.said, self.printed = [], []
        for stream, lines in (
            (self.process.stderr, self.said), (self.process.stdout, self.printed)
        ):
            threading.Thread(target=self.take, args=(stream, lines), daemon=True).start()

    @staticmethod
    def take(stream, lines):
        for line in stream:
            lines.append(line)

    def url(self, pattern):
        """What the pattern finds in what is told; `None` as long as it is not."""
        if self.process.poll() is not None:
            raise SystemExit("FAILED demo: " + "".join(self.said[-5:]))
        found = (re.search(pattern, line) for line in list(self.said))
        return next((match.group(1) for match in found if match), None)

    def report(self):
        """What it printed; `None` as long as that is not whole."""
        try:
            return json.loads("".join(self.printed))
        except json.JSONDecodeError:
            return None

    def end(self):
        """Its exit code once it has ended, as by Ctrl-C; `None` if it had to be killed."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(3 * END_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return None


def fetched(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read()


def rows(base, path, table):
    return json.loads(fetched(base + path))["tables"][table]["rows"]


def of_the_first_round(base):
    """The competition, and addresses of what is there once a round is."""
    name = rows(base, "/overview.json", "competitions")[0]["competition"]
    at = f"/c/{name}"
    newest = rows(base, at + "/rounds.json", "records")[0]
    judge = rows(base, at + ".json", "judges")[0]["validator"]
    return name, {
        "overview": "/",
        "competition": at,
        "rounds": at + "/rounds",
        "round": f"{at}/round/{newest['number']}",
        "validator": f"/validator/{judge}",
        "network": "/network",
        "missing": at + "/round/999999",
    }


def of_the_run(base, name):
    """The newest round in which two models were measured, and addresses of each kind of page that
    tells of it, by a name for its picture."""
    at = f"/c/{name}"
    number, block, models = measured(base, at)
    roots = [row["root"].removeprefix("sha256:") for row in models]
    crowns = rows(base, at + ".json", "crowns")
    return block, {
        "round": f"{at}/round/{number}",
        "crown": f"{at}/crown/{crowns[0]['number']}",
        "compare": f"{at}/compare?a={roots[0]}&b={roots[-1]}",
        "model": f"/model/{roots[0]}",
        "miner": f"/miner/{models[0]['miner']}",
        "past": f"/?block={crowns[-1]['block']}",
    }


def measured(base, at):
    """Number and block of the newest round that measured two models, and their rows: with duels a
    round in which nothing is to be decided measures nobody."""
    for record in rows(base, at + "/rounds.json", "records"):
        board = rows(base, f"{at}.json?block={record['block']}", "board")
        found = [row for row in board if row["measured_in"] == record["number"]]
        if len(found) > 1:
            return record["number"], record["block"], found
    raise SystemExit("FAILED no round measured two models")


def number_in(browser, element, pattern):
    """The number that an element tells, or 0."""
    text = browser.run("return document.getElementById(arguments[0]).textContent", element)
    found = re.search(pattern, text)
    return int(found.group(1)) if found else 0


def told(browser):
    """Number of the newest round that the page has heard of."""
    return number_in(browser, "live", r"^round (\d+) of ")


def shown(browser):
    """Number of the round that the page shows."""
    return number_in(browser, "content", r"From record (\d+) ")


def news_arrive(browser, base):
    """A page that is open tells a round, and shows it, without being loaded again."""
    browser.open(base + "/")
    browser.run("window.isTheSame = true")
    before = shown(browser)
    wait_for("news of a round", lambda: told(browser) > before, PATIENCE)
    news = told(browser)
    wait_for("the page to renew itself", lambda: shown(browser) >= news)
    check(browser.run("return window.isTheSame === true"), "news: the page was loaded again")
    print(f"   live: round {news}, after round {before}", flush=True)
    no_errors(browser, "news")


def no_errors(browser, name):
    """The console has none, but that a page that has to be missing is."""
    errors = [e for e in browser.errors() if not (name == "missing" and "404" in e)]
    check(not errors, f"{name}: the console has {errors}")


def page_is_whole(browser, base, name, path):
    browser.open(base + path)
    heading = browser.run("return document.querySelector('h1').textContent.trim()")
    check(heading, f"{name}: no heading")
    if name != "missing":
        packed = len(gzip.compress(fetched(base + path), 1))
        check(packed <= PACKED_BYTES_MAX, f"{name}: {packed} bytes packed")
    no_errors(browser, name)


def stays_live(browser, demo, base):
    """A page that is open hears of all rounds, and of no end of the server before its own."""
    browser.open(base + "/")
    address = r"watch it at (http://\S+) until Ctrl-C"
    kept = wait_for("the end of the run", lambda: demo.url(address), PATIENCE)
    check(kept == base, f"the pages were at {base} and stay at {kept}")
    wait_for("the last round", lambda: shown(browser) == N_ROUNDS)
    no_errors(browser, "the end of the run")
    report = wait_for("the report", demo.report)
    check(len(report["rounds"]) == N_ROUNDS, "stdout has the report and nothing else")


COLUMN = (
    "const at = [...document.querySelectorAll('#board thead th')].findIndex(th =>"
    " th.textContent.startsWith('Loss'));"
    "return [...document.querySelectorAll('#board tbody tr')].map(tr =>"
    " parseFloat(tr.cells[at].textContent)).filter(n => !Number.isNaN(n))"
)
N_ROWS = "return document.querySelectorAll('#board tbody tr').length"


def tables_answer(browser, base, name, block):
    browser.open(f"{base}/c/{name}?block={block}")
    browser.follow("#board thead th a[href*='sort=board.loss']")
    up = browser.run(COLUMN)
    check(len(up) > 1 and up == sorted(up), f"sorting upwards: {up}")
    browser.follow("#board thead th[aria-sort=ascending] a")
    down = browser.run(COLUMN)
    is_turned = len(down) == len(up) and down == sorted(down, reverse=True)
    check(is_turned, f"sorting downwards: {down}")

    miner = rows(base, f"/c/{name}.json?block={block}", "board")[0]["miner"]
    all_rows = browser.run(N_ROWS)
    browser.write("input[name=q]", miner)
    browser.follow(".top button")
    left = browser.run(N_ROWS)
    check(left == 1 < all_rows, f"filtering: {left} of {all_rows} rows")
    check("q=" in browser.run("return location.search"), "filtering has no address")

    csv = fetched(f"{base}/c/{name}.csv?table=board&block={block}").decode().splitlines()
    check(len(csv) == 1 + all_rows, f"CSV has {len(csv)} lines, the page {all_rows} rows")
    no_errors(browser, "tables")


def past_is_shown(browser, base, name):
    records = rows(base, f"/c/{name}/rounds.json", "records")
    first, last = records[-1], records[0]
    browser.open(f"{base}/c/{name}")
    browser.write("input[name=block]", str(first["block"]))
    browser.follow(".top button")
    said = browser.said()
    check(f"As of block {first['block']}" in said, "the past is not named")
    check(f"From record {first['number']} " in said, "the past is not what it was")
    browser.follow(".notice a")
    check(f"From record {last['number']} " in browser.said(), "the newest is not shown again")
    no_errors(browser, "the past")


def crowns_have_evidence(browser, base, name):
    """Each page says what its record says, and one of them of a duel."""
    crowns = rows(base, f"/c/{name}.json", "crowns")
    paths = [f"/c/{name}/crown/{crown['number']}" for crown in crowns]
    n_duels = sum(crown_has_evidence(browser, base, path) for path in paths)
    check(n_duels > 0, "no crown passed by a duel: the demo is too short")
    print(f"   {len(paths)} crowns, {n_duels} by duels", flush=True)


FACTS = (
    "return Object.fromEntries([...document.querySelectorAll('.facts dt')].map(dt =>"
    " [dt.textContent.trim(), dt.nextElementSibling.textContent.trim()]))"
)


def crown_has_evidence(browser, base, path):
    """Whether it passed by a duel, whose evidence is there."""
    browser.open(base + path)
    said = browser.said()
    for part in ("New champion", "Former champion", "See for yourself", "agon replay"):
        check(part in said, f"crown: no `{part}`")
    record = json.loads(fetched(urllib.parse.urljoin(base, browser.run(
        "return document.querySelector('a[download]').getAttribute('href')"
    ))))["record"]
    no_errors(browser, "crown")
    champion = next(m for m in record["models"] if m["model"]["uid"] == record["champion"])
    fight = champion.get("fight")
    if fight is None:
        # It filled an empty throne: there is no duel to tell.
        check("empty" in said, "crown: no word of an empty throne")
        return False
    check("The duel" in said and "do not believe it" not in said, "crown: the duel is not told")
    n, total = fight["evidence"]["n_documents"], fight["evidence"]["sum"]
    facts = browser.run(FACTS)
    check(facts.get("Documents") == str(n), f"crown: {facts}, where the record has {n} documents")
    gain = f"{100 * (total / max(n, 1)):.2f} % of the champion's loss"
    check(facts.get("Mean gain", "").startswith(gain), f"crown: {facts}, where it has {gain}")
    n_rows = browser.run("return document.querySelectorAll('#documents tbody tr').length")
    check(n_rows == min(n, ROWS_MAX), f"crown: {n_rows} documents are listed of {n}")
    return True


def script_is_blocked(browser, base):
    browser.open(base + "/")
    no_errors(browser, "overview")
    browser.run(
        "window.blocked = [];"
        "document.addEventListener('securitypolicyviolation', event =>"
        " window.blocked.push(event.effectiveDirective));"
        "const script = document.createElement('script');"
        "script.textContent = 'window.slipped = 1'; document.body.append(script);"
        "const image = '<img src=x onerror=\"window.slipped = 1\">';"
        "document.body.insertAdjacentHTML('beforeend', image)"
    )
    wanted = {"script-src-elem", "script-src-attr"}
    wait_for("both to be blocked", lambda: wanted <= set(browser.run("return window.blocked")))
    check(browser.run("return window.slipped === undefined"), "a script that was injected ran")
    browser.errors()


def tells_apart(browser, name, scheme):
    """Whether the paper of a page is light or dark, as the reader has it."""
    colour = browser.run("return getComputedStyle(document.body).backgroundColor")
    parts = [int(part) for part in re.findall(r"\d+", colour)[:3]]
    is_light = sum(parts) > 3 * 127
    check(is_light == (scheme == "light"), f"{name}, {scheme}: the paper is {colour}")


def looks_right(browser, base, page, axe, pictures):
    """A page in light and dark, and on a phone: to readers, to programs that read it out, and on
    pictures."""
    name, path = page
    browser.size(*WIDE)
    for scheme, options in (
        ("light", {}), ("dark", {"runOnly": ["color-contrast"]})
    ):
        browser.scheme(scheme)
        if scheme == "light":
            browser.open(base + path)
            if axe:
                browser.run(axe + "; return null")
        tells_apart(browser, name, scheme)
        if axe:
            accessible(browser, f"{name}, {scheme}", options)
        browser.picture(pictures / f"{name}-{scheme}.png")
    browser.size(*PHONE, mobile=True)
    browser.scheme("light")
    browser.open(base + path)
    # A busy browser takes a moment to lay a page out for the screen that it was just given.
    until = time.monotonic() + 3
    while True:
        width, room = browser.run(
            "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        if width <= room or time.monotonic() > until:
            break
        time.sleep(0.1)
    check(width <= room, f"{name}: {width} pixels on a phone of {room}")
    check(room == PHONE[0], f"{name}: a phone has {room} pixels")
    browser.picture(pictures / f"{name}-phone.png")
    no_errors(browser, name)


def accessible(browser, name, options):
    found = browser.run_later(
        "const done = arguments[1];"
        "axe.run(document, {resultTypes: ['violations'], ...arguments[0]}).then(r =>"
        " done(r.violations.map(v => [v.impact, v.id,"
        " v.nodes.length, v.nodes[0].html, v.nodes[0].failureSummary])), e => done([['critical',"
        " String(e), 0, '', '']]))", options
    )
    for impact, rule, n_nodes, html, summary in found:
        if impact in ("serious", "critical"):
            check(False, f"{name}: {rule} ({impact}, {n_nodes} times): {html[:160]} {summary}")


def ends_in_order(browser, demo, base):
    """Ctrl-C ends all of it, even while somebody listens."""
    browser.size(*WIDE)
    browser.open(base + "/")
    live = "return document.getElementById('live').textContent"
    wait_for("the page to listen", lambda: browser.run(live) == "live")
    begun = time.monotonic()
    code, seconds = demo.end(), time.monotonic() - begun
    check(code == 0, f"the demo ended with {code}")
    check(seconds < END_MAX, f"the demo took {seconds:.1f} s to end")


def checked(browser, demo, args):
    axe = args.axe.read_text() if args.axe else None
    began = time.monotonic()

    def at(what):
        print(f"   {time.monotonic() - began:5.1f} s: {what}", flush=True)

    browser.begin()
    browser.size(*WIDE)
    browser.scheme("light")
    base = wait_for("the address", lambda: demo.url(r"watch it at (http://\S+)"), PATIENCE)
    at("the browser is there")
    news_arrive(browser, base)
    name, pages = of_the_first_round(base)
    for kind, path in pages.items():
        page_is_whole(browser, base, kind, path)
    at(f"{len(pages)} pages while the demo runs")
    stays_live(browser, demo, base)
    at("the run has ended")
    block, others = of_the_run(base, name)
    for kind, path in others.items():
        page_is_whole(browser, base, kind, path)
    tables_answer(browser, base, name, block)
    past_is_shown(browser, base, name)
    crowns_have_evidence(browser, base, name)
    script_is_blocked(browser, base)
    at("tables, the past, crowns and the policy")
    pages |= others
    for page in pages.items():
        looks_right(browser, base, page, axe, args.pictures)
    at(f"{len(pages)} pages in light and dark and on a phone")
    ends_in_order(browser, demo, base)
    at(f"{len(failures)} failures")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("agon")
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("pictures", type=pathlib.Path)
    parser.add_argument("--axe", type=pathlib.Path)
    args = parser.parse_args()
    # So that what is begun here is ended here.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    demo = Demo(args.agon, args.work / "home")
    try:
        browser = Browser(args.work)
        try:
            checked(browser, demo, args)
        except Refused as refused:
            raise SystemExit(f"FAILED {refused}") from None
        finally:
            browser.end()
    finally:
        demo.end()
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
