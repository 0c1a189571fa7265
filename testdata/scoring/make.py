"""Makes cases.json: equations 2 to 6 and the rule of mean losses, written out naively.

Run: python3 make.py > cases.json (Python 3.9 or later, standard library only).
"""
import json, math, random

def epsilon_at(epsilon, now, block):
    if epsilon["kind"] == "fixed":
        return epsilon["value"]
    fraction = min(max(now - block, 0) / epsilon["blocks"], 1)
    return epsilon["start"] - fraction * (epsilon["start"] - epsilon["end"])

def settled(epsilon):
    return epsilon["value"] if epsilon["kind"] == "fixed" else epsilon["end"]

def wins(a, b, loss_a, loss_b, margin):
    """Whether a beats b; models of one block have no tie-break here, the uid decides."""
    if (a["block"], a["uid"]) < (b["block"], b["uid"]):
        return not wins(b, a, loss_b, loss_a, margin)
    e = 0.0 if a["block"] == b["block"] else margin(b)
    return loss_a < (1.0 - e) * loss_b

def score(case):
    models = case["models"]
    m = max((len(x["cross_entropy"]) for x in models), default=0)
    compared = (lambda h: math.exp(h)) if case["loss"] == "perplexity" else (lambda h: h)
    losses = {}
    for x in models:
        if m and len(x["cross_entropy"]) == m and None not in x["cross_entropy"]:
            losses[x["uid"]] = [compared(h) for h in x["cross_entropy"]]
    margin = lambda older: epsilon_at(case["epsilon"], case["block"], older["block"])
    present = [x for x in models if x["uid"] in losses]
    field = present
    if case["rule"] == "mean":
        losses = {uid: [math.fsum(l) / m] for uid, l in losses.items()}
        def survives(x):
            for y in present:
                if y is x or y["block"] > x["block"]:
                    continue
                mine, other = losses[x["uid"]][0], losses[y["uid"]][0]
                if not wins(x, y, mine, other, lambda _: settled(case["epsilon"])):
                    return False
            return True
        field = [x for x in present if survives(x)]
    counts = {x["uid"]: 0 for x in models}
    rates = {x["uid"]: 0.0 for x in models}
    for x in field:
        for y in field:
            if y is not x:
                for a, b in zip(losses[x["uid"]], losses[y["uid"]]):
                    counts[x["uid"]] += wins(x, y, a, b, margin)
        n = (len(field) - 1) * len(losses[x["uid"]])
        rates[x["uid"]] = counts[x["uid"]] / n if n else 1.0
    best = max((rates[x["uid"]] for x in present), default=0.0)
    powers = {x["uid"]: math.exp((rates[x["uid"]] - best) / case["temperature"]) for x in present}
    total = math.fsum(powers.values())
    return [{"uid": x["uid"], "wins": counts[x["uid"]], "win_rate": rates[x["uid"]],
             "weight": powers[x["uid"]] / total if x["uid"] in powers else 0.0} for x in models]

def cases():
    r = random.Random(9)
    fixed = {"kind": "fixed", "value": 0.005}
    linear = {"kind": "linear", "start": 0.005, "end": 0.0001, "blocks": 2000}
    for i in range(24):
        n, m = r.choice([1, 2, 3, 5, 9]), r.choice([1, 2, 7, 12])
        models = []
        for uid in r.sample(range(256), n):
            base = r.choice([2.4, 2.41, 2.5])
            h = [round(base + r.choice([0, 0, 0.002, 0.01, r.uniform(-0.05, 0.05)]), 3) for _ in range(m)]
            if r.random() < 0.12:
                h[r.randrange(m)] = None
            if r.random() < 0.08:
                h.pop()
            models.append({"uid": uid, "block": r.choice([100, 100, 200, 950, 990]), "cross_entropy": h})
        yield {"name": f"random {i}", "rule": ["wins", "mean"][i % 2], "loss": ["perplexity", "cross-entropy"][i // 2 % 2],
               "epsilon": r.choice([fixed, linear]), "temperature": r.choice([0.01, 0.01, 0.0001, 1.0, 10000.0]),
               "block": 1000, "models": models}
    # The reference's own vectors of its filter of competitive models (release 4.5.3).
    def mean_case(name, block, models):
        epsilon = {"kind": "linear", "start": 0.005, "end": 0.0001, "blocks": 2000}
        return {"name": name, "rule": "mean", "loss": "cross-entropy", "epsilon": epsilon, "temperature": 0.01, "block": block,
                "models": [{"uid": u, "block": b, "cross_entropy": [l]} for u, b, l in models]}
    yield mean_case("filter: kept 100 and 75", 2001, [(100, 1000, .5), (50, 2000, .5), (75, 2001, .499)])
    yield mean_case("filter: kept 100 and 50", 2001, [(100, 1000, .5), (50, 2000, .499), (75, 2001, .499)])
    yield mean_case("filter: the better of one block", 1000, [(1, 1000, .5), (2, 1000, .4)])
    yield mean_case("filter: an exact tie within a block", 1000, [(1, 1000, .5), (2, 1000, .5)])
    # Champion, then 0.3 % and 0.6 % better: a cycle of wins, a third each.
    yield {"name": "cycle", "rule": "wins", "loss": "cross-entropy", "epsilon": fixed, "temperature": 0.01, "block": 1000,
           "models": [{"uid": u, "block": u * 100, "cross_entropy": [l]} for u, l in [(1, 2.5), (2, 2.4925), (3, 2.485)]]}
    yield {"name": "nobody is present", "rule": "wins", "loss": "perplexity", "epsilon": fixed, "temperature": 0.01, "block": 9,
           "models": [{"uid": 1, "block": 2, "cross_entropy": [None, 2.0]}, {"uid": 2, "block": 1, "cross_entropy": [None, None]}]}

document = [{**case, "expect": {"models": score(case)}} for case in cases()]
print("[\n" + ",\n".join(json.dumps(case) for case in document) + "\n]")
