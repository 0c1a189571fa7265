//! The description of the API says what the answers are.

use crate::scene::{Home, Judge, player};
use dashboard::api::OPENAPI;
use serde_json::Value;

/// Checks a value against a schema, as far as ours go.
pub(crate) fn check(value: &Value, schema: &Value, whole: &Value, at: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.strip_prefix('#').unwrap();
        return check(value, whole.pointer(name).unwrap(), whole, at);
    }
    let types = match &schema["type"] {
        Value::String(one) => vec![one.as_str()],
        Value::Array(many) => many.iter().map(|one| one.as_str().unwrap()).collect(),
        other => panic!("{at}: {other}"),
    };
    let is = |kind: &str| match kind {
        "string" => value.is_string(),
        "integer" => value.is_u64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        other => panic!("{at}: {other}"),
    };
    assert!(types.into_iter().any(is), "{at}: {value} is not of {}", schema["type"]);
    for required in schema["required"].as_array().into_iter().flatten() {
        assert!(value.get(required.as_str().unwrap()).is_some(), "{at}: no {required}");
    }
    for (key, value) in value.as_object().into_iter().flatten() {
        let known = schema["properties"].get(key);
        match known.or_else(|| schema.get("additionalProperties")) {
            Some(schema) => check(value, schema, whole, &format!("{at}/{key}")),
            // What a record is stands in another place.
            None => assert!(schema.get("properties").is_none(), "{at}: {key} is not described"),
        }
    }
    for value in value.as_array().into_iter().flatten() {
        check(value, &schema["items"], whole, &format!("{at}[]"));
    }
}

#[test]
fn every_answer_of_the_api_is_as_it_is_described() {
    let judge = Judge::of_four_rounds(1);
    let mut home = Home::new();
    home.read(&[&judge]);
    let whole: Value = serde_json::from_str(OPENAPI).unwrap();
    let [a, b] = [player(1, 0.0), player(2, 0.1)].map(|player| player.root().hex());
    let mut n_checked = 0;
    for (path, methods) in whole["paths"].as_object().unwrap() {
        let content = &methods["get"]["responses"]["200"]["content"]["application/json"];
        let Some(schema) = content.get("schema") else { continue };
        let key = judge.key.public().to_string();
        let mut address = path
            .replace("{competition}", "tiny")
            .replace("{number}", "2")
            .replace("{root}", &b)
            .replace("{hotkey}", &key)
            .replace("{validator}", &key);
        if path.ends_with("/compare") {
            address += &format!("?a={a}&b={b}");
        }
        let answer: Value = serde_json::from_str(&home.page(&address)).unwrap();
        check(&answer, schema, &whole, path);
        n_checked += 1;
    }
    assert_eq!(n_checked, 12);
    let described: Value = serde_json::from_str(&home.page("/api/v1/openapi.json")).unwrap();
    assert_eq!(described, whole);
    let refused = home.answer("/api/v1/c/none");
    assert_eq!(refused.status, 404);
    let said: Value = serde_json::from_slice(&refused.body).unwrap();
    assert!(said["error"].as_str().unwrap().contains("no validator"), "{said}");
}
