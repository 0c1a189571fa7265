"""Hugging Face's own clients against the embedded hub: the `hf` command line, huggingface_hub and, where they are
installed, transformers and the crate hf-hub.

    python tests/compat/hub.py AGON [HF_HUB]

AGON is the program, HF_HUB what `tests/compat/hf-hub` is built to; the hub is started by this script, on a free port, and stopped at the end. Prints a line for each
check and ends with 1 if one failed.
"""

import json
import os
import secrets
import subprocess
import sys
import tempfile
import traceback
import urllib.request
from pathlib import Path

LARGE_BYTES = 100 << 20
TOKEN, OTHER = "hf_" + secrets.token_hex(17), "hf_" + secrets.token_hex(17)


def start(agon, folder):
    """A hub with two users, and where it is."""
    users = [f"--user=alice:{TOKEN}:write", f"--user=bob:{OTHER}:write"]
    command = [agon, "hub", "--json", "--listen", "127.0.0.1:0", "--dir", str(folder / "hub"), *users]
    hub = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    return hub, json.loads(hub.stdout.readline())["url"]


def ensure(holds, what):
    if not holds:
        raise AssertionError(what)


def write_model(folder):
    """A model whose parameters are one large file: what is in it does not matter here."""
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama"}\n')
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# A model\n")
    header = json.dumps({"w": {"dtype": "F32", "shape": [LARGE_BYTES // 4], "data_offsets": [0, LARGE_BYTES]}}).encode()
    header += b" " * (-len(header) % 8)
    block = secrets.token_bytes(1 << 20)
    with open(folder / "model.safetensors", "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for _ in range(LARGE_BYTES >> 20):
            file.write(block)


def same(a, b):
    files = [path.relative_to(a) for path in a.rglob("*") if path.is_file()]
    return all((b / path).read_bytes() == (a / path).read_bytes() for path in files)


class Checks:
    """Everything that is checked, in order."""

    def __init__(self, agon, hf_hub, folder, url):
        self.agon, self.hf_hub, self.folder, self.url = agon, hf_hub, folder, url
        self.model = folder / "model"

    def received(self):
        """Bytes of files that the hub has received so far."""
        request = urllib.request.Request(self.url + "/api/stats", headers={"Authorization": f"Bearer {TOKEN}"})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)["received_bytes"]

    def hf(self, *words, environment=None):
        command = [str(Path(sys.executable).parent / "hf"), *map(str, words)]
        ran = subprocess.run(command, capture_output=True, text=True, env=os.environ | (environment or {}))
        if ran.returncode:
            raise AssertionError(f"hf {words[0]} ended with {ran.returncode}: {(ran.stdout + ran.stderr)[-600:]}")
        return ran.stdout + ran.stderr

    def hf_uploads_and_downloads_a_folder_with_a_file_of_100_mib(self):
        write_model(self.model)
        self.hf("upload", "alice/large", self.model)
        self.hf("download", "alice/large", "--local-dir", self.folder / "copy")
        ensure(same(self.model, self.folder / "copy"), "the copy differs")

    def hf_sends_nothing_the_second_time(self):
        before = self.received()
        self.hf("upload", "alice/large", self.model)
        sent = self.received() - before
        ensure(sent < 1 << 20, f"{sent} bytes were sent again")

    def hf_without_the_switch_is_told_what_to_set(self):
        try:
            self.hf("upload", "alice/stock", self.model, environment={"HF_HUB_DISABLE_XET": "0"})
        except AssertionError as error:
            ensure("HF_HUB_DISABLE_XET" in str(error), f"it does not say what to set: {error}")

    def huggingface_hub_creates_lists_describes_and_deletes(self):
        from huggingface_hub import HfApi

        api = HfApi(endpoint=self.url, token=TOKEN)
        ensure(api.whoami()["name"] == "alice", "somebody else")
        api.create_repo("alice/small", private=True, exist_ok=True)
        api.create_repo("alice/small", exist_ok=True)
        first = api.upload_file(path_or_fileobj=b"one", path_in_repo="a/b.txt", repo_id="alice/small")
        second = api.upload_file(path_or_fileobj=b"two", path_in_repo="a/b.txt", repo_id="alice/small")
        ensure(first.oid != second.oid, "two commits are one revision")
        ensure("a/b.txt" in api.list_repo_files("alice/small"), "the file is not listed")
        info = api.model_info("alice/small", files_metadata=True)
        ensure(info.sha == second.oid and info.private, f"the info is {info}")
        ensure([f.size for f in info.siblings if f.rfilename == "a/b.txt"] == [3], "the size is wrong")
        ensure(len(list(api.list_repo_commits("alice/small"))) >= 2, "the commits are not listed")
        old = Path(api.hf_hub_download("alice/small", "a/b.txt", revision=first.oid, cache_dir=self.folder / "cache"))
        ensure(old.read_bytes() == b"one", "the old revision has the new bytes")
        api.create_branch("alice/small", branch="try")
        api.create_tag("alice/small", tag="v1")
        refs = api.list_repo_refs("alice/small")
        ensure({"main", "try"} <= {b.name for b in refs.branches} and refs.tags[0].name == "v1", f"the refs are {refs}")
        ensure(any(m.id == "alice/large" for m in api.list_models(author="alice")), "the repo is not found")
        api.delete_file("a/b.txt", repo_id="alice/small")
        ensure("a/b.txt" not in api.list_repo_files("alice/small"), "the file is still there")
        api.update_repo_settings("alice/small", private=False)
        ensure(not HfApi(endpoint=self.url, token=False).model_info("alice/small").private, "it is not public")
        api.delete_repo("alice/small")
        ensure(not api.repo_exists("alice/small"), "the repo is still there")

    def huggingface_hub_names_errors_by_their_class(self):
        from huggingface_hub import HfApi, errors

        api, bob = HfApi(endpoint=self.url, token=TOKEN), HfApi(endpoint=self.url, token=OTHER)
        cases = [
            (errors.RepositoryNotFoundError, lambda: api.model_info("alice/nothing")),
            (errors.RevisionNotFoundError, lambda: api.model_info("alice/large", revision="nothing")),
            (errors.EntryNotFoundError, lambda: api.hf_hub_download("alice/large", "nothing", force_download=True)),
            (errors.HfHubHTTPError, lambda: bob.upload_file(
                path_or_fileobj=b"x", path_in_repo="x", repo_id="alice/large")),
            (errors.HfHubHTTPError, lambda: api.create_repo("alice/large")),
        ]
        for kind, call in cases:
            try:
                call()
            except kind:
                continue
            raise AssertionError(f"{kind.__name__} was due")

    def huggingface_hub_takes_snapshots_of_models_and_datasets(self):
        from huggingface_hub import HfApi, HfFileSystem, snapshot_download

        api = HfApi(endpoint=self.url, token=TOKEN)
        api.create_repo("alice/text", repo_type="dataset", exist_ok=True)
        api.upload_folder(folder_path=self.model, repo_id="alice/text", repo_type="dataset", ignore_patterns="*.safetensors")
        for repo, kind in (("alice/large", "model"), ("alice/text", "dataset")):
            copy = snapshot_download(repo, repo_type=kind, endpoint=self.url, token=TOKEN,
                                     cache_dir=self.folder / "cache", allow_patterns=["*.json", "*.md"])
            ensure((Path(copy) / "config.json").read_bytes() == (self.model / "config.json").read_bytes(), kind)
        files = HfFileSystem(endpoint=self.url, token=TOKEN, skip_instance_cache=True)
        with files.open("alice/large/model.safetensors", "rb") as file:
            file.seek(5000)
            with open(self.model / "model.safetensors", "rb") as ours:
                ours.seek(5000)
                ensure(file.read(1000) == ours.read(1000), "the range differs")

    def transformers_publishes_in_shards_and_reads_the_revision_back(self):
        try:
            import torch
            from transformers import LlamaConfig, LlamaForCausalLM
        except ImportError:
            return "transformers is not installed"
        sizes = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 4}
        model = LlamaForCausalLM(LlamaConfig(vocab_size=1000, **sizes)).eval()
        commit = model.push_to_hub("alice/shards", max_shard_size="2MB", token=TOKEN)
        back = LlamaForCausalLM.from_pretrained(
            "alice/shards", revision=commit.oid, token=TOKEN, cache_dir=self.folder / "cache").eval()
        ids = torch.arange(50)[None]
        with torch.no_grad():
            ensure(torch.equal(model(ids).logits, back(ids).logits), "the logits differ")
        return None

    def the_crate_hf_hub_downloads_what_hf_uploaded(self):
        if not self.hf_hub:
            return "the crate hf-hub was not built"
        for name in ("config.json", "model.safetensors"):
            command = [self.hf_hub, "alice", "large", "main", name]
            ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
            ensure(ran.returncode == 0, f"it ended with {ran.returncode}: {ran.stderr[-600:]}")
            copy = Path(ran.stdout.strip())
            ensure(copy.is_relative_to(self.folder), f"the file is at {copy}")
            ensure(copy.read_bytes() == (self.model / name).read_bytes(), f"{name} differs")
        ran = subprocess.run([self.hf_hub, "alice", "large", "main", "nothing"], capture_output=True, text=True, timeout=120)
        ensure(ran.returncode != 0, "a file that is not there was found")
        return None

    def agon_downloads_what_hf_uploaded_and_the_other_way_round(self):
        copy = self.folder / "ours"
        subprocess.run([self.agon, "download", "alice/large", copy], check=True, capture_output=True)
        ensure(same(self.model, copy), "the copy differs")
        subprocess.run([self.agon, "upload", self.model, "alice/ours"], check=True, capture_output=True)
        self.hf("download", "alice/ours", "--local-dir", self.folder / "theirs")
        ensure(same(self.model, self.folder / "theirs"), "the copy differs")


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory(prefix="agon-hub.") as folder:
        folder = Path(folder)
        hub, url = start(sys.argv[1], folder)
        os.environ |= {"HF_ENDPOINT": url, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(folder / "hf"),
                       "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        checks = Checks(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None, folder, url)
        names = [name for name in vars(Checks) if not name.startswith("_") and name not in ("received", "hf")]
        failed = False
        try:
            for name in names:
                try:
                    skipped = getattr(checks, name)()
                    print(f"{'skipped: ' + skipped + ':' if skipped else 'ok '} {name.replace('_', ' ')}", flush=True)
                except Exception as error:
                    failed = True
                    last = traceback.extract_tb(error.__traceback__)[-1]
                    print(f"FAILED {name.replace('_', ' ')}: {error!r} (line {last.lineno} of {last.filename})", flush=True)
        finally:
            hub.terminate()
            hub.wait(10)
    sys.exit(failed)


if __name__ == "__main__":
    main()
