//! What Hugging Face's hub has and this one has not: an answer that says so.

use super::Refusal;
use axum::http::Uri;

/// Words that stand behind a repo in addresses, and what is missing there.
const OF_A_REPO: [(&str, &str); 10] = [
    ("discussions", "this hub has no discussions and no pull requests: commit to a branch"),
    ("duplicate", "this hub copies no repos: download this one and upload it to the other"),
    ("super-squash", "this hub joins no commits: a revision stays what it is"),
    ("lfs-files", "this hub removes what no commit refers to by itself"),
    ("like", "this hub counts no likes"),
    ("likers", "this hub counts no likes"),
    ("leaderboard", "this hub has no leaderboards"),
    ("resource-group", "this hub has no resource groups: users and organisations own repos"),
    ("user-access-request", "this hub has no gated repos: they are public or private"),
    ("safetensors-metadata", "this hub reads no tensors: ask for the first bytes of the file"),
];
/// Words that addresses of the interface begin with, and what is missing there.
const OF_THE_HUB: [(&str, &str); 13] = [
    ("spaces", "this hub has models and datasets only"),
    ("kernels", "this hub has models and datasets only"),
    ("buckets", "this hub has models and datasets only"),
    ("collections", "this hub has no collections"),
    ("jobs", "this hub runs no jobs"),
    ("scheduled-jobs", "this hub runs no jobs"),
    ("papers", "this hub has no papers"),
    ("daily_papers", "this hub has no papers"),
    ("users", "this hub has no pages of users"),
    ("organizations", "this hub has no pages of organisations"),
    ("settings", "this hub has no settings but those of its operator"),
    ("models-tags-by-type", "this hub keeps no tags"),
    ("datasets-tags-by-type", "this hub keeps no tags"),
];

/// Answers what no route takes.
pub(super) async fn nothing(uri: Uri) -> Refusal {
    let found = missing(uri.path());
    found.map_or_else(
        || Refusal::not_found("there is nothing at this address"),
        Refusal::not_implemented,
    )
}

fn missing(path: &str) -> Option<&'static str> {
    let mut parts = path.split('/').skip(1);
    let first = parts.next()?;
    let said = |list: &[(&str, &'static str)], word: &str| {
        list.iter().find(|(known, _)| *known == word).map(|(_, sentence)| *sentence)
    };
    if first != "api" {
        let is_git = path.ends_with("/info/refs") || path.ends_with("/git-upload-pack");
        let no_git = "this hub does not speak Git: use `hf download` and `hf upload`";
        return is_git.then_some(no_git);
    }
    let second = parts.next()?;
    match second {
        "models" | "datasets" => said(&OF_A_REPO, parts.nth(2)?),
        other => said(&OF_THE_HUB, other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_by_name() {
        for (path, part) in [
            ("/api/models/ann/tiny/discussions", "no discussions"),
            ("/api/datasets/ann/tiny/super-squash/main", "joins no commits"),
            ("/api/models/ann/tiny/duplicate", "copies no repos"),
            ("/api/spaces/ann/x/runtime", "models and datasets only"),
            ("/ann/tiny.git/info/refs", "does not speak Git"),
        ] {
            assert!(missing(path).is_some_and(|said| said.contains(part)), "{path}");
        }
        for path in ["/", "/api", "/api/models", "/api/models/ann/tiny", "/x/y", "/api/nothing"] {
            assert_eq!(missing(path), None, "{path}");
        }
    }
}
