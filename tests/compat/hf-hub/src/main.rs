//! Downloads a file with Hugging Face's crate, from the hub and with the token that the environment
//! names, and says where it is.
//!
//! `agon-compat-hf-hub OWNER NAME REVISION FILE`

use hf_hub::HFClientSync;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [owner, name, revision, file] = words.as_slice() else {
        return Err("usage: agon-compat-hf-hub OWNER NAME REVISION FILE".into());
    };
    let repo = HFClientSync::new()?.model(owner, name);
    let path = repo.download_file().filename(file).revision(revision).send()?;
    println!("{}", path.display());
    Ok(())
}
