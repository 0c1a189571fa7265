//! `agon chain doctor --with-hub`: what a token may do there, and what the hub's limits leave.

use super::{
    agon,
    real::{Quotas, RealHub},
};
use crate::node::Node;
use serde_json::{Value, json};

#[test]
fn a_doctor_tells_what_a_token_may_do_and_what_the_limits_of_its_hub_leave() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::start(home.path(), "200ms", &["--listen", "127.0.0.1:0"]);
    let hub = RealHub::start(Quotas { api: 20, ..Quotas::ANONYMOUS });
    let ask = |more: &[&str]| {
        let fixed = ["chain", "doctor", "--network", &node.url, "--with-hub", "--json"];
        let left = agon(&hub.world, &[&fixed[..], more].concat());
        let found: Value = serde_json::from_str(&left.out)
            .unwrap_or_else(|error| panic!("{error}: {} {}", left.out, left.err));
        (left.code, found)
    };
    let of = |found: &Value, what: &str| {
        let findings = found["findings"].as_array().unwrap();
        let finding = findings.iter().find(|finding| finding["what"] == what);
        let finding = finding.unwrap_or_else(|| panic!("nothing is said of {what}: {found}"));
        [&finding["state"], &finding["text"]].map(|text| text.as_str().unwrap().to_owned())
    };

    let (code, found) = ask(&[]);
    assert_eq!(code, Some(0));
    assert!(of(&found, "hub")[1].ends_with("knows us as ann"), "{found}");
    let [state, text] = of(&found, "hub limits");
    assert_eq!(state, "ok");
    assert!(text.starts_with("19 of 20 in each 300 s are left of the kind `api`"), "{text}");

    let may_write = |name: &str| {
        json!({ "role": "fineGrained", "fineGrained": { "global": [], "scoped": [
            { "entity": { "type": "user", "name": name }, "permissions": ["repo.write"] },
        ]}})
    };
    for (token, repo, code, state, words) in [
        (json!({}), "ann/m", 0, "note", "does not tell"),
        (json!({ "role": "read" }), "ann/m", 1, "bad", "may not write to `ann/m`"),
        (json!({ "role": "write" }), "ann/m", 0, "ok", "wherever ann may"),
        (may_write("ann"), "ann/m", 0, "ok", "may write to `ann/m`"),
        (may_write("ann"), "lab/m", 1, "bad", "may not write to `lab/m`: it writes to ann"),
    ] {
        hub.set_role(token);
        let (ended, found) = ask(&["--repo", repo]);
        let [told, text] = of(&found, "hub token");
        assert!(told == state && text.contains(words), "{told}: {text}");
        assert_eq!(ended, Some(code), "{found}");
    }
    hub.world.expect_secrets_kept();
}
