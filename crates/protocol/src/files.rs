//! Which files a model has, and how large those may be that are read whole.
//!
//! Part of the protocol: who reads other files, or more of them, comes to other verdicts.

/// The config.
pub const CONFIG: &str = "config.json";
/// All parameters, of a model that has no index.
pub const SINGLE: &str = "model.safetensors";
/// The index over the files with parameters, where there are several.
pub const INDEX: &str = "model.safetensors.index.json";

/// Most bytes of the config.
pub const CONFIG_BYTES_MAX: u64 = 256 << 10;
/// Most bytes of the index: a line for each tensor.
pub const INDEX_BYTES_MAX: u64 = 8 << 20;
/// Most bytes of the headers of all files with parameters, and of each.
pub const HEADER_BYTES_MAX: u64 = 8 << 20;
/// Most files that parameters are spread over: all are open at once, and a process may have no more
/// than 1,024.
pub const N_SHARDS_MAX: usize = 256;
/// Most files of a repo, whatever they are.
pub const N_FILES_MAX: usize = 1_024;
/// Most bytes of the name of a file with parameters.
const SHARD_NAME_BYTES_MAX: usize = 128;

/// Whether a file beside the config may hold parameters: a plain name that ends with
/// `.safetensors`. Which of those are the model's, its index says.
///
/// Publishers number their shards in many ways. A name is the same on every system, stays in its
/// folder and is not hidden.
pub fn is_shard_name(name: &str) -> bool {
    let is_plain = |c: u8| c.is_ascii_alphanumeric() || b"-_.".contains(&c);
    let stem = name.strip_suffix(".safetensors").unwrap_or_default();
    name.len() <= SHARD_NAME_BYTES_MAX
        && !stem.is_empty()
        && !stem.starts_with('.')
        && stem.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_file_names_that_leave_the_folder_are_refused() {
        let long = long_name(129);
        for name in [
            "",
            "../model.safetensors",
            "/model.safetensors",
            "./model.safetensors",
            "model-00001-of-00002.safetensors/..",
            "..",
            "model-../../x-of-00002.safetensors",
            "C:\\model.safetensors",
            "\\\\host\\model.safetensors",
            "..safetensors",
            ".model.safetensors",
            "...safetensors",
            ".safetensors",
            "mödel.safetensors",
            "model 1.safetensors",
            "model+1.safetensors",
            &long,
            "model.safetensors\0",
            "model%2esafetensors",
            "model\u{2024}safetensors",
            "model.safetensors.",
            "model.safetensors ",
            " model.safetensors",
            "model.SAFETENSORS",
            "model.bin",
            "model-00001-of-00002.safetensors.py",
            "model-٠٠٠٠١-of-00002.safetensors",
            "a/model.safetensors",
            "~/model.safetensors",
            "file:model.safetensors",
            "model-+0001-of-00002.safetensors",
            "con",
        ] {
            assert!(!is_shard_name(name), "{name:?}");
        }
    }

    #[test]
    fn shards_are_named_as_publishers_name_them() {
        for name in [
            "model.safetensors",
            "model-00001-of-00002.safetensors",
            "model-00001-of-000002.safetensors",
            "model.safetensors-00001-of-00002.safetensors",
            "pytorch_model-00001-of-00002.safetensors",
            "Model-1_of_2.v1.safetensors",
            &long_name(128),
        ] {
            assert!(is_shard_name(name), "{name}");
        }
    }

    fn long_name(n_bytes: usize) -> String {
        format!("{}.safetensors", "x".repeat(n_bytes - 12))
    }
}
