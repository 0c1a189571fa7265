"""Hugging Face's own clients against `agon hub`: hf, huggingface_hub, transformers.

    python tests/compat/hub.py path/to/agon [--require]

Needs huggingface_hub; with torch and transformers the last checks run too. A line says `ok`,
`FAILED` or `skipped`; the exit code is 1 if a check failed, or was skipped with --require.
"""

import filecmp
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

MEGABYTES = 100
rows = []


def check(name):
    """Runs a check, and notes how it went and how long it took."""

    def decorate(function):
        started = time.monotonic()
        try:
            note = function() or ""
            status = "skipped" if str(note).startswith("needs ") else "ok"
        except Exception as error:  # Whatever it is, it is the result of the check.
            status, note = "FAILED", f"{type(error).__name__}: {str(error).strip()[:300]}"
        seconds = time.monotonic() - started
        rows.append(status)
        print(f"{status:8} {name:58} {seconds:6.2f} s  {note}", flush=True)
        return function

    return decorate


def start(agon, folder):
    users = ["--user", "alice:hf_alices_token:write", "--user", "bob:hf_bobs_token:write"]
    command = [agon, "hub", "--json", "--listen", "127.0.0.1:0", "--dir", str(folder), *users]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    if not line:
        sys.exit("FAILED the hub does not start")
    return process, json.loads(line)["url"]


def weights(path, megabytes, seed):
    """A valid safetensors file of noise."""
    n = megabytes << 20
    tensor = {"dtype": "F32", "shape": [n // 4], "data_offsets": [0, n]}
    header = json.dumps({"w": tensor}).encode()
    header += b" " * (-len(header) % 8)
    noise = random.Random(seed)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for _ in range(megabytes):
            file.write(noise.randbytes(1 << 20))


def main(agon, work):
    process, url = start(agon, work / "hub")
    os.environ.update(
        HF_ENDPOINT=url,
        HF_TOKEN="hf_alices_token",
        HF_HUB_DISABLE_XET="1",
        HF_HOME=str(work / "home"),
        HF_HUB_DISABLE_TELEMETRY="1",
        HF_HUB_DISABLE_PROGRESS_BARS="1",
    )
    try:
        run(url, work)
    finally:
        process.terminate()
        process.wait(10)


def run(url, work):
    import huggingface_hub
    from huggingface_hub import CommitOperationAdd, HfApi, HfFileSystem
    from huggingface_hub import errors

    print(f"huggingface_hub {huggingface_hub.__version__} against {url}")
    api = HfApi(endpoint=url, token="hf_alices_token")
    bob = HfApi(endpoint=url, token="hf_bobs_token")
    hf = str(Path(sys.executable).parent / "hf")

    def stats():
        request = urllib.request.Request(f"{url}/api/stats")
        request.add_header("authorization", "Bearer hf_alices_token")
        return json.load(urllib.request.urlopen(request))

    def raises(kind, call, *arguments, **options):
        try:
            call(*arguments, **options)
        except kind:
            return
        raise AssertionError(f"{call.__name__} did not raise {kind.__name__}")

    folder = work / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama"}\n')
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# A model\n")
    (folder / "nested").mkdir()
    (folder / "nested" / "with blank.txt").write_text("text\n")
    weights(folder / "model.safetensors", MEGABYTES, 1)

    def cli(*arguments):
        done = subprocess.run([hf, *arguments], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, (done.stdout + done.stderr)[-300:]
        return done.stdout

    @check(f"hf upload: a folder with {MEGABYTES} MB of weights")
    def _():
        cli("upload", "alice/first", str(folder))
        sent = stats()["received_bytes"]
        assert sent >= MEGABYTES << 20, sent

    @check("hf upload: the same folder again sends nothing")
    def _():
        before = stats()
        cli("upload", "alice/first", str(folder))
        after = stats()
        assert after["received_bytes"] == before["received_bytes"], (before, after)
        assert after["commits"] == before["commits"], (before, after)
        return f"{after['requests'] - before['requests']} requests"

    @check("hf upload: one more small file sends that file alone")
    def _():
        before = stats()["received_bytes"]
        (folder / "notes.txt").write_text("notes\n")
        cli("upload", "alice/first", str(folder))
        assert stats()["received_bytes"] - before == 6

    @check("hf download: every byte comes back")
    def _():
        cli("download", "alice/first", "--local-dir", str(work / "copy"))
        for path in folder.rglob("*"):
            other = work / "copy" / path.relative_to(folder)
            assert path.is_dir() or filecmp.cmp(path, other, shallow=False), path

    @check("hf download: again, from the cache, no byte is sent")
    def _():
        cli("download", "alice/first", "--local-dir", str(work / "copy"))
        before = stats()["sent_bytes"]
        cli("download", "alice/first", "--local-dir", str(work / "copy"))
        assert stats()["sent_bytes"] == before

    @check("huggingface_hub: whoami, create, create again")
    def _():
        assert api.whoami()["name"] == "alice"
        api.create_repo("alice/api")
        api.create_repo("alice/api", exist_ok=True)
        raises(errors.HfHubHTTPError, api.create_repo, "alice/api")

    @check("huggingface_hub: commit, parent, history, deletion")
    def _():
        add = CommitOperationAdd("a.txt", b"one")
        first = api.create_commit("alice/api", [add], commit_message="first")
        second = api.upload_file(
            path_or_fileobj=b"two", path_in_repo="a.txt", repo_id="alice/api"
        )
        raises(
            errors.HfHubHTTPError,
            api.create_commit,
            "alice/api",
            [CommitOperationAdd("b.txt", b"b")],
            commit_message="late",
            parent_commit=first.oid,
        )
        titles = [commit.title for commit in api.list_repo_commits("alice/api")]
        assert titles[-1] == "initial commit" and len(titles) == 3, titles
        path = api.hf_hub_download("alice/api", "a.txt", revision=first.oid)
        assert Path(path).read_text() == "one"
        path = api.hf_hub_download("alice/api", "a.txt", revision=second.oid)
        assert Path(path).read_text() == "two"
        api.delete_file("a.txt", "alice/api")
        assert "a.txt" not in api.list_repo_files("alice/api")

    @check("huggingface_hub: info with sizes, tree, paths, lists")
    def _():
        info = api.model_info("alice/first", files_metadata=True)
        sizes = {sibling.rfilename: sibling for sibling in info.siblings}
        entry = sizes["model.safetensors"]
        assert entry.size == (folder / "model.safetensors").stat().st_size
        assert len(entry.lfs.sha256) == 64
        tree = list(api.list_repo_tree("alice/first", recursive=True, expand=True))
        assert {item.path for item in tree} >= {"nested", "nested/with blank.txt"}
        assert all(item.last_commit for item in tree)
        found = api.get_paths_info("alice/first", ["nested", "config.json", "none"])
        assert {item.path for item in found} == {"nested", "config.json"}
        names = {model.id for model in api.list_models(author="alice", limit=10)}
        assert names == {"alice/first", "alice/api"}, names

    @check("huggingface_hub: branches and tags")
    def _():
        api.create_branch("alice/first", branch="side/one")
        api.create_tag("alice/first", tag="v1")
        refs = api.list_repo_refs("alice/first")
        assert {branch.name for branch in refs.branches} == {"main", "side/one"}
        assert api.hf_hub_download("alice/first", "config.json", revision="v1")
        assert api.hf_hub_download("alice/first", "config.json", revision="side/one")
        api.delete_tag("alice/first", tag="v1")
        api.delete_branch("alice/first", branch="side/one")

    @check("huggingface_hub: snapshot of a revision with patterns")
    def _():
        sha = api.model_info("alice/first").sha
        path = api.snapshot_download("alice/first", revision=sha, allow_patterns=["*.json"])
        assert [item.name for item in Path(path).iterdir()] == ["config.json"]

    @check("huggingface_hub: errors by their class")
    def _():
        raises(errors.RepositoryNotFoundError, api.model_info, "alice/none")
        raises(errors.RepositoryNotFoundError, HfApi(url, token=False).model_info, "alice/none")
        raises(errors.RevisionNotFoundError, api.model_info, "alice/first", revision="none")
        raises(errors.EntryNotFoundError, api.hf_hub_download, "alice/first", "none.json")
        raises(errors.HfHubHTTPError, bob.upload_file, path_or_fileobj=b"x",
               path_in_repo="x", repo_id="alice/first")
        raises(errors.HfHubHTTPError, HfApi(url, token="hf_nobodys_token").whoami)

    @check("huggingface_hub: private is hidden, and public again")
    def _():
        api.update_repo_settings("alice/first", private=True)
        raises(errors.RepositoryNotFoundError, bob.model_info, "alice/first")
        api.update_repo_settings("alice/first", private=False)
        assert bob.model_info("alice/first").private is False

    @check("huggingface_hub: datasets, and ranges by HfFileSystem")
    def _():
        api.create_repo("alice/texts", repo_type="dataset")
        data = bytes(range(256)) * 4096
        api.upload_file(path_or_fileobj=data, path_in_repo="data.parquet",
                        repo_id="alice/texts", repo_type="dataset")
        files = HfFileSystem(endpoint=url, token="hf_alices_token")
        with files.open("datasets/alice/texts/data.parquet", block_size=1 << 16) as file:
            file.seek(700_001)
            assert file.read(1000) == data[700_001:701_001]
        assert [item.id for item in api.list_datasets(author="alice")] == ["alice/texts"]

    @check("huggingface_hub: move and delete")
    def _():
        api.move_repo("alice/api", "alice/moved")
        assert api.repo_exists("alice/moved") and not api.repo_exists("alice/api")
        api.delete_repo("alice/moved")
        raises(errors.RepositoryNotFoundError, api.model_info, "alice/moved")

    @check("stock client with Xet left on: small files work without it")
    def _():
        environment = {**os.environ}
        del environment["HF_HUB_DISABLE_XET"]
        small = work / "small"
        small.mkdir()
        weights(small / "model.safetensors", 10, 2)
        done = subprocess.run([hf, "upload", "alice/small", str(small)], env=environment,
                              capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr[-300:]

    @check("transformers: push_to_hub in shards, from_pretrained by revision")
    def _():
        try:
            import torch
            import transformers
            from transformers import LlamaConfig, LlamaForCausalLM
        except ImportError as error:
            return f"needs torch and transformers: {error}"
        torch.manual_seed(1)
        sizes = dict(hidden_size=256, intermediate_size=512, num_hidden_layers=4)
        config = LlamaConfig(vocab_size=4096, num_attention_heads=4, **sizes)
        model = LlamaForCausalLM(config).eval()
        pushed = model.push_to_hub("alice/llama", max_shard_size="4MB")
        files = api.list_repo_files("alice/llama", revision=pushed.oid)
        shards = [name for name in files if name.endswith(".safetensors")]
        assert len(shards) > 2, files
        # Another revision on top: the first must stay what it was.
        api.upload_file(path_or_fileobj=b"{}", path_in_repo="config.json", repo_id="alice/llama")
        again = LlamaForCausalLM.from_pretrained("alice/llama", revision=pushed.oid).eval()
        tokens = torch.arange(64).reshape(2, 32)
        with torch.no_grad():
            same = torch.equal(model(tokens).logits, again(tokens).logits)
        assert same, "the logits differ"
        return f"transformers {transformers.__version__}, {len(shards)} shards, logits bit-equal"

    failed, skipped = rows.count("FAILED"), rows.count("skipped")
    print(f"{len(rows)} checks, {failed} failed, {skipped} skipped")
    if failed or (skipped and "--require" in sys.argv):
        sys.exit(1)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory(prefix="agon-compat-hub.") as temporary:
        main(sys.argv[1], Path(temporary))
