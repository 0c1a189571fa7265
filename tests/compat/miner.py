"""A miner by commands alone: rules, tokenizer and training text from `agon`, models trained with transformers, entered
with `agon miner submit`, the second one better and seen by nobody before its commitment is final. Then training goes on,
and `agon miner watch` enters of its checkpoints the first that wins, and none that does not.

    python tests/compat/miner.py AGON

Starts a node and a hub of its own on free ports. Needs numpy, torch and transformers. Prints a line for each check and
ends with 1 if one failed.
"""

import contextlib
import json
import os
import queue
import secrets
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.error
import urllib.request
from pathlib import Path

TOKEN = "hf_" + secrets.token_hex(17)
BLOCK_HASH = "0x" + "5e" * 32
# Steps after which the first and the second model are saved, and after which training stops that is watched; and the most
# seconds that anything may take to happen.
STEPS, STEPS_WATCHED, PATIENCE = (60, 200), 600, 180


def ensure(holds, what):
    if not holds:
        raise AssertionError(what)


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def serve(servers, *command):
    """The first line that a server of ours prints, which ends with the others."""
    server = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
    servers.callback(server.wait)
    servers.callback(server.terminate)
    return json.loads(server.stdout.readline())


class Watcher(threading.Thread):
    """A stranger without a token who looks all the time at what the miner shows."""

    def __init__(self, hub, node):
        super().__init__(daemon=True)
        self.hub, self.node = hub, node.replace("ws://", "http://")
        self.seen, self.stop = {}, threading.Event()

    def head(self):
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "chain_getHeader", "params": []}).encode()
        request = urllib.request.Request(self.node, body, {"Content-Type": "application/json"})
        return int(get(request)["result"]["number"], 16)

    def run(self):
        while not self.stop.is_set():
            before = self.head()
            for repo in get(f"{self.hub}/api/models?author=alice"):
                try:
                    revision = get(f"{self.hub}/api/models/{repo['id']}")["sha"]
                except urllib.error.HTTPError:
                    continue
                self.seen.setdefault(revision, before)
            time.sleep(0.01)


class Checks:
    """Everything that is checked, in order."""

    def __init__(self, agon, folder, node, hub):
        self.program, self.folder, self.node, self.hub = agon, folder, node, hub
        self.watcher = Watcher(hub, node)
        self.models = [folder / "first", folder / "second"]

    def agon(self, *words, code=0, **more):
        ran = subprocess.run([self.program, *map(str, words)], capture_output=True, text=True, timeout=PATIENCE, **more)
        if code is not None:
            ensure(ran.returncode == code, f"agon {words[0]} {words[1]} ended with {ran.returncode}: {ran.stderr[-600:]}")
        return ran

    def json(self, *words, **more):
        return json.loads(self.agon(*words, "--json", **more).stdout)

    def chain(self, *words):
        return self.json("chain", *words, "--chain", self.node)

    def rules_tokenizer_and_training_text_come_by_command(self):
        listed = [one["rules"]["name"] for one in self.json("competition", "list")]
        ensure("tiny" in listed, f"competitions are {listed}")
        self.rules = self.json("competition", "show", "tiny", "--tokenizer", self.folder / "tokenizer.json")["rules"]
        report = self.json("data", "export", "tiny", "--to", self.folder / "data", "--documents", 4000)
        ensure(report["split"] == "train" and report["n_documents"] == 4000, f"the export is {report}")
        import numpy

        self.rows = numpy.load(self.folder / "data/train.npy")
        shape = (report["n_sequences"], self.rules["text"]["sequence_length"])
        ensure(self.rows.shape == shape, f"the array is {self.rows.shape}, not {shape}")

    def transformers_reads_the_tokenizer_as_we_do(self):
        from transformers import PreTrainedTokenizerFast

        self.tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(self.folder / "tokenizer.json"))
        lines = (self.folder / "data/train.jsonl").read_text().splitlines()[:200]
        tokens = [token for line in lines for token in [*self.tokenizer.encode(json.loads(line)["text"]), None]]
        flat = self.rows.reshape(-1)[: len(tokens)].tolist()
        ends = {have for have, want in zip(flat, tokens) if want is None}
        ensure(len(ends) == 1, f"ends of text are {ends}")
        ensure(all(want in (None, have) for have, want in zip(flat, tokens)), "the tokens differ")

    def transformers_trains_two_models_outside(self):
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM
        from transformers.utils import logging

        logging.disable_progress_bar()
        torch.manual_seed(1)
        torch.set_num_threads(2)
        text = self.rules["text"]
        self.torch, config = torch, LlamaConfig(
            vocab_size=text["tokenizer"]["vocabulary"], max_position_embeddings=text["sequence_length"], hidden_size=96,
            intermediate_size=256, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            tie_word_embeddings=True, bos_token_id=None, eos_token_id=None)
        self.model = LlamaForCausalLM(config)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=3e-3, weight_decay=0.1)
        for step in range(1, STEPS[-1] + 1):
            self.step()
            if step in STEPS:
                self.save(self.models[STEPS.index(step)])

    def step(self):
        rows = self.torch.randint(len(self.rows), (16,))
        tokens = self.torch.tensor(self.rows[rows.numpy()].astype("int64"))
        self.model(input_ids=tokens, labels=tokens).loss.backward()
        self.torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def save(self, folder):
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        # What the Trainer leaves beside a model.
        self.torch.save({"lr": 3e-3}, folder / "training_args.bin")

    def both_are_admitted_and_the_second_is_better_by_epsilon(self):
        sample = self.agon("sample", "--competition", "tiny", "--block-hash", BLOCK_HASH, "--json").stdout
        losses = []
        for model in self.models:
            verdict = self.json("check", "--model", model, "--competition", "tiny")["verdict"]
            ensure(verdict == "admitted", f"the verdict is {verdict}")
            report = self.json("evaluate", "--model", model, "--tokens", "-", input=sample)
            ensure(len(report["batches"]) == self.rules["evaluation"]["n_batches"], "not a loss for each batch")
            losses.append(report["mean_cross_entropy"])
        guessing = json.loads(sample)["unigram"]
        ensure(losses[1] < losses[0] - 0.01 and losses[0] < guessing, f"the losses are {losses}, guessing {guessing}")

    def a_wallet_a_slot_and_the_first_submission(self):
        self.agon("wallet", "create", "--wallet", "miner", "--no-password", "--wallet-path", self.folder / "wallets")
        [wallet] = self.json("wallet", "list", "--wallet-path", self.folder / "wallets")
        coldkey = wallet["coldkey"]
        self.chain("subnet", "create", "--wallet", "//Alice")
        self.chain("transfer", "--wallet", "//Alice", "--to", coldkey, 100)
        self.wallet = ["--wallet", "miner", "--wallet-path", self.folder / "wallets"]
        self.chain("register", *self.wallet, "--netuid", 1)
        self.watcher.start()
        self.first = self.submit(self.models[0])
        self.shown(self.first)

    def a_better_model_is_submitted_unseen(self):
        self.second = self.submit(self.models[1])
        ensure(self.second["repo"] != self.first["repo"], "both models share a repo")
        self.shown(self.second)
        self.watcher.stop.set()
        for report in (self.first, self.second):
            head = self.watcher.seen[report["revision"]]
            ensure(head >= report["block"], f"seen at block {head}, committed in {report['block']}")
        texts = [stored["text"] for stored in self.chain("commitments", "--netuid", 1)]
        ensure(texts == [self.second["commitment"]], f"the commitments are {texts}")

    def of_the_checkpoints_of_a_training_the_first_that_wins_is_entered(self):
        runs, started = self.folder / "runs", time.monotonic()
        runs.mkdir()
        words = ["miner", "watch", runs, "--competition", "tiny", "--netuid", 1, *self.wallet, "--home", self.folder / "watch"]
        words += ["--hub", self.hub, "--network", self.node, "--interval", "500ms", "--margin", "0.01", "--json"]
        environment = os.environ | {"HF_ENDPOINT": self.hub, "HF_TOKEN": TOKEN}
        command = [self.program, *map(str, words)]
        watcher = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        lines = queue.Queue()
        threading.Thread(target=lambda: [lines.put(line) for line in watcher.stdout], daemon=True).start()

        def said():
            try:
                return json.loads(lines.get(timeout=PATIENCE))
            except queue.Empty:
                raise AssertionError(f"the watcher says nothing for {PATIENCE} s") from None

        try:
            ensure(said()["ready"] == "watch", "the watcher is not ready")
            # One that learnt nothing more, and then whatever training comes to.
            verdicts, step = [], STEPS[-1]
            while not verdicts or verdicts[-1]["verdict"] in ("known", "loses", "waits"):
                ensure(step <= STEPS_WATCHED and time.monotonic() - started < PATIENCE, f"nothing won: {verdicts}")
                checkpoint = runs / f"checkpoint-{step}"
                self.save(checkpoint)
                verdicts.append(said())
                while verdicts[-1]["verdict"] == "waits":
                    verdicts.append(said())
                ensure(verdicts[-1]["checkpoint"] == str(checkpoint), f"the verdict is {verdicts[-1]}")
                for _ in range(25):
                    self.step()
                step += 25
            first, won = verdicts[0], verdicts[-1]
            ensure(first["verdict"] == "loses" and first["own"] == first["perplexity"], f"the same model: {first}")
            ensure(won["verdict"] == "wins" and won["perplexity"] < won["needed"] < won["own"], f"the winner: {won}")
            entered = said()
            ensure(entered["verdict"] == "submitted" and entered["checkpoint"] == won["checkpoint"], f"entered: {entered}")
            texts = [stored["text"] for stored in self.chain("commitments", "--netuid", 1)]
            ensure(texts == [entered["submitted"]["commitment"]], f"the commitments are {texts}")
        finally:
            watcher.terminate()
            ensure(watcher.wait(timeout=PATIENCE) == 0, "the watcher did not end well")

    def submit(self, model):
        """Enters a model; where the chain wants us to wait, nothing may have been shown, and we wait."""
        words = ["miner", "submit", model, "--competition", "tiny", "--netuid", 1, *self.wallet]
        words += ["--hub", self.hub, "--chain", self.node, "--json"]
        environment = os.environ | {"HF_ENDPOINT": self.hub, "HF_TOKEN": TOKEN}
        deadline = time.monotonic() + PATIENCE
        while True:
            n_seen = len(self.watcher.seen)
            ran = self.agon(*words, code=None, env=environment)
            if ran.returncode == 0:
                return json.loads(ran.stdout)
            ensure("block" in ran.stderr and time.monotonic() < deadline, f"the submission failed: {ran.stderr}")
            ensure(len(self.watcher.seen) == n_seen, "a refused submission has shown something")
            time.sleep(1)

    def shown(self, report):
        """Waits until the watcher sees what was published."""
        deadline = time.monotonic() + PATIENCE
        while report["revision"] not in self.watcher.seen:
            ensure(time.monotonic() < deadline and self.watcher.is_alive(), "the model is not public")
            time.sleep(0.05)

    def all(self):
        return [
            self.rules_tokenizer_and_training_text_come_by_command,
            self.transformers_reads_the_tokenizer_as_we_do,
            self.transformers_trains_two_models_outside,
            self.both_are_admitted_and_the_second_is_better_by_epsilon,
            self.a_wallet_a_slot_and_the_first_submission,
            self.a_better_model_is_submitted_unseen,
            self.of_the_checkpoints_of_a_training_the_first_that_wins_is_entered,
        ]


def main():
    agon = str(Path(sys.argv[1]).resolve())
    failed = False
    # Settings of the caller that would lead our commands, or requests to this machine, elsewhere.
    for name in [name for name in os.environ if name.startswith(("AGON_", "BT_", "HF_"))]:
        del os.environ[name]
    os.environ |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as servers:
        # Watched folders are named as they are, and not by a link to them.
        folder = Path(folder).resolve()
        os.environ["HOME"] = str(folder)
        for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
            os.environ.pop(name, None)
        listen = ["--json", "--listen", "127.0.0.1:0"]
        at = serve(servers, agon, "node", *listen, "--block-time", "200ms", "--home", folder / "chain")
        place = serve(servers, agon, "hub", *listen, "--dir", folder / "hub", f"--user=alice:{TOKEN}:write")
        checks = Checks(agon, folder, at["url"], place["url"])
        for check in checks.all():
            name, started = check.__name__.replace("_", " "), time.monotonic()
            try:
                check()
                print(f"ok  miner: {name} ({time.monotonic() - started:.0f} s)", flush=True)
            except Exception as error:  # Whatever it is, the others would fail of it.
                if not isinstance(error, AssertionError):
                    traceback.print_exc()
                print(f"FAILED miner: {name}: {error}", flush=True)
                failed = True
                break
        checks.watcher.stop.set()
    sys.exit(failed)


if __name__ == "__main__":
    main()
